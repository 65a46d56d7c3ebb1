/*
 * The account's quotas: token buckets for calls, and memory over all VMs that live. A refused call takes no token.
 */
import { AwsError } from '../../lib/aws_errors.mjs';

const KIND = { RunMicrovm: 'run', TerminateMicrovm: 'terminate', GetMicrovm: 'get' };

const QUOTA = { RunMicrovm: 'L-535CA9B6', TerminateMicrovm: 'L-74787B8A', GetMicrovm: 'L-CE98C9E3', SuspendMicrovm: 'L-90045317' };

/** HTTP 402. */
export const memoryQuotaExceeded = () => new AwsError(
  'ServiceQuotaExceededException', 'The base maximum allocated memory limit has been reached for this account.',
  { members: { resourceType: 'microvm', serviceCode: 'lambda', quotaCode: 'L-CD1C0CC4' } },
);

class Bucket {
  constructor(now) {
    this.tokens = Infinity;
    this.at = now;
  }

  take(now, rate, burst) {
    if (rate === 0) return true;
    this.tokens = Math.min(burst, this.tokens + ((now - this.at) / 1000) * rate);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}

export class Quotas {
  constructor(config, clock = () => performance.now()) {
    Object.assign(this, { config, clock, buckets: new Map(), memoryMib: 0, peakMib: 0 });
  }

  charge(operation) {
    const kind = KIND[operation] ?? 'list';
    const { [`${kind}_rate`]: rate, [`${kind}_burst`]: burst, retry_after_s: retryAfterSeconds } = this.config;
    const now = this.clock();
    if (!this.buckets.has(kind)) this.buckets.set(kind, new Bucket(now));
    if (this.buckets.get(kind).take(now, rate, burst)) return;
    throw new AwsError('ThrottlingException', `Rate exceeded for ${operation}.`, {
      members: { serviceCode: 'lambda', ...(QUOTA[operation] ? { quotaCode: QUOTA[operation] } : {}) }, retryAfterSeconds,
    });
  }

  /** Reserves memory for a VM of that size; returns how much to give back at its end. */
  reserve(sizeMib) {
    const counted = sizeMib * this.config.memory_factor;
    if (this.memoryMib + counted > this.config.memory_quota_mib) {
      throw memoryQuotaExceeded();
    }
    this.memoryMib += counted;
    this.peakMib = Math.max(this.peakMib, this.memoryMib);
    return counted;
  }

  release(counted) {
    this.memoryMib -= counted;
  }
}

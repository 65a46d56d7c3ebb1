/*
 * The kinds of faults (../../lib/fault_list.mjs says which one happens):
 *
 *   {operation, preset | status, headers, body, times, delay_ms, drop, work, probability}   calls; operation may be *
 *   {vm: never-start|fail-start|die|hang|slow, times, probability, factor}                  VMs, chosen at their launch
 *
 * `drop` does the work and closes the connection without an answer; `work` does it and answers the fault's status.
 */
import { FaultList } from '../../lib/fault_list.mjs';
import { AwsError } from './errors.mjs';

const html = (status, text) => ({
  status, headers: { 'Content-Type': 'text/html' }, body: `<html><head><title>${status} ${text}</title></head><body>${text}</body></html>`,
});
const aws = (...args) => (config) => new AwsError(...args).answer(config.error_style);

export const PRESETS = {
  throttle: (config) => new AwsError('ThrottlingException', 'Rate exceeded.', { retryAfterSeconds: config.retry_after_s }).answer(config.error_style),
  quota: aws('ServiceQuotaExceededException', 'Max allocated memory exceeded.', { members: { quotaCode: 'L-535CA9B6' } }),
  internal: aws('InternalServerException', 'Internal failure.', { retryAfterSeconds: 1 }),
  capacity: aws('InsufficientCapacityException', 'There is no capacity at the moment.'),
  denied: aws('AccessDeniedException', 'User is not authorized to perform: iam:PassRole'),
  'denied-null': aws('AccessDeniedException', null),
  'bad-gateway': () => html(502, 'Bad Gateway'),
  unavailable: () => html(503, 'Service Unavailable'),
};

export const VM_FAULTS = ['never-start', 'fail-start', 'die', 'hang', 'slow'];

export class Faults extends FaultList {
  constructor(config, random) {
    super((fault) => {
      if (!fault.operation && !VM_FAULTS.includes(fault.vm)) throw new RangeError('a fault names an operation or a fault of VMs');
      if (fault.preset && !PRESETS[fault.preset]) throw new RangeError(`unknown preset ${fault.preset}`);
      if (fault.operation && !fault.preset && !fault.status && !fault.drop && !fault.delay_ms) {
        throw new RangeError('a fault of calls has a preset, a status, drop or delay_ms');
      }
    }, random);
    this.config = config;
  }

  /** Returns {status, headers, body, delay_ms, drop, work} or null. */
  call(operation) {
    const fault = this.take((candidate) => candidate.operation === operation || candidate.operation === '*');
    return fault?.preset ? { ...PRESETS[fault.preset](this.config), ...fault } : fault;
  }

  machine() {
    return this.take((candidate) => candidate.vm !== undefined);
  }
}

/*
 * The kinds of faults: those of calls (../../lib/aws_service.mjs), and of VMs, chosen at their launch:
 *
 *   {vm: never-start|fail-start|die|hang|slow, version, target, times, probability, factor}
 */
import { AwsError } from '../../lib/aws_errors.mjs';
import { AwsFaults } from '../../lib/aws_service.mjs';
import { memoryQuotaExceeded } from './quotas.mjs';

export const PRESETS = {
  throttle: (config) => new AwsError('ThrottlingException', 'Rate exceeded.', { retryAfterSeconds: config.retry_after_s }),
  quota: memoryQuotaExceeded,
  internal: () => new AwsError('InternalServerException', 'Internal failure.', { retryAfterSeconds: 1 }),
  conflict: () => new AwsError('ConflictException', 'The client token was used with other parameters.', { members: { resourceType: 'microvm', resourceId: 'token' } }),
  capacity: () => new AwsError('InsufficientCapacityException', 'There is no capacity at the moment.'),
  denied: () => new AwsError('AccessDeniedException', 'User is not authorized to perform: iam:PassRole'),
};

export const VM_FAULTS = ['never-start', 'fail-start', 'die', 'hang', 'slow'];

function isOfVms(fault) {
  if (!fault.operation && !VM_FAULTS.includes(fault.vm)) throw new RangeError('a fault names an operation or a fault of VMs');
  return !fault.operation;
}

export class Faults extends AwsFaults {
  constructor(config, random) {
    super(random, { presets: PRESETS, config, isPart: isOfVms });
  }

  machine(version, target) {
    return this.take((candidate) => candidate.vm !== undefined && [undefined, version].includes(candidate.version) && [undefined, target].includes(candidate.target));
  }
}

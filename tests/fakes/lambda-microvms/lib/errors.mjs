/* The service's refusal of what it does not have. */
import { AwsError } from '../../lib/aws_errors.mjs';

export const notFound = (resourceType, resourceId, message) => new AwsError(
  'ResourceNotFoundException', message ?? `The ${resourceType} ${resourceId} does not exist.`, { members: { resourceType, resourceId } },
);

/*
 * The service's errors: names, statuses and members as in its model. `retryAfterSeconds` travels as the header
 * Retry-After; the name as x-amzn-errortype, or as `__type` in the body, as a real service does either.
 */

export const STATUS = {
  AccessDeniedException: 403,
  ConflictException: 409,
  InsufficientCapacityException: 500,
  InternalServerException: 500,
  ResourceNotFoundException: 404,
  ServiceQuotaExceededException: 402,
  ThrottlingException: 429,
  UnknownOperationException: 404,
  ValidationException: 400,
};

export class AwsError extends Error {
  /** `members` go into the body beside the message; a message of null is sent as null. */
  constructor(name, message, { members = {}, retryAfterSeconds = 0 } = {}) {
    super(message ?? name);
    Object.assign(this, { errorName: name, status: STATUS[name], text: message, members, retryAfterSeconds });
  }

  /** As an answer: {status, headers, body}. */
  answer(style = 'header') {
    const headers = { 'Content-Type': 'application/json' };
    const body = this.text === null ? { Message: null } : { message: this.text, ...this.members };
    if (style === 'header') headers['x-amzn-errortype'] = `${this.errorName}:http://internal.amazon.com/coral/com.amazonaws.lambdamicrovms/`;
    else body.__type = `com.amazonaws.lambdamicrovms#${this.errorName}`;
    if (this.retryAfterSeconds > 0) headers['Retry-After'] = String(this.retryAfterSeconds);
    return { status: this.status, headers, body: JSON.stringify(body), error: this.errorName };
  }
}

export const invalid = (message) => new AwsError('ValidationException', message);
export const notFound = (resourceType, resourceId, message) => new AwsError(
  'ResourceNotFoundException', message ?? `The ${resourceType} ${resourceId} does not exist.`, { members: { resourceType, resourceId } },
);

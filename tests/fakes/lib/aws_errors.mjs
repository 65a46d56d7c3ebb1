/*
 * AWS's refusals, and how each of its protocols writes them. `retryAfterSeconds` travels as the header Retry-After.
 */

/** Where a service answers in REST's statuses. The JSON protocols say 400 to all that is the caller's. */
const STATUS = {
  AccessDeniedException: 403,
  ConflictException: 409,
  ExpiredTokenException: 403,
  IncompleteSignatureException: 403,
  InsufficientCapacityException: 500,
  InternalFailure: 500,
  InternalServerError: 500,
  InternalServerException: 500,
  InvalidSignatureException: 403,
  MissingAuthenticationTokenException: 403,
  ResourceNotFoundException: 404,
  ServiceQuotaExceededException: 402,
  ServiceUnavailable: 503,
  ThrottlingException: 429,
  UnknownOperationException: 404,
  UnrecognizedClientException: 403,
};

/** The older names, which the Query protocol and its heirs (STS, SQS) use. */
const QUERY_NAME = {
  AccessDeniedException: 'AccessDenied',
  ExpiredTokenException: 'ExpiredToken',
  IncompleteSignatureException: 'IncompleteSignature',
  InvalidSignatureException: 'SignatureDoesNotMatch',
  MissingAuthenticationTokenException: 'MissingAuthenticationToken',
  UnrecognizedClientException: 'InvalidClientTokenId',
};

export class AwsError extends Error {
  /** `members` go into the body beside the message; a message of null is sent as null. */
  constructor(name, message, { status = STATUS[name] ?? 400, members = {}, retryAfterSeconds = 0 } = {}) {
    super(message ?? name);
    Object.assign(this, { errorName: name, status, text: message, members, retryAfterSeconds });
  }
}

export const invalid = (message) => new AwsError('ValidationException', message);

const retryAfter = ({ retryAfterSeconds }) => (retryAfterSeconds > 0 ? { 'Retry-After': String(retryAfterSeconds) } : {});
const jsonStatus = ({ status }) => (status < 500 ? 400 : status);
const jsonBody = (error, extra) => JSON.stringify({ ...extra, ...(error.text === null ? { Message: null } : { message: error.text, ...error.members }) });
const escapeXml = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Elements of an object's members, lists as <member>. */
export function toXml(value) {
  if (Array.isArray(value)) return value.map((item) => `<member>${toXml(item)}</member>`).join('');
  if (value === null || typeof value !== 'object') return escapeXml(value);
  return Object.entries(value).filter(([, v]) => v !== undefined).map(([name, v]) => `<${name}>${toXml(v)}</${name}>`).join('');
}

/** Each: (error, {style, requestId}) to {status, headers, body}. */
export const PROTOCOLS = {
  /** REST: the name as a header or, as a real service does too, in the body (`style`). */
  rest: (error, { style = 'header' }) => ({
    status: error.status,
    headers: {
      'Content-Type': 'application/json', ...retryAfter(error),
      ...(style === 'header' ? { 'x-amzn-errortype': `${error.errorName}:http://internal.amazon.com/coral/com.amazonaws.service/` } : {}),
    },
    body: jsonBody(error, style === 'header' ? {} : { __type: `com.amazonaws.service#${error.errorName}` }),
  }),
  /** JSON 1.0 and 1.1. */
  json: (error, { version = '1.1' }) => ({
    status: jsonStatus(error),
    headers: { 'Content-Type': `application/x-amz-json-${version}`, ...retryAfter(error) },
    body: jsonBody(error, { __type: `com.amazon.coral.service#${error.errorName}` }),
  }),
  /** SQS: JSON 1.0 that tells the name of its Query days too. */
  queryJson: (error) => ({
    status: error.status,
    headers: {
      'Content-Type': 'application/x-amz-json-1.0', ...retryAfter(error),
      'x-amzn-query-error': `${QUERY_NAME[error.errorName] ?? error.errorName};${error.status < 500 ? 'Sender' : 'Receiver'}`,
    },
    body: jsonBody(error, { __type: `com.amazon.coral.service#${error.errorName}` }),
  }),
  xml: (error, { requestId }) => ({
    status: error.status,
    headers: { 'Content-Type': 'text/xml', ...retryAfter(error) },
    body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${toXml({
      Error: { Type: error.status < 500 ? 'Sender' : 'Receiver', Code: QUERY_NAME[error.errorName] ?? error.errorName, Message: error.text ?? '' },
      RequestId: requestId,
    })}</ErrorResponse>`,
  }),
};

/*
 * One call of a service of AWS, from its bytes to its answer: who may call, faults, the operation, the log.
 *
 * A service extends this and says in `find(call)` what a call is: {operation, protocol, free, perform}, where
 * `perform()` returns (or resolves to) {status, headers, body} or throws an AwsError, `needs()` says what a policy must allow, and
 * a `free` one needs no signature. `call` has request, url, raw (the body) and id.
 *
 *   {operation, preset | error | status, message, headers, body, times, delay_ms, late_ms, drop, work, probability}
 *
 * is a fault; operation may be *. Without `work` the operation is not carried out, with it it is, and then the fault
 * answers. `drop` closes the connection after the work, `drop: 'before'` instead of it. `delay_ms` waits before the work, `late_ms`
 * between it and the answer. `error` is any name of the service's. A `target` restricts it to that account and region, where the stand-in
 * serves several.
 */
import { randomUUID } from 'node:crypto';
import { AwsError, PROTOCOLS } from './aws_errors.mjs';
import { KEY_OPTIONS } from './aws_keys.mjs';
import { FaultList } from './fault_list.mjs';
import { Policies, POLICY_OPTION } from './aws_policy.mjs';
import { readBody, send, sleep } from './http.mjs';

export const AWS_OPTIONS = [
  ...KEY_OPTIONS,
  POLICY_OPTION,
  { key: 'seed', kind: 'int', default: 1, help: 'seed of all chance' },
  { key: 'region', kind: 'text', default: 'us-east-1', help: 'region in ARNs' },
  { key: 'account', kind: 'text', default: '123456789012', help: 'account in ARNs' },
];

/** Of the regions' names. */
export const partitionOf = (region) => (/^us-gov-/.test(region) ? 'aws-us-gov' : /^cn-/.test(region) ? 'aws-cn' : 'aws');

const html = (status, text) => ({
  status, headers: { 'Content-Type': 'text/html' }, body: `<html><head><title>${status} ${text}</title></head><body>${text}</body></html>`,
});

export const PRESETS = {
  throttle: () => new AwsError('ThrottlingException', 'Rate exceeded'),
  internal: () => new AwsError('InternalFailure', 'The request processing has failed because of an unknown error, exception or failure.'),
  denied: () => new AwsError('AccessDeniedException', 'User is not authorized to perform this operation.'),
  'denied-null': () => new AwsError('AccessDeniedException', null),
  expired: () => new AwsError('ExpiredTokenException', 'The security token included in the request is expired'),
  'bad-gateway': () => html(502, 'Bad Gateway'),
  unavailable: () => html(503, 'Service Unavailable'),
};

export class AwsFaults extends FaultList {
  /** `presets`: beside the common ones; `isPart` tells a fault that is none of whole calls (it may refuse, too). */
  constructor(random, { presets = {}, config = {}, isPart = () => false } = {}) {
    super((fault) => {
      if (isPart(fault)) return;
      if (!fault.operation) throw new RangeError('a fault names an operation');
      if (fault.preset && !this.presets[fault.preset]) throw new RangeError(`unknown preset ${fault.preset}`);
      if (!['preset', 'error', 'status', 'drop', 'delay_ms', 'late_ms'].some((key) => fault[key])) {
        throw new RangeError('a fault of calls has a preset, an error, a status, drop, delay_ms or late_ms');
      }
    }, random);
    Object.assign(this, { presets: { ...PRESETS, ...presets }, config, isPart });
  }

  /** The fault of this call, or null; its `answer` is an AwsError, {status, headers, body}, or null. */
  call(operation, target) {
    const fault = this.take((candidate) => !this.isPart(candidate) && (candidate.operation === operation || candidate.operation === '*')
      && [undefined, target].includes(candidate.target));
    return fault && { ...fault, answer: this.answerOf(fault) };
  }

  /** The fault of a part of this call, or null. */
  part(operation) {
    return this.take((candidate) => this.isPart(candidate) && candidate.operation === operation);
  }

  answerOf({ preset, error, message, status, headers, body }) {
    if (preset) return this.presets[preset](this.config);
    if (error) return new AwsError(error, message ?? `${error}.`, { status });
    if (!status) return null;
    return { status, headers, body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body) };
  }
}

export class AwsService {
  /** `verify({method, url, headers, body}, found)` judges a call first: see aws_keys.mjs. */
  constructor({ config, log, faults, keys = null, verify = () => {} }) {
    Object.assign(this, { config, log, faults, keys, verify, operations: new Map(), statuses: new Map(), policies: new Policies(config) });
    this.counts = { requests: 0, throttled: 0, refused: 0, faulted: 0 };
  }

  async handle(request, response, url) {
    const call = { request, response, url, started: performance.now(), id: randomUUID(), raw: await readBody(request) };
    const found = this.find(call);
    Object.assign(call, { operation: found?.operation ?? 'unknown', protocol: found?.protocol ?? this.protocol });
    const answer = await this.answer(call, found);
    this.note(call, answer);
    if (answer.drop) {
      request.socket.destroy();
      return;
    }
    const date = this.keys ? { Date: new Date(this.keys.now()).toUTCString() } : {};
    send(response, answer.status, { 'x-amzn-RequestId': call.id, ...date, ...answer.headers }, answer.body);
  }

  /** {status, headers, body, error, drop}. */
  async answer(call, found) {
    try {
      const { request } = call;
      const { method, url, headers } = request;
      const key = found?.free ? null : await this.verify({ method, url, headers, body: call.raw }, found);
      call.key = key;
      if (!found) throw new AwsError('UnknownOperationException', null);
      if (key !== null) this.policies.judge(key, () => this.needs(call, found));
      const fault = this.faults.call(call.operation, call.place?.name);
      if (!fault) return await found.perform();
      this.counts.faulted += 1;
      return await this.faulty(call, found, fault);
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      return this.render(call, error);
    }
  }

  /** What IAM asks of the caller: [{action, resource}], each with the resource's ARN. */
  needs(call, found) {
    return found.needs?.() ?? [];
  }

  arn(service, rest, { account, region } = this.config) {
    return `arn:${partitionOf(region)}:${service}:${region}:${account}:${rest}`;
  }

  async faulty(call, found, fault) {
    if (fault.delay_ms) await sleep(fault.delay_ms);
    let done = null;
    if (!(fault.answer || fault.drop) || fault.work || (fault.drop && fault.drop !== 'before')) done = await found.perform();
    if (fault.late_ms) await sleep(fault.late_ms);
    if (fault.drop) return { status: 0, error: 'dropped', drop: true };
    if (!fault.answer) return done;
    if (fault.answer instanceof AwsError) throw fault.answer;
    return { headers: {}, error: fault.preset ?? null, ...fault.answer };
  }

  render(call, error) {
    const answer = PROTOCOLS[call.protocol](error, { style: this.config.error_style, requestId: call.id, version: this.jsonVersion });
    return { ...answer, error: error.errorName };
  }

  note(call, { status, error = null, drop = false }) {
    const { counts, operations, statuses } = this;
    counts.requests += 1;
    if (/Thrott|TooMany|Throughput/.test(error ?? '')) counts.throttled += 1;
    if (status >= 400) counts.refused += 1;
    operations.set(call.operation, (operations.get(call.operation) ?? 0) + 1);
    const key = `${call.operation} ${drop ? 'dropped' : status}`;
    statuses.set(key, (statuses.get(key) ?? 0) + 1);
    this.log.write('request', {
      operation: call.operation, method: call.request.method, path: call.url.pathname, status, error,
      signed: call.request.headers.authorization !== undefined, key: call.key ?? null, request_id: call.id, ms: Math.round(performance.now() - call.started),
      ...call.noted,
    });
    this.changed?.();
  }
}

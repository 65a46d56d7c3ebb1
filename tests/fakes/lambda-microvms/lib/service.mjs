/*
 * One call of the service, from its bytes to its answer: who may call, faults, quotas, the operation, the log.
 *
 * `verify({method, url, headers, body})` judges the signature before anything else is looked at; it returns
 * nothing, or throws an AwsError. Every call passes unless the fake is made with one.
 */
import { randomUUID } from 'node:crypto';
import { AwsError } from './errors.mjs';
import { Router, parseJson, readBody, send } from './http.mjs';

const anybody = () => {};

export class Service {
  constructor({ config, log, faults, quotas, api, verify = anybody }) {
    Object.assign(this, { config, log, faults, quotas, verify, router: new Router(), operations: new Map(), statuses: new Map() });
    this.counts = { requests: 0, throttled: 0, quota_refused: 0 };
    api.addRoutes(this.router);
  }

  async handle(request, response, url) {
    const call = { request, url, started: performance.now(), id: randomUUID(), raw: await readBody(request) };
    const found = this.router.find(request.method, url.pathname);
    call.operation = found?.route.operation ?? 'unknown';
    const answer = await this.answer(call, found);
    this.note(call, answer);
    if (answer.drop) {
      request.socket.destroy();
      return;
    }
    send(response, answer.status, { 'x-amzn-RequestId': call.id, ...answer.headers }, answer.body);
  }

  /** {status, headers, body, error, drop}. */
  async answer(call, found) {
    try {
      this.verify({ method: call.request.method, url: call.url, headers: call.request.headers, body: call.raw });
      if (!found) throw new AwsError('UnknownOperationException', null);
      const fault = this.faults.call(call.operation);
      if (fault?.delay_ms) await new Promise((resolve) => { setTimeout(resolve, fault.delay_ms); });
      if (!fault || !(fault.status || fault.drop)) return this.perform(call, found);
      if (fault.work || fault.drop) this.perform(call, found);
      const error = fault.error ?? fault.preset ?? null;
      return { status: fault.status ?? 0, headers: fault.headers, body: asText(fault.body), error, drop: fault.drop };
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      return error.answer(this.config.error_style);
    }
  }

  perform(call, { route, params }) {
    this.quotas.charge(call.operation);
    const body = readJson(call.raw);
    const result = route.handle({ params, query: call.url.searchParams, body });
    if (result === null) return { status: 200, headers: {}, body: '' };
    return { status: route.status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(result) };
  }

  note(call, { status, error = null, drop = false }) {
    const { counts } = this;
    counts.requests += 1;
    if (status === 429) counts.throttled += 1;
    if (status === 402) counts.quota_refused += 1;
    this.operations.set(call.operation, (this.operations.get(call.operation) ?? 0) + 1);
    const key = `${call.operation} ${drop ? 'dropped' : status}`;
    this.statuses.set(key, (this.statuses.get(key) ?? 0) + 1);
    this.log.write('request', {
      operation: call.operation, method: call.request.method, path: call.url.pathname, status: drop ? 0 : status, error,
      signed: call.request.headers.authorization !== undefined, request_id: call.id, ms: Math.round(performance.now() - call.started),
    });
  }
}

const asText = (body) => (body === undefined || typeof body === 'string' ? body : JSON.stringify(body));

function readJson(raw) {
  try {
    return parseJson(raw);
  } catch (error) {
    throw new AwsError('ValidationException', `SerializationException: ${error.message}`);
  }
}

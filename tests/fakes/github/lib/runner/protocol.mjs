/*
 * The runner's side, as GitHub's own runner speaks it: what it asks of the token service, the pool's service (V1), the
 * broker (V2), the run service, the results service and the blob store are all here under /_runner/.
 *
 * A route says who may ask: anybody, a runner (its token; a registration that is gone leaves `runner` null) or a job.
 * Whoever may not is answered 401, after which runners fetch a new token and ask once more.
 */
import { Router, parseJson, readBody, send, sleep } from '../../../lib/http.mjs';
import * as jobs from './jobs.mjs';
import * as results from './results.mjs';
import * as sessions from './sessions.mjs';
import { Tokens, exchange } from './tokens.mjs';

const POOLS = 'pipelines/{tenant}/_apis/distributedtask/pools/{pool}';
const RECEIVER = 'results/twirp/results.services.receiver.Receiver';
const STEPS = 'results/twirp/github.actions.results.api.v1.WorkflowStepUpdateService';

/** [method, path, operation, who, handler] */
const ROUTES = [
  ['POST', '_apis/oauth2/token/{tenant}', 'token', 'anybody', (context) => exchange(context, new URLSearchParams(context.raw.toString()), context.audience)],
  ['GET', 'pipelines/{tenant}/_apis/connectionData', 'connection', 'runner', sessions.connectionData],
  ['POST', `${POOLS}/sessions`, 'session', 'runner', sessions.openSessionV1],
  ['DELETE', `${POOLS}/sessions/{session}`, 'session-delete', 'runner', sessions.deleteSession],
  ['GET', `${POOLS}/messages`, 'migration', 'runner', sessions.migrationMessage],
  ['DELETE', `${POOLS}/messages/{message}`, 'message-delete', 'runner', () => ({ status: 200, body: {} })],
  ['POST', 'broker/session', 'session', 'runner', sessions.openSession],
  ['DELETE', 'broker/session', 'session-delete', 'runner', sessions.deleteSession],
  ['GET', 'broker/message', 'message', 'runner', sessions.message],
  ['POST', 'broker/acknowledge', 'acknowledge', 'runner', sessions.acknowledge],
  ['POST', 'run/acquirejob', 'acquire', 'runner', jobs.acquireJob],
  ['POST', 'run/renewjob', 'renew', 'job', jobs.renewJob],
  ['POST', 'run/completejob', 'complete', 'job', jobs.completeJob],
  ['POST', `${STEPS}/WorkflowStepsUpdate`, 'steps', 'job', results.updateSteps],
  ['POST', `${RECEIVER}/GetStepLogsSignedBlobURL`, 'log-url', 'job', results.stepLogUrl],
  ['POST', `${RECEIVER}/GetJobLogsSignedBlobURL`, 'log-url', 'job', results.jobLogUrl],
  ['POST', `${RECEIVER}/GetStepSummarySignedBlobURL`, 'log-url', 'job', results.summaryUrl],
  ['POST', `${RECEIVER}/GetJobDiagLogsSignedBlobURL`, 'log-url', 'job', results.diagnosticsUrl],
  ...['StepLogs', 'JobLogs', 'StepSummary', 'JobDiagLogs'].map((what) => ['POST', `${RECEIVER}/Create${what}Metadata`, 'log-metadata', 'job', results.metadata]),
  ['PUT', 'blobs/{job}/{name}', 'blob', 'anybody', results.putBlob],
];

/** An answer that never arrives: the work is done, and where it would be sent the connection breaks. */
const breakOff = (request) => request.socket.destroy();

export class RunnerProtocol {
  /** `baseUrl()` is where runners find this stand-in, without a slash at the end. */
  constructor({ config, fleet, log, faults, baseUrl }) {
    Object.assign(this, { config, fleet, log, faults, operations: new Map(), tokens: new Tokens(), router: new Router() });
    this.base = () => `${baseUrl()}/_runner/`;
    for (const [method, path, name, who, handle] of ROUTES) this.router.add(method, `/${path}`, { operation: `runner-${name}`, who, handle });
  }

  /** What a JIT configuration says of this side. Addresses end in a slash, or runners lose their last segment. */
  addresses(runner) {
    const base = this.base();
    return {
      server: `${base}pipelines/${runner.tenantId}/`, broker: `${base}broker/`, authorization: `${base}_apis/oauth2/token/${runner.tenantId}`,
    };
  }

  async handle(request, response, url) {
    const startedAt = Date.now();
    const raw = await readBody(request, 16 << 20);
    const path = url.pathname.replace(/\/{2,}/g, '/').slice('/_runner'.length);
    const { route, params } = this.router.find(request.method, path);
    if (!route) {
      this.log.write('runner_request', { operation: 'unknown', method: request.method, path, status: 404, runner: null });
      return send(response, 404, {}, '');
    }
    this.operations.set(route.operation, (this.operations.get(route.operation) ?? 0) + 1);
    const who = this.identify(request.headers.authorization);
    const context = {
      request, response, raw, params, query: url.searchParams, body: {}, base: this.base(), ...who, config: this.config, fleet: this.fleet, tokens: this.tokens,
      audience: (runner) => this.addresses(runner).authorization,
    };
    const answer = await this.answer(route, context);
    if (this.config.log_runner_requests) {
      this.log.write('runner_request', { operation: route.operation, method: request.method, path, status: answer?.status ?? 0, runner: who.name, ms: Date.now() - startedAt });
    }
    if (answer === null) return breakOff(request);
    const text = answer.text ?? (answer.body === undefined ? '' : JSON.stringify(answer.body));
    return send(response, answer.status, text === '' ? {} : { 'Content-Type': answer.text ? 'application/xml' : 'application/json; charset=utf-8' }, text);
  }

  /** Null: no answer. */
  async answer(route, context) {
    const fault = this.faults.request({ operation: route.operation, operationId: route.operation }, { runner: context.name });
    if (fault) this.log.write('fault', { operation: route.operation, status: fault.status ?? null, drop: fault.drop ?? false, name: fault.name ?? null });
    if (fault?.hang) await new Promise((resolve) => { context.response.on('close', resolve); });
    if (fault?.hang || fault?.drop === 'before') return null;
    if (fault?.delay_ms) await sleep(fault.delay_ms);
    if (context.request.socket.destroyed) return null;
    const worked = fault?.status && !fault.work ? null : await this.work(route, context);
    if (fault?.drop) return null;
    if (!fault?.status) return worked;
    return typeof fault.body === 'object' ? { status: fault.status, body: fault.body } : { status: fault.status, text: fault.body ?? '' };
  }

  work(route, context) {
    if (!context.may[route.who]) return { status: 401 };
    if (context.raw.length > 0 && /json/.test(context.request.headers['content-type'] ?? '')) context.body = parseJson(context.raw);
    return route.handle(context);
  }

  identify(header) {
    const [, token] = /^bearer (\S+)$/i.exec(header ?? '') ?? [];
    const client = this.tokens.read('runner', token);
    const [id, requestId] = (this.tokens.read('job', token) ?? '').split(':');
    const job = this.fleet.jobs.get(Number(id));
    const runner = this.fleet.runnersByClient.get(client) ?? null;
    return {
      runner, job: job?.requestId === requestId ? job : null, name: runner?.name ?? job?.runner?.name ?? null,
      may: { anybody: true, runner: client !== null, job: job !== undefined && job.requestId === requestId },
    };
  }
}

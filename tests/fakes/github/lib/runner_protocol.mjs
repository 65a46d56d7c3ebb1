/*
 * The runner's side, in plain text so that a shell can speak it:
 *   POST /_runner/session                          Bearer <clientId>  -> 200 "<session>\n" | 409 | 404
 *   GET  /_runner/message?session=S&wait=SECONDS   -> 200 "<job>\n<base64 command>\n" | 204 | 404
 *   POST /_runner/finish?session=S&job=ID&exit=N   body = output      -> 200 | 404
 *
 * A runner that may ask twice for its session, since an answer can be lost, names itself by a word of its own in
 * x-runner-process, and gets the same session again; without it the second is refused.
 *
 * The method is not looked at: behind a proxy busybox's wget writes GET even above a body that it posts.
 */
import { readBody, send, sendText, sleep } from '../../lib/http.mjs';

const GONE = 'The runner no longer exists on the server.\n';

/** An answer that never arrives: the work is done, and where it would be sent the connection breaks. */
function lost(request, response) {
  return { writeHead() {}, end: () => request.socket.destroy(), on: (...listener) => response.on(...listener) };
}

export class RunnerProtocol {
  constructor({ config, fleet, log, faults }) {
    Object.assign(this, { config, fleet, log, faults, operations: new Map() });
  }

  async handle(request, response, url) {
    const name = url.pathname.slice('/_runner/'.length);
    const operation = `runner-${name}`;
    const handler = { session: this.session, message: this.message, finish: this.finish }[name];
    if (!handler) return sendText(response, 404, 'unknown\n');
    const body = await readBody(request);
    this.operations.set(operation, (this.operations.get(operation) ?? 0) + 1);
    const fault = this.faults.request({ operation, operationId: operation });
    if (fault) this.log.write('fault', { operation, status: fault.status ?? null, drop: fault.drop ?? false });
    if (fault?.delay_ms) await sleep(fault.delay_ms);
    if (fault?.status) return sendText(response, fault.status, String(fault.body ?? 'fault\n'));
    if (request.socket.destroyed) return undefined;
    return handler.call(this, { request, url, body, response: fault?.drop ? lost(request, response) : response });
  }

  session({ request, response }) {
    const [, clientId] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? [];
    const runner = this.fleet.runnersByClient.get(clientId);
    if (!runner) return sendText(response, 404, GONE);
    const session = this.fleet.openSession(runner, request.headers['x-runner-process'] ?? '');
    if (session === null) return sendText(response, 409, 'A session for this runner already exists.\n');
    return sendText(response, 200, `${session}\n`);
  }

  message({ response, url }) {
    const runner = this.fleet.sessions.get(url.searchParams.get('session'));
    if (!runner) return sendText(response, 404, GONE);
    const asked = Number(url.searchParams.get('wait') ?? this.config.max_wait_s);
    const wait = Math.min(Number.isFinite(asked) && asked >= 0 ? asked : 0, this.config.max_wait_s);
    const answer = ({ job, gone }) => {
      if (gone) sendText(response, 404, GONE);
      else if (job) sendText(response, 200, `${job.id}\n${Buffer.from(job.command).toString('base64')}\n`);
      else send(response, 204, {}, '');
    };
    response.on('close', () => this.fleet.abandonPoll(runner, answer));
    return this.fleet.poll(runner, wait * 1000, answer);
  }

  finish({ response, url, body }) {
    const query = url.searchParams;
    const exit = Number(query.get('exit'));
    if (!Number.isInteger(exit) || query.get('exit') === '') return sendText(response, 400, 'exit must be a whole number\n');
    const done = this.fleet.finish(query.get('session'), Number(query.get('job')), exit, body.toString('utf8'));
    return done ? sendText(response, 200, 'ok\n') : sendText(response, 404, GONE);
  }
}

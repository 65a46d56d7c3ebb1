/*
 * What runs inside a simulated VM: our agent and the stand-in runner, speaking to the fake GitHub as the real
 * ones do (the runner's side of tests/fakes/github). One job, then it is over. All guests of a process share one
 * pool of connections.
 *
 * A guest ends with one of the agent's reasons: job-done, runner-failed, idle-timeout, max-duration, bad-payload;
 * or is stopped from outside, without a word to anybody, as when a machine is switched off.
 */
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { unpack } from './payload.mjs';

const RETRY_MS = 200;
const TRIES = 25;
const CALL_TIMEOUT_MS = 20_000;
const POLL_MARGIN_MS = 10_000;

const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 4096 });

class Stopped extends Error {}
class Ended extends Error {}

/** What a shell would do with the commands that tests give: sleep, echo, exit, true, false; others succeed. */
export function interpret(command) {
  let ms = 0;
  let exit = 0;
  let output = '';
  for (const part of command.split(/;|&&|\n/)) {
    const [word, ...rest] = part.trim().split(/\s+/);
    if (word === 'sleep') ms += Number(rest[0]) * 1000 || 0;
    if (word === 'echo') output += `${rest.join(' ')}\n`;
    if (word === 'false') exit = 1;
    if (word === 'true') exit = 0;
    if (word === 'exit') return { ms, exit: Number(rest[0] ?? exit) || 0, output };
  }
  return { ms, exit, output };
}

export class Guest {
  /** `tell(event, fields)` logs; `fault` is null or a fault of VMs; `random` varies times. */
  constructor({ config, random, tell, fault }) {
    Object.assign(this, { config, random, tell, fault, over: false, request: null, wakers: new Set(), job: null });
    this.factor = fault?.vm === 'slow' ? fault.factor ?? 10 : 1;
  }

  /** The run hook: takes the payload or throws PayloadError. */
  accept(packed) {
    const payload = unpack(packed);
    const plain = (text) => JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
    const files = plain(payload.jit_config);
    const settings = plain(files['.runner']);
    this.payload = payload;
    this.name = settings.AgentName;
    this.url = new URL(settings.ServerUrl);
    this.token = plain(files['.credentials']).data.clientId;
  }

  /** Resolves with the reason of the end, or null when stopped. */
  async run() {
    try {
      return await this.serve();
    } catch (error) {
      if (error instanceof Ended) return error.message;
      if (error instanceof Stopped || this.over) return null;
      return 'runner-failed';
    }
  }

  async serve() {
    const { payload } = this;
    this.endsAt = payload.max_duration_seconds > 0 ? Date.now() + payload.max_duration_seconds * 1000 : Infinity;
    await this.sleep(this.random.vary(this.config.runner_start_ms, this.config.jitter) * this.factor);
    const session = await this.openSession();
    if (session === null) return 'job-done';
    const job = await this.waitForJob(session);
    if (job === null) return 'job-done';
    this.job = job.id;
    this.tell('vm_job', { job: job.id, runner: this.name });
    const { exit, output } = await this.work(job);
    const { status } = await this.call('POST', `/_runner/finish?session=${session}&job=${job.id}&exit=${exit}`, { body: output });
    this.tell('vm_job_done', { job: job.id, runner: this.name, exit, told: status });
    return 'job-done';
  }

  /** The session's id, or null when the registration is gone; the runner then exits without an error. */
  async openSession() {
    const headers = { authorization: `Bearer ${this.token}`, 'x-runner-process': randomUUID() };
    for (let i = 0; i < TRIES; i++) {
      const { status, text } = await this.call('POST', '/_runner/session', { headers });
      if (status === 200) {
        this.tell('vm_listening', { runner: this.name });
        return text.trim();
      }
      if (status === 404) return null;
      await this.sleep(RETRY_MS);
    }
    throw new Error('no session');
  }

  async waitForJob(session) {
    const idle = this.payload.idle_seconds;
    const idleAt = idle > 0 ? Date.now() + idle * 1000 : Infinity;
    for (;;) {
      const left = (Math.min(idleAt, this.endsAt) - Date.now()) / 1000;
      if (left <= 0) throw new Ended(idleAt <= this.endsAt ? 'idle-timeout' : 'max-duration');
      const wait = Math.min(this.config.poll_s, left);
      const { status, text } = await this.call('GET', `/_runner/message?session=${session}&wait=${wait}`, {
        timeoutMs: wait * 1000 + POLL_MARGIN_MS,
      });
      if (status === 404) return null;
      if (status === 200) {
        const [id, command] = text.split('\n');
        return { id: Number(id), command: Buffer.from(command, 'base64').toString() };
      }
      if (status !== 204) await this.sleep(RETRY_MS);
    }
  }

  async work({ id, command }) {
    const { ms, exit, output } = interpret(command);
    const whole = (ms + this.random.vary(this.config.job_ms, this.config.jitter)) * this.factor;
    if (this.fault?.vm === 'hang') await this.sleep(Infinity);
    if (this.fault?.vm === 'die') {
      await this.sleep(whole * this.random.next());
      this.tell('vm_fault', { fault: 'die', job: id });
      throw new Ended('died');
    }
    if (whole > 0) await this.sleep(whole);
    return { exit, output };
  }

  /** Ends everything at once. Nobody is told. */
  stop() {
    this.over = true;
    for (const waker of [...this.wakers]) waker();
    this.request?.destroy();
  }

  /** Waits; ends with max-duration when that comes first, as the agent kills the runner then. */
  sleep(ms) {
    if (this.over) throw new Stopped();
    const left = this.endsAt - Date.now();
    if (this.fault?.vm !== 'hang' && ms >= left) return this.pause(left).then(() => { throw new Ended('max-duration'); });
    return this.pause(ms);
  }

  pause(ms) {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.wakers.delete(done);
        if (this.over) reject(new Stopped());
        else resolve();
      };
      const timer = ms === Infinity ? undefined : setTimeout(done, Math.max(0, ms));
      this.wakers.add(done);
    });
  }

  /** One call, repeated while the connection fails or the server does; the runner's protocol allows that. */
  async call(method, path, options) {
    let last = null;
    for (let i = 0; i < TRIES; i++) {
      try {
        last = await this.callOnce(method, path, options);
        if (last.status < 500) return last;
      } catch {
        last = null;
      }
      await this.sleep(RETRY_MS * (1 + this.random.next()));
    }
    if (last) return last;
    throw new Error('the server cannot be reached');
  }

  callOnce(method, path, { headers = {}, body = '', timeoutMs = CALL_TIMEOUT_MS } = {}) {
    if (this.over) throw new Stopped();
    return new Promise((resolve, reject) => {
      const request = http.request({
        agent, method, host: this.url.hostname, port: this.url.port, path: this.url.pathname.replace(/\/$/, '') + path, timeout: timeoutMs,
        headers: { ...headers, 'Content-Length': Buffer.byteLength(body) },
      }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode, text: Buffer.concat(chunks).toString('utf8') }));
        response.on('error', reject);
        response.on('close', () => reject(new Error('closed')));
      });
      this.request = request;
      request.on('timeout', () => request.destroy(new Error('time-out')));
      request.on('error', reject);
      request.end(body);
    });
  }
}

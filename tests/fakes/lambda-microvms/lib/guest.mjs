/*
 * What runs inside a simulated VM: our agent and the stand-in runner, speaking to the fake GitHub as the real
 * ones do (the runner's side of tests/fakes/github). One job, then it is over. All guests of a process share one
 * pool of connections. What a fleet of thousands would pay for and no test looks at is left out: reports on steps, a poll
 * while the job runs, a log when nothing was printed.
 *
 * A guest ends with one of the agent's reasons: job-done, runner-failed, idle-timeout, max-duration, bad-payload;
 * or is stopped from outside, without a word to anybody, as when a machine is switched off.
 */
import http from 'node:http';
import { RunnerClient } from '../../lib/runner_client.mjs';
import { unpack } from './payload.mjs';

const RETRY_MS = 200;
const TRIES = 25;
const CALL_TIMEOUT_MS = 20_000;
const POLL_TIMEOUT_MS = 100_000;
const CONFLICT_MS = 240_000;
const RENEW_MS = 60_000;

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
    Object.assign(this, { config, random, tell, fault, over: false, requests: new Set(), wakers: new Set(), job: null });
    this.factor = fault?.vm === 'slow' ? fault.factor ?? 10 : 1;
  }

  /** The run hook: takes the payload or throws PayloadError. */
  accept(packed) {
    const payload = unpack(packed);
    this.payload = payload;
    this.client = new RunnerClient(payload.jit_config, (request) => this.call(request));
    this.name = this.client.name;
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
    const { client } = this;
    if (!await this.openSession()) return 'job-done';
    this.tell('vm_listening', { runner: this.name });
    if (!await this.waitForJob()) return 'job-done';
    this.job = client.job.number;
    this.tell('vm_job', { job: this.job, runner: this.name });
    const renewing = setInterval(() => client.renew().catch(() => {}), RENEW_MS);
    try {
      const { exit, output } = await this.work(client.job.number, client.job.command);
      if (output !== '' || exit !== 0) await client.log(output, exit);
      const { status } = await client.complete(exit === 0 ? 'succeeded' : 'failed');
      this.tell('vm_job_done', { job: this.job, runner: this.name, exit, told: status });
    } finally {
      clearInterval(renewing);
    }
    return 'job-done';
  }

  /** False when the registration is gone; the runner then exits without an error. */
  async openSession() {
    const { client } = this;
    const { status, kind } = await client.fetchToken();
    if (kind === 'invalid_client') return false;
    if (status !== 200) throw new Error('no token');
    for (const until = Date.now() + CONFLICT_MS; Date.now() < until;) {
      const opened = await client.open();
      if (opened.status === 200) return true;
      if (opened.kind === 'RunnerNotFound') return false;
      await this.sleep(RETRY_MS);
    }
    throw new Error('no session');
  }

  /** False when the registration is gone; else the job is acquired. */
  async waitForJob() {
    const { client } = this;
    const idle = this.payload.idle_seconds;
    const idleAt = idle > 0 ? Date.now() + idle * 1000 : Infinity;
    for (;;) {
      const left = Math.min(idleAt, this.endsAt) - Date.now();
      if (left <= 0) throw new Ended(idleAt <= this.endsAt ? 'idle-timeout' : 'max-duration');
      const { status, kind, type, body } = await client.message('Online', { timeoutMs: Math.min(left, POLL_TIMEOUT_MS), once: left < POLL_TIMEOUT_MS });
      if (kind === 'RunnerNotFound') return false;
      if (kind === 'RunnerSessionInvalid' && !await this.openSession()) return false;
      if (type === 'RunnerJobRequest' && await this.acquire(body)) return true;
      if (status !== 200 && status !== 202) await this.sleep(RETRY_MS);
    }
  }

  async acquire(request) {
    await this.client.acknowledge(request);
    return (await this.client.acquire(request)).status === 200 && (await this.client.renew()).status === 200;
  }

  async work(id, command) {
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
    for (const request of [...this.requests]) request.destroy();
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

  /** One call, repeated while the connection fails or the server does, unless it is asked for `once`: then status 0. */
  async call(request) {
    let last = null;
    for (let i = 0; i < TRIES; i++) {
      try {
        last = await this.callOnce(request);
        if (last.status < 500) return last;
      } catch {
        last = null;
      }
      if (request.once) return last ?? { status: 0, text: '' };
      await this.sleep(RETRY_MS * (1 + this.random.next()));
    }
    if (last) return last;
    throw new Error('the server cannot be reached');
  }

  callOnce({ method, url, headers, body, timeoutMs = CALL_TIMEOUT_MS }) {
    if (this.over) throw new Stopped();
    return new Promise((resolve, reject) => {
      const request = http.request(url, {
        agent, method, headers: { ...headers, 'Content-Length': Buffer.byteLength(body) },
      }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode, text: Buffer.concat(chunks).toString('utf8') }));
        response.on('error', reject);
        response.on('close', () => reject(new Error('closed')));
      });
      const timer = setTimeout(() => request.destroy(new Error('time-out')), timeoutMs);
      this.requests.add(request);
      request.on('close', () => {
        clearTimeout(timer);
        this.requests.delete(request);
      });
      request.on('error', reject);
      request.end(body);
    });
  }
}

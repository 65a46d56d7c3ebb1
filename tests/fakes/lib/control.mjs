/*
 * The control API under /_fake/: what a test or the demo does to a stand-in and asks of it. No authorisation: it
 * listens on the loopback address only. Here are the calls that all have (state, wait, config, faults); a stand-in
 * adds its own with `add`, says what it counts in `counters()`, and calls `changed()` when a count may have moved.
 */
import { BadRequest, Router, parseJson, readBody, sendJson } from './http.mjs';
import { OptionError } from './options.mjs';

const LONGEST_WAIT_S = 600;

export class Control {
  /** `faults` is a FaultList, or what has its add, clear and list. */
  constructor({ config, options, log, faults }) {
    Object.assign(this, { config, options, log, faults, waiters: new Set(), scheduled: false, router: new Router() });
    this.add('GET', '/state', () => this.state());
    this.add('GET', '/wait', (context) => this.wait(context));
    this.add('POST', '/config', ({ body }) => this.configure(body ?? {}));
    this.add('GET', '/faults', () => this.faults.list);
    this.add('POST', '/faults', ({ body }) => {
      this.faults.add(body);
      return { active: this.faults.list.length };
    });
    this.add('GET', '/faults/used', () => this.faults.used);
    this.add('DELETE', '/faults', ({ query }) => {
      this.faults.clear(query.get('name'));
      return { active: 0 };
    });
  }

  /** `handle({params, query, body, response})` returns the answer, or undefined when it sends one itself. */
  add(method, path, handle) {
    this.router.add(method, `/_fake${path}`, { handle });
  }

  counters() {
    return {};
  }

  state() {
    return this.counters();
  }

  configure(settings) {
    this.options.reconfigure(this.config, settings);
    return {};
  }

  async handle(request, response, url) {
    try {
      const raw = await readBody(request);
      const { route, params, known } = this.router.find(request.method, url.pathname);
      if (!route) throw new BadRequest(`${request.method} ${url.pathname} is no call of the control`, known ? 405 : 404);
      const answer = await route.handle({ params, query: url.searchParams, body: parseJson(raw), response });
      if (answer !== undefined) sendJson(response, 200, answer);
    } catch (error) {
      if (!(error instanceof BadRequest || error instanceof RangeError || error instanceof OptionError || error.code === 'ERR_INVALID_URL')) {
        this.log.write('internal_error', { path: url.pathname, error: String(error.stack) });
      }
      sendJson(response, error.status ?? 400, { message: error.message });
    }
  }

  conditions(query) {
    const names = Object.keys(this.counters());
    return [...query].filter(([key]) => key !== 'timeout').map(([key, value]) => {
      const limit = Number(value);
      const counter = names.includes(key) ? key : key.replace(/_max$/, '');
      if (!names.includes(counter) || !Number.isFinite(limit)) throw new RangeError(`cannot wait for ${key}=${value}`);
      return counter === key ? (now) => now[counter] >= limit : (now) => now[counter] <= limit;
    });
  }

  /** 200 when every counter named in the query has reached its number (`x_max=0` asks for at most), 408 when time is over. */
  wait({ query, response }) {
    const conditions = this.conditions(query);
    const seconds = Math.min(LONGEST_WAIT_S, Number(query.get('timeout') ?? 30) || 0);
    const waiter = {
      met: (now) => conditions.every((condition) => condition(now)),
      end: (status) => {
        clearTimeout(waiter.timer);
        if (this.waiters.delete(waiter)) sendJson(response, status, { met: status === 200, ...this.state() });
      },
      timer: setTimeout(() => waiter.end(408), seconds * 1000),
    };
    this.waiters.add(waiter);
    response.on('close', () => {
      clearTimeout(waiter.timer);
      this.waiters.delete(waiter);
    });
    this.changed();
  }

  changed() {
    if (this.scheduled || this.waiters.size === 0) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      const now = this.counters();
      for (const waiter of [...this.waiters]) if (waiter.met(now)) waiter.end(200);
    });
  }
}

/*
 * The control API under /_fake/: what a test does to the fake and asks of it. No authorisation: the fake listens
 * on the loopback address only.
 */
import { Router, parseJson, readBody, sendJson } from './http.mjs';
import { OptionError, reconfigure } from './options.mjs';

const LONGEST_WAIT_S = 600;

export class Control {
  constructor(parts) {
    Object.assign(this, parts);
    this.waiters = new Set();
    this.scheduled = false;
    this.router = new Router();
    const add = (method, path, handle) => this.router.add(method, `/_fake${path}`, { handle });
    add('GET', '/state', () => this.state());
    add('GET', '/wait', (context) => this.wait(context));
    add('GET', '/vms', ({ query }) => this.fleet.list.map(vmView).filter((vm) => !query.get('state') || vm.state === query.get('state')));
    add('GET', '/vms/{id}', ({ params }) => vmView(this.vm(params.id)));
    add('POST', '/vms/{id}/kill', ({ params }) => ({ done: this.fleet.end(this.vm(params.id), 'MicroVM stopped unexpectedly') === undefined }));
    add('POST', '/config', ({ body }) => this.configure(body ?? {}));
    add('GET', '/faults', () => this.faults.list);
    add('POST', '/faults', ({ body }) => {
      this.faults.add(Array.isArray(body) ? body : [body]);
      return { active: this.faults.list.length };
    });
    add('DELETE', '/faults', () => {
      this.faults.clear();
      return { active: 0 };
    });
    this.fleet.on('change', () => this.schedule());
  }

  async handle(request, response, url) {
    try {
      const raw = await readBody(request);
      const found = this.router.find(request.method, url.pathname);
      if (!found) throw new RangeError(`${request.method} ${url.pathname} is no call`);
      const answer = await found.route.handle({ params: found.params, query: url.searchParams, body: parseJson(raw), response });
      if (answer !== undefined) sendJson(response, 200, answer);
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof OptionError)) this.log.write('internal_error', { path: url.pathname, error: String(error.stack) });
      sendJson(response, 400, { message: error.message });
    }
  }

  vm(id) {
    const vm = this.fleet.byId.get(id);
    if (!vm) throw new RangeError(`there is no VM ${id}`);
    return vm;
  }

  configure({ images = [], ...settings }) {
    for (const image of images) this.images.set(image);
    reconfigure(this.config, settings);
    return {};
  }

  counters() {
    return { ...this.fleet.counts, ...this.service.counts, memory_counted_mib: this.quotas.memoryMib, known: this.fleet.list.length };
  }

  state() {
    const { operations, statuses } = this.service;
    return { ...this.counters(), operations: Object.fromEntries(operations), answers: Object.fromEntries(statuses) };
  }

  /** 200 when every counter named in the query has reached its number (`alive_max=0` asks for at most), 408 when time is over. */
  wait({ query, response }) {
    const conditions = [];
    const names = Object.keys(this.counters());
    for (const [key, value] of query) {
      if (key === 'timeout') continue;
      const limit = Number(value);
      const counter = names.includes(key) ? key : key.replace(/_max$/, '');
      if (!names.includes(counter) || !Number.isFinite(limit)) throw new RangeError(`cannot wait for ${key}=${value}`);
      conditions.push(counter === key ? (now) => now[counter] >= limit : (now) => now[counter] <= limit);
    }
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
    this.schedule();
  }

  schedule() {
    if (this.scheduled || this.waiters.size === 0) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      const now = this.counters();
      for (const waiter of [...this.waiters]) if (waiter.met(now)) waiter.end(200);
    });
  }
}

function vmView(vm) {
  return {
    id: vm.id, state: vm.state, reason: vm.reason, image: vm.image.name, version: vm.version.version, token: vm.spec.clientToken ?? null,
    runner: vm.runner, job: vm.job, fault: vm.fault?.vm ?? null, created_ms: vm.createdAt, terminated_ms: vm.terminatedAt,
  };
}

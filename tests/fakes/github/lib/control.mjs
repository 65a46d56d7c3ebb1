/*
 * The control API under /_fake/: what a test or the demo does to the fake and asks of it. No authorisation: the
 * fake listens on the loopback address only.
 */
import { ApiError, Router, notFound, parseJson, readBody, sendJson } from './http.mjs';
import { OptionError, reconfigure } from './options.mjs';

const LONGEST_WAIT_S = 600;

export class Control {
  constructor(parts) {
    Object.assign(this, parts);
    this.waiters = new Set();
    this.checkScheduled = false;
    this.router = new Router();
    this.addRoutes();
    const changed = () => this.scheduleCheck();
    this.fleet.on('change', changed);
    this.webhooks.on('change', changed);
  }

  addRoutes() {
    const add = (method, path, handle) => this.router.add(method, `/_fake${path}`, { handle: handle.bind(this) });
    const onJob = (action) => ({ params }) => ({ done: action(this.job(params.id)) });
    add('GET', '/state', () => this.state());
    add('GET', '/wait', this.wait);
    add('POST', '/jobs', ({ body }) => this.fleet.createJobs(body ?? {}).map((job) => ({ id: job.id, run_id: job.runId })));
    add('GET', '/jobs', ({ query }) => [...this.fleet.jobs.values()].map(jobView)
      .filter((job) => !query.get('state') || job.state === query.get('state')));
    add('GET', '/jobs/{id}', ({ params }) => jobView(this.job(params.id)));
    add('POST', '/jobs/{id}/cancel', onJob((job) => this.fleet.cancel(job)));
    add('POST', '/jobs/{id}/approve', onJob((job) => this.fleet.approve(job)));
    add('POST', '/jobs/{id}/lose', onJob((job) => this.fleet.lose(job)));
    add('POST', '/jobs/{id}/deliver', this.deliverAgain);
    add('GET', '/runners', () => [...this.fleet.runners.values()].map(runnerView));
    add('POST', '/runners/{id}/vanish', ({ params }) => ({ done: this.fleet.remove(this.runner(params.id), 'vanished') === undefined }));
    add('POST', '/runners/{id}/disconnect', ({ params }) => ({ done: this.fleet.disconnect(this.runner(params.id), 'asked') === undefined }));
    add('POST', '/faults', ({ body }) => {
      this.faults.add(Array.isArray(body) ? body : [body]);
      return { active: this.faults.list.length };
    });
    add('GET', '/faults', () => this.faults.list);
    add('DELETE', '/faults', () => {
      this.faults.clear();
      return { active: 0 };
    });
    add('POST', '/config', ({ body }) => this.configure(body ?? {}));
    add('POST', '/webhook-url', ({ body }) => ({ hook_id: this.webhooks.setHook(body ?? {}).id }));
    add('POST', '/ping', () => ({ guid: this.webhooks.ping() }));
  }

  async handle(request, response, url) {
    try {
      const raw = await readBody(request);
      const { route, params, known } = this.router.find(request.method, url.pathname);
      if (!route) throw known ? new ApiError(405, 'Method Not Allowed') : notFound();
      const context = { params, query: url.searchParams, body: parseJson(raw), response };
      const answer = await route.handle(context);
      if (answer !== undefined) sendJson(response, 200, answer);
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 400;
      if (!(error instanceof ApiError || error instanceof RangeError || error instanceof OptionError || error.code === 'ERR_INVALID_URL')) {
        this.log.write('internal_error', { path: url.pathname, error: String(error.stack) });
      }
      sendJson(response, status, { message: error.message });
    }
  }

  job(text) {
    const job = this.fleet.jobs.get(Number(text));
    if (!job) throw notFound();
    return job;
  }

  /** By id or by name. */
  runner(text) {
    const runner = this.fleet.runners.get(Number(text)) ?? [...this.fleet.runners.values()].find((r) => r.name === text);
    if (!runner) throw notFound();
    return runner;
  }

  deliverAgain({ params, query }) {
    const job = this.job(params.id);
    const { eventGuid, view } = job.announced;
    const same = query.get('same_guid') === '1';
    return { guid: this.webhooks.announce('queued', job, same ? { eventGuid, view } : { view }).eventGuid };
  }

  configure({ repositories = [], groups = [], permissions, ...settings }) {
    reconfigure(this.config, settings);
    for (const { full_name: name, ...rest } of repositories) this.world.ensureRepository(name, rest);
    const added = groups.map(({ org = this.config.org, ...group }) => this.world.addGroup(org, group).id);
    if (permissions) this.world.permissions = { ...permissions };
    return { groups: added };
  }

  // ---- state and waiting ------------------------------------------------------------------------

  counters() {
    const { counts: jobs, runners } = this.fleet;
    let busy = 0;
    let idle = 0;
    for (const runner of runners.values()) {
      if (runner.job) busy += 1;
      else if (runner.online) idle += 1;
    }
    return {
      jobs_total: this.fleet.jobs.size, jobs_waiting: jobs.waiting, jobs_queued: jobs.queued, jobs_assigned: this.fleet.assigned.size,
      jobs_in_progress: jobs.in_progress, jobs_completed: jobs.completed, jobs_succeeded: jobs.success, jobs_failed: jobs.failure,
      jobs_cancelled: jobs.cancelled, jobs_requeued: jobs.requeued, jobs_in_progress_peak: jobs.in_progress_peak,
      runners_total: runners.size, runners_online: jobs.online, runners_busy: busy, runners_idle: idle,
      runners_registered: jobs.registered, runners_peak: jobs.runners_peak, runners_online_peak: jobs.online_peak,
      webhooks_total: this.webhooks.counts.total, webhooks_ok: this.webhooks.counts.ok,
      webhooks_failed: this.webhooks.counts.failed, webhooks_pending: this.webhooks.pending, invalid_requests: this.rest.invalid,
    };
  }

  state() {
    const requests = Object.fromEntries([...this.rest.operations, ...this.protocol.operations]);
    return { ...this.counters(), requests };
  }

  /**
   * Answers 200 when every counter named in the query has reached its number (`runners_total_max=0` asks for at
   * most), and 408 when the time is over first.
   */
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
    this.scheduleCheck();
  }

  scheduleCheck() {
    if (this.checkScheduled || this.waiters.size === 0) return;
    this.checkScheduled = true;
    setImmediate(() => {
      this.checkScheduled = false;
      const now = this.counters();
      for (const waiter of [...this.waiters]) if (waiter.met(now)) waiter.end(200);
    });
  }
}

function jobState(job) {
  return job.status === 'queued' && job.runner ? 'assigned' : job.status;
}

function jobView(job) {
  return {
    id: job.id, run_id: job.runId, run_attempt: job.runAttempt, repo: job.repository.fullName, labels: job.labels,
    state: jobState(job), status: job.status, conclusion: job.conclusion, exit: job.exit, output: job.output,
    runner: job.runner?.name ?? null, runner_id: job.runner?.id ?? null, requeues: job.requeues,
    created_ms: job.createdAt, started_ms: job.startedAt, completed_ms: job.completedAt,
  };
}

function runnerView(runner) {
  return {
    id: runner.id, name: runner.name, scope: runner.scope, group: runner.group.name, labels: runner.labels,
    online: runner.online, busy: runner.job !== null, job: runner.job?.id ?? null, polling: runner.poll !== null,
    created_ms: runner.createdAt,
  };
}

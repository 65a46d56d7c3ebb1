/* The control API: what is this stand-in's own, beside ../../lib/control.mjs. */
import { Control as SharedControl } from '../../lib/control.mjs';
import { BadRequest } from '../../lib/http.mjs';
import { notFound } from './http.mjs';
import { options } from './options.mjs';
import { logText } from './runner/results.mjs';

export class Control extends SharedControl {
  constructor(parts) {
    super({ ...parts, options });
    Object.assign(this, parts);
    this.addRoutes();
    this.fleet.on('change', () => this.changed());
    this.webhooks.on('change', () => this.changed());
  }

  addRoutes() {
    const onJob = (action) => ({ params }) => ({ done: action(this.job(params.id)) });
    this.add('POST', '/jobs', ({ body }) => this.fleet.createJobs(body ?? {}).map((job) => ({ id: job.id, run_id: job.runId })));
    this.add('GET', '/jobs', ({ query }) => [...this.fleet.jobs.values()].map(jobView)
      .filter((job) => !query.get('state') || job.state === query.get('state')));
    this.add('GET', '/jobs/{id}', ({ params }) => jobView(this.job(params.id)));
    this.add('GET', '/jobs/{id}/logs', ({ params }) => {
      const job = this.job(params.id);
      return { step: job.stepId, logs: Object.fromEntries([...job.logs.keys()].map((name) => [name, logText(job, name)])) };
    });
    this.add('POST', '/jobs/{id}/cancel', onJob((job) => this.fleet.cancel(job)));
    this.add('POST', '/jobs/{id}/approve', onJob((job) => this.fleet.approve(job)));
    this.add('POST', '/jobs/{id}/lose', onJob((job) => this.fleet.lose(job)));
    this.add('POST', '/jobs/{id}/deliver', (context) => this.deliverAgain(context));
    this.add('GET', '/check-runs', () => this.fleet.checks.map(({ repository, ...check }) => ({ ...check, repo: repository.fullName })));
    this.add('GET', '/runners', () => [...this.fleet.runners.values()].map(runnerView));
    this.add('POST', '/runners/{id}/vanish', ({ params }) => ({ done: this.fleet.remove(this.runner(params.id), 'vanished') === undefined }));
    this.add('POST', '/runners/{id}/disconnect', ({ params }) => ({ done: this.fleet.disconnect(this.runner(params.id), 'asked') === undefined }));
    this.add('POST', '/runners/{id}/message', ({ params, body }) => this.sendMessage(this.runner(params.id), body ?? {}));
    this.add('GET', '/scale-sets', () => [...this.sets.byId.values()].map((set) => this.setView(set)));
    this.add('POST', '/webhook-url', ({ body }) => ({ hook_id: this.webhooks.setHook(body ?? {}).id }));
    this.add('POST', '/ping', () => ({ guid: this.webhooks.ping() }));
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

  /** Any message; a RunnerJobRequest without a body is that of the runner's job once more. */
  sendMessage(runner, { type, body }) {
    if (typeof type !== 'string') throw new BadRequest('a message has a type');
    const { job } = runner;
    this.fleet.send(runner, type === 'RunnerJobRequest' && !body && job ? { type, job, requestId: job.requestId } : { type, body });
    return { done: true };
  }

  deliverAgain({ params, query }) {
    const job = this.job(params.id);
    const { eventGuid, view } = job.announced;
    const same = query.get('same_guid') === '1';
    return { guid: this.webhooks.announce('queued', job, same ? { eventGuid, view } : { view }).eventGuid };
  }

  setView(set) {
    return {
      id: set.id, name: set.name, scope: set.scope, group: set.group.name, capacity: set.capacity, conflicts: set.conflicts, polling: set.poll !== null,
      owner: set.session?.ownerName ?? null, session: set.session?.id ?? null, statistics: this.sets.statistics(set),
    };
  }

  configure({ repositories = [], groups = [], installations = [], apps = [], permissions, deprecations, ...settings }) {
    super.configure(settings);
    for (const app of apps) this.auth.setApp(app);
    for (const { owner, ...changes } of installations) this.world.setInstallation(owner, changes);
    for (const { full_name: name, ...rest } of repositories) this.world.ensureRepository(name, rest);
    const added = groups.map(({ org = this.config.org, ...group }) => this.world.addGroup(org, group).id);
    if (deprecations) this.world.deprecations = deprecations;
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
    const requests = Object.fromEntries([...this.rest.operations, ...this.protocol.operations, ...this.setProtocol.operations]);
    return { ...this.counters(), requests };
  }
}

function jobState(job) {
  return job.status === 'queued' && job.runner ? 'assigned' : job.status;
}

function jobView(job) {
  return {
    id: job.id, run_id: job.runId, run_attempt: job.runAttempt, repo: job.repository.fullName, labels: job.labels,
    state: jobState(job), status: job.status, conclusion: job.conclusion, exit: job.exit, output: job.output,
    runner: job.runner?.name ?? null, runner_id: job.runner?.id ?? null, requeues: job.requeues, steps: job.steps,
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

/*
 * Runners and jobs, and what becomes of them.
 *
 *   job:     (waiting ->) queued -> [assigned] -> in_progress -> completed
 *            waiting and queued jobs may be cancelled; an assigned job not picked up is queued again
 *   runner:  registered (offline) -> online, idle -> busy -> removed
 *
 * A job is assigned to a runner before the runner has asked for it, as on GitHub: a message in the runner's inbox, which
 * its poll carries away. It is in progress once the runner has acquired it. Everything that happens is logged and emitted.
 */
import { EventEmitter } from 'node:events';
import { guid, hex, jobIds, runIds, runnerIds } from './ids.mjs';
import { Matcher, normalise } from './matcher.mjs';

const TICK_MS = 100;
export const RUNNER_VERSION = '2.337.0';

export class Fleet extends EventEmitter {
  constructor({ config, world, log }) {
    super();
    Object.assign(this, { config, world, log });
    this.matcher = new Matcher();
    this.jobs = new Map();
    this.runs = new Map();
    this.checks = [];
    this.sets = null; // sets/sets.mjs, which says whose jobs wait for their assignment
    this.runners = new Map();
    this.runnersByName = new Map();
    this.runnersByClient = new Map();
    this.sessions = new Map();
    this.requests = new Map();
    this.assigned = new Set();
    this.running = new Set();
    this.ids = { job: jobIds(), run: runIds(), runner: runnerIds() };
    this.counts = {
      queued: 0, waiting: 0, in_progress: 0, completed: 0, success: 0, failure: 0, cancelled: 0, registered: 0,
      in_progress_peak: 0, runners_peak: 0, online: 0, online_peak: 0, requeued: 0,
    };
    this.ticker = setInterval(() => this.tick(Date.now()), TICK_MS);
    this.ticker.unref();
  }

  stop() {
    clearInterval(this.ticker);
    for (const runner of this.runners.values()) this.answerPoll(runner, {});
  }

  // ---- jobs -------------------------------------------------------------------------------------

  createJobs(spec) {
    const repository = this.world.ensureRepository(spec.repo);
    const labels = spec.labels ?? [];
    if (!Array.isArray(labels) || labels.some((label) => typeof label !== 'string')) {
      throw new RangeError('labels is a list of texts');
    }
    const created = [];
    let runId = spec.run_id ?? this.ids.run.next();
    for (let i = 0; i < (spec.count ?? 1); i++) {
      if (i > 0 && !spec.same_run) runId = this.ids.run.next();
      created.push(this.createJob(spec, repository, labels, runId));
    }
    return created;
  }

  createJob(spec, repository, labels, runId) {
    const job = {
      id: this.ids.job.next(), runId, runAttempt: spec.run_attempt ?? 1, repository, labels,
      wanted: normalise(labels), groupName: spec.group ? String(spec.group).toLowerCase() : null,
      command: spec.command ?? 'true', name: spec.name ?? 'build', headSha: hex(20),
      environment: spec.environment ? String(spec.environment === true ? 'production' : spec.environment) : null,
      status: spec.environment ? 'waiting' : 'queued', conclusion: null, runner: null, createdAt: Date.now(),
      startedAt: null, completedAt: null, assignedAt: null, output: null, exit: null, requeues: 0,
      planId: guid(), backendId: guid(), stepId: guid(), requestId: null, delivered: false, lockedUntil: 0, cancelledAt: null, logs: new Map(), steps: [],
    };
    this.jobs.set(job.id, job);
    this.counts[job.status] += 1;
    if (!this.runs.has(runId)) this.runs.set(runId, { id: runId, repository, jobs: [], createdAt: job.createdAt });
    this.runs.get(runId).jobs.push(job);
    this.log.write('job_created', {
      job: job.id, run: runId, repository: repository.fullName, labels, group: spec.group ?? null, status: job.status,
    });
    this.emit('job', 'queued', job);
    if (job.environment) this.emit('job', 'waiting', job);
    else this.offerJob(job);
    this.emit('change');
    return job;
  }

  setStatus(job, status) {
    this.counts[job.status] -= 1;
    this.counts[status] += 1;
    this.counts.in_progress_peak = Math.max(this.counts.in_progress_peak, this.counts.in_progress);
    job.status = status;
  }

  approve(job) {
    if (job.status !== 'waiting') return false;
    this.setStatus(job, 'queued');
    this.log.write('job_approved', { job: job.id });
    this.emit('job', 'queued', job);
    this.offerJob(job);
    this.emit('change');
    return true;
  }

  cancel(job) {
    if (job.status === 'completed') return false;
    this.log.write('job_cancelled', { job: job.id, was: job.status, runner: job.runner?.name ?? null });
    const { runner } = job;
    if (job.status === 'in_progress') {
      job.cancelledAt = Date.now();
      if (runner.poll) this.send(runner, { type: 'JobCancellation', body: { jobId: job.backendId, timeout: '00:05:00' } });
      else this.endCancelled(job);
      return true;
    }
    this.matcher.removeJob(job);
    this.assigned.delete(job);
    const consumed = job.delivered;
    this.withdraw(job);
    job.runner = null;
    this.complete(job, 'cancelled', {});
    if (runner && consumed) this.remove(runner, 'job-cancelled');
    else if (runner) this.makeIdle(runner);
    return true;
  }

  /** A cancelled job whose runner does not poll, or did not end it in time. */
  endCancelled(job) {
    const { runner } = job;
    this.complete(job, 'cancelled', {});
    if (this.runners.has(runner.id)) this.remove(runner, 'job-cancelled');
  }

  /** Ends a job as GitHub does after it has lost the runner. */
  lose(job) {
    if (job.status !== 'in_progress') return false;
    const { runner } = job;
    this.log.write('job_lost', { job: job.id, runner: runner.name, runner_id: runner.id });
    this.complete(job, 'failure', {});
    if (this.runners.has(runner.id)) this.remove(runner, 'lost');
    return true;
  }

  complete(job, conclusion, { exit = null, output = null }) {
    this.running.delete(job);
    this.setStatus(job, 'completed');
    this.counts[conclusion] += 1;
    Object.assign(job, { conclusion, exit, output, completedAt: Date.now() });
    job.startedAt ??= job.completedAt;
    this.log.write('job_finished', {
      job: job.id, conclusion, exit, runner: job.runner?.name ?? null, runner_id: job.runner?.id ?? null,
    });
    this.emit('job', 'completed', job);
    this.emit('change');
  }

  // ---- assignment -------------------------------------------------------------------------------

  offerJob(job, again = false) {
    if (this.sets?.holds(job)) return;
    const runner = this.matcher.runnerFor(job);
    if (runner) this.assign(job, runner);
    else this.matcher.addJob(job, again);
  }

  makeIdle(runner) {
    runner.job = null;
    if (!this.runners.has(runner.id) || !runner.online) return;
    const job = this.matcher.jobFor(runner);
    if (job) {
      this.matcher.removeJob(job);
      this.assign(job, runner);
    } else {
      this.matcher.addRunner(runner);
    }
  }

  assign(job, runner) {
    this.matcher.removeRunner(runner);
    Object.assign(job, { runner, assignedAt: Date.now(), requestId: guid(), delivered: false });
    runner.job = job;
    this.assigned.add(job);
    this.requests.set(job.requestId, job);
    this.log.write('job_assigned', { job: job.id, runner: runner.name, runner_id: runner.id });
    this.send(runner, { type: 'RunnerJobRequest', job, requestId: job.requestId });
    this.emit('change');
  }

  /** A message for the runner's next poll, or the one that is open. */
  send(runner, message) {
    runner.inbox.push(message);
    if (runner.poll) this.answerPoll(runner, { message: this.nextMessage(runner) });
  }

  /** It is delivered once, whether it arrives or not. */
  nextMessage(runner) {
    const message = runner.inbox.shift();
    if (message?.job) message.job.delivered = true;
    return message;
  }

  withdraw(job) {
    if (job.runner) job.runner.inbox = job.runner.inbox.filter((message) => message.job !== job);
  }

  /** The job in progress, or why not: 'canceled' or 'invalid'. Asking twice changes nothing. */
  acquire(runner, requestId) {
    const job = this.requests.get(requestId);
    if (job?.conclusion === 'cancelled') return { refused: 'canceled' };
    if (!job || !runner || job.requestId !== requestId || runner.job !== job || job.status === 'completed') return { refused: 'invalid' };
    return { job: this.start(runner) };
  }

  renew(job) {
    job.lockedUntil = Date.now() + this.config.job_lock_s * 1000;
    return job.lockedUntil;
  }

  start(runner) {
    const { job } = runner;
    this.renew(job);
    if (job.status !== 'queued') return job;
    this.assigned.delete(job);
    this.running.add(job);
    job.startedAt = Date.now();
    this.setStatus(job, 'in_progress');
    this.log.write('job_started', { job: job.id, runner: runner.name, runner_id: runner.id });
    this.emit('job', 'in_progress', job);
    this.emit('change');
    return job;
  }

  requeue(job, why) {
    const { runner } = job;
    this.assigned.delete(job);
    this.withdraw(job);
    Object.assign(job, { runner: null, assignedAt: null, requeues: job.requeues + 1 });
    if (runner) runner.job = null;
    this.counts.requeued += 1;
    this.log.write('job_requeued', { job: job.id, runner: runner?.name ?? null, why });
    this.offerJob(job, true);
    this.emit('change');
  }

  // ---- runners ----------------------------------------------------------------------------------

  findByName(scope, name) {
    return this.runnersByName.get(`${scope}:${name}`.toLowerCase());
  }

  register({ owner, repository, group, name, labels, workFolder }) {
    const scope = repository ? repository.fullName : owner.login;
    const runner = {
      id: this.ids.runner.next(), name, owner, repository: repository ?? null, scope, group, labels,
      offered: normalise(labels), workFolder, clientId: guid(), tenantId: guid(), online: false, version: null,
      session: null, poll: null, inbox: [], key: null, lastSeenAt: 0, job: null, createdAt: Date.now(),
    };
    this.runners.set(runner.id, runner);
    this.runnersByName.set(`${scope}:${name}`.toLowerCase(), runner);
    this.runnersByClient.set(runner.clientId, runner);
    this.counts.registered += 1;
    this.counts.runners_peak = Math.max(this.counts.runners_peak, this.runners.size);
    this.log.write('runner_registered', { runner: name, runner_id: runner.id, scope, group: group.name, labels });
    this.emit('change');
    return runner;
  }

  remove(runner, reason) {
    this.runners.delete(runner.id);
    this.runnersByName.delete(`${runner.scope}:${runner.name}`.toLowerCase());
    this.runnersByClient.delete(runner.clientId);
    if (runner.session) this.sessions.delete(runner.session);
    this.matcher.removeRunner(runner);
    this.setOffline(runner);
    this.log.write('runner_removed', { runner: runner.name, runner_id: runner.id, scope: runner.scope, reason });
    const { job } = runner;
    if (job && job.status === 'queued') this.requeue(job, `runner ${reason}`);
    this.answerPoll(runner, reason === 'job-done' ? {} : { gone: true });
    this.emit('change');
  }

  /** Returns the session id, or null when the registration has a live session. */
  openSession(runner, version) {
    if (runner.session && (runner.poll || this.isFresh(runner, Date.now()))) return null;
    if (runner.session) this.sessions.delete(runner.session);
    runner.session = guid();
    runner.version = version ?? RUNNER_VERSION;
    this.sessions.set(runner.session, runner);
    this.seen(runner);
    return runner.session;
  }

  closeSession(runner) {
    this.sessions.delete(runner.session);
    runner.session = null;
    this.answerPoll(runner, {});
    this.disconnect(runner, 'session deleted');
  }

  isFresh(runner, now) {
    return now - runner.lastSeenAt < this.config.offline_after_s * 1000;
  }

  seen(runner) {
    runner.lastSeenAt = Date.now();
    if (runner.online) return;
    runner.online = true;
    this.counts.online += 1;
    this.counts.online_peak = Math.max(this.counts.online_peak, this.counts.online);
    this.log.write('runner_online', { runner: runner.name, runner_id: runner.id });
    if (!runner.job) this.makeIdle(runner);
    this.emit('change');
  }

  disconnect(runner, why) {
    if (!runner.online) return;
    this.setOffline(runner);
    this.matcher.removeRunner(runner);
    this.log.write('runner_offline', { runner: runner.name, runner_id: runner.id, why });
    if (runner.job?.status === 'queued') this.requeue(runner.job, 'runner offline');
    this.emit('change');
  }

  /** `answer` is called once, with {message}, {gone: true} or {} when nothing came; a newer poll ends an older one. */
  poll(runner, waitMs, answer) {
    this.answerPoll(runner, {});
    this.seen(runner);
    const message = this.nextMessage(runner);
    if (message) {
      answer({ message });
      return;
    }
    const timer = setTimeout(() => this.answerPoll(runner, {}), waitMs);
    runner.poll = { answer, timer };
  }

  answerPoll(runner, what) {
    const { poll } = runner;
    if (!poll) return;
    clearTimeout(poll.timer);
    runner.poll = null;
    runner.lastSeenAt = Date.now();
    poll.answer(what);
  }

  /** The connection of a poll broke: the runner may be back, so it stays online for a while. */
  abandonPoll(runner, answer) {
    if (runner.poll?.answer !== answer) return;
    clearTimeout(runner.poll.timer);
    runner.poll = null;
    runner.lastSeenAt = Date.now();
  }

  /** The runner's own word on its job. Once for each job: false if it is over already. */
  finish(job, conclusion, result) {
    if (job.status !== 'in_progress') return false;
    const { runner } = job;
    this.complete(job, conclusion, result);
    this.remove(runner, 'job-done');
    return true;
  }

  setOffline(runner) {
    if (runner.online) this.counts.online -= 1;
    runner.online = false;
  }

  // ---- time -------------------------------------------------------------------------------------

  tick(now) {
    const { pickup_timeout_s: pickup, job_timeout_s: limit, jit_idle_s: idle, cancel_timeout_s: patience } = this.config;
    for (const job of [...this.assigned]) {
      if (now - job.assignedAt < pickup * 1000) continue;
      const { runner } = job;
      this.requeue(job, 'not picked up');
      if (runner.poll) this.makeIdle(runner);
      else this.disconnect(runner, 'did not pick up its job');
    }
    for (const job of [...this.running]) {
      if ((limit > 0 && now - job.startedAt >= limit * 1000) || now >= job.lockedUntil) this.lose(job);
      else if (job.cancelledAt !== null && now - job.cancelledAt >= patience * 1000) this.endCancelled(job);
    }
    for (const runner of [...this.runners.values()]) {
      const working = runner.job?.status === 'in_progress';
      if (runner.online && !runner.poll && !working && !this.isFresh(runner, now)) this.disconnect(runner, 'silent');
      if (!runner.job && idle > 0 && now - runner.createdAt >= idle * 1000) this.remove(runner, 'never-used');
    }
  }
}

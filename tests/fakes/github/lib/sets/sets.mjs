/*
 * Scale sets: which jobs belong to a set, which messages about them it got, and who may ask.
 *
 *   job of a set:   available -> assigned -> running -> completed
 *   session:        one for each set; it ends when it is deleted, or some time after its last poll
 *   message:        up to 50 events and the statistics at that moment; delivered at each poll until it is deleted
 *
 * GitHub.com assigns a job by itself, up to the capacity that the last poll has named; GitHub Enterprise Server offers it, and
 * assigns what is acquired (`set_assignment`). Until then no runner gets it.
 */
import { guid, hex } from '../ids.mjs';
import { matches, normalise } from '../matcher.mjs';

export const EVENTS_PER_MESSAGE = 50;
const TICK_MS = 100;

export class ScaleSets {
  constructor({ config, fleet, log }) {
    Object.assign(this, { config, fleet, log, byId: new Map(), nextId: 1, nextRequest: 1000 });
    fleet.sets = this;
    fleet.on('job', (action, job) => this.onJob(action, job));
    this.ticker = setInterval(() => this.tick(Date.now()), TICK_MS);
    this.ticker.unref();
  }

  stop() {
    clearInterval(this.ticker);
    for (const set of this.byId.values()) this.answerPoll(set);
  }

  // ---- sets -------------------------------------------------------------------------------------

  find(scope, groupId, name) {
    return [...this.byId.values()].find((set) => set.scope === scope.key && set.group.id === groupId && set.name.toLowerCase() === name.toLowerCase());
  }

  create(scope, { name, group, labels, setting }) {
    const set = {
      id: this.nextId++, name, scope: scope.key, owner: scope.owner, repository: scope.repository, group, labels, setting,
      offered: normalise(labels), createdAt: Date.now(), jobs: new Set(), events: [], message: null, nextMessageId: 1, session: null,
      poll: null, capacity: null, seenAt: 0, conflicts: 0,
    };
    this.byId.set(set.id, set);
    this.log.write('set_created', { set: name, set_id: set.id, scope: set.scope, group: group.name, labels });
    for (const job of this.fleet.jobs.values()) {
      if (job.status === 'queued' && !job.runner && matches(job, set)) {
        this.fleet.matcher.removeJob(job);
        this.take(set, job);
      }
    }
    return set;
  }

  delete(set) {
    this.closeSession(set, 'set deleted');
    this.byId.delete(set.id);
  }

  // ---- jobs -------------------------------------------------------------------------------------

  /** Whether a job of a set waits for its assignment: no runner may have it yet. */
  holds(job) {
    return job.set !== undefined && !job.set.assigned;
  }

  onJob(action, job) {
    if (action === 'queued' && job.status === 'queued' && !job.set) {
      const set = [...this.byId.values()].find((candidate) => matches(job, candidate));
      if (set) this.take(set, job, job);
    } else if (action === 'in_progress' && job.set) {
      this.tell(job.set.of, 'JobStarted', job);
    } else if (action === 'completed' && job.set) {
      this.release(job);
    }
  }

  /** `fresh`: the job that the fleet is making, and offers to the runners by itself. */
  take(set, job, fresh = null) {
    job.set = { of: set, assigned: false, request: this.nextRequest++, queuedAt: Date.now(), assignedAt: null };
    set.jobs.add(job);
    if (this.config.set_assignment === 'acquire') this.tell(set, 'JobAvailable', job);
    else this.assignSome(set, fresh);
  }

  /** Up to the capacity; before the first poll there is none. */
  assignSome(set, fresh = null) {
    let assigned = [...set.jobs].filter((job) => job.set.assigned).length;
    for (const job of set.jobs) {
      if (job.set.assigned) continue;
      if (assigned >= (set.capacity ?? 0)) break;
      this.assign(set, job, job !== fresh);
      assigned += 1;
    }
  }

  assign(set, job, offer = true) {
    job.set.assigned = true;
    job.set.assignedAt = Date.now();
    this.tell(set, 'JobAssigned', job);
    if (offer) this.fleet.offerJob(job);
  }

  acquire(set, requests) {
    const won = [...set.jobs].filter((job) => !job.set.assigned && requests.includes(job.set.request));
    for (const job of won) this.assign(set, job);
    return won.map((job) => job.set.request);
  }

  release(job) {
    const { of: set } = job.set;
    this.tell(set, 'JobCompleted', job);
    set.jobs.delete(job);
    if (this.config.set_assignment !== 'acquire') this.assignSome(set);
  }

  statistics(set) {
    const jobs = [...set.jobs];
    const runners = [...this.fleet.runners.values()].filter((runner) => runner.set === set);
    const assigned = jobs.filter((job) => job.set.assigned).length;
    const busy = runners.filter((runner) => runner.job).length;
    return {
      totalAvailableJobs: jobs.length - assigned, totalAcquiredJobs: assigned, totalAssignedJobs: assigned,
      totalRunningJobs: jobs.filter((job) => job.status === 'in_progress').length, totalRegisteredRunners: runners.length,
      totalBusyRunners: busy, totalIdleRunners: runners.filter((runner) => runner.online).length - busy,
    };
  }

  // ---- messages ---------------------------------------------------------------------------------

  tell(set, messageType, job) {
    const iso = (ms) => (ms ? new Date(ms).toISOString() : '0001-01-01T00:00:00Z');
    const byId = this.config.set_assignment === 'acquire';
    set.events.push({
      messageType, runnerRequestId: byId ? job.set.request : 0, repositoryName: job.repository.name, ownerName: job.repository.owner.login,
      jobId: job.backendId, jobWorkflowRef: `${job.repository.fullName}/.github/workflows/ci.yml@refs/heads/main`, jobDisplayName: job.name,
      workflowRunId: job.runId, eventName: 'push', requestLabels: job.labels, queueTime: iso(job.set.queuedAt),
      scaleSetAssignTime: iso(job.set.assignedAt), runnerAssignTime: iso(job.assignedAt), finishTime: iso(job.completedAt),
      ...(messageType === 'JobAvailable' ? { acquireJobUrl: '' } : {}),
      ...(messageType === 'JobCompleted' ? { result: this.result(job) } : {}),
      ...(messageType === 'JobStarted' || messageType === 'JobCompleted' ? { runnerId: job.runner?.id ?? 0, runnerName: job.runner?.name ?? '' } : {}),
    });
    if (set.poll) setImmediate(() => this.answerPoll(set)); // with the statistics of afterwards
  }

  result(job) {
    return { success: 'succeeded', failure: 'failed', cancelled: 'canceled' }[job.conclusion] ?? job.conclusion;
  }

  /** The message that has not been deleted yet, or a new one of what has happened. */
  nextMessage(set) {
    if (!set.message && set.events.length > 0) {
      const body = set.events.splice(0, EVENTS_PER_MESSAGE);
      set.message = { messageId: set.nextMessageId++, messageType: 'RunnerScaleSetJobMessages', body: JSON.stringify(body), statistics: this.statistics(set) };
    }
    return set.message;
  }

  deleteMessage(set, id) {
    if (set.message?.messageId !== id) return false;
    set.message = null;
    return true;
  }

  // ---- sessions ---------------------------------------------------------------------------------

  /** Null while another session lives. */
  openSession(set, ownerName) {
    if (set.session) {
      set.conflicts += 1;
      return null;
    }
    set.session = { id: guid(), ownerName, token: null };
    set.seenAt = Date.now();
    this.renew(set);
    this.log.write('set_session', { set: set.name, session: set.session.id, owner: ownerName });
    return set.session;
  }

  renew(set) {
    set.session.token = `queue.${hex(16)}`;
    set.session.expiresAt = Date.now() + this.config.set_token_s * 1000;
    set.seenAt = Date.now();
  }

  closeSession(set, why) {
    if (!set.session) return;
    this.log.write('set_session_ended', { set: set.name, session: set.session.id, why });
    set.session = null;
    this.answerPoll(set);
  }

  /** `answer` is called once, with a message or null. */
  poll(set, capacity, waitMs, answer) {
    this.answerPoll(set);
    set.seenAt = Date.now();
    set.capacity = capacity;
    if (this.config.set_assignment !== 'acquire') this.assignSome(set);
    const message = this.nextMessage(set);
    if (message) {
      answer(message);
      return;
    }
    set.poll = { answer, timer: setTimeout(() => this.answerPoll(set), waitMs) };
  }

  answerPoll(set) {
    const { poll } = set;
    if (!poll) return;
    clearTimeout(poll.timer);
    set.poll = null;
    set.seenAt = Date.now();
    poll.answer(set.session ? this.nextMessage(set) : null);
  }

  /** The connection of a poll broke. */
  abandonPoll(set, answer) {
    if (set.poll?.answer !== answer) return;
    clearTimeout(set.poll.timer);
    set.poll = null;
    set.seenAt = Date.now();
  }

  tick(now) {
    for (const set of this.byId.values()) {
      if (set.session && !set.poll && now - set.seenAt >= this.config.set_session_s * 1000) this.closeSession(set, 'silent');
    }
  }
}

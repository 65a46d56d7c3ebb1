/*
 * Which job goes to which runner: any queued job to any matching online idle runner, the oldest job first and
 * the runner that has been idle longest first. Jobs and runners that look alike share a bucket, so that a
 * decision costs as much as there are kinds of them, not as there are jobs.
 */
import { groupAdmits } from './world.mjs';

class Buckets {
  constructor(describe) {
    this.describe = describe;
    this.byKey = new Map();
  }

  add(item, key, order, atFront = false) {
    let bucket = this.byKey.get(key);
    if (!bucket) {
      bucket = { ...this.describe(item), items: new Map() };
      this.byKey.set(key, bucket);
    }
    if (atFront) bucket.items = new Map([[item, order], ...bucket.items]);
    else bucket.items.set(item, order);
  }

  remove(item, key) {
    const bucket = this.byKey.get(key);
    if (!bucket || !bucket.items.delete(item)) return false;
    if (bucket.items.size === 0) this.byKey.delete(key);
    return true;
  }

  /** The item of least order among the buckets that `accepts` takes. */
  oldest(accepts) {
    let best = null;
    let bestOrder = Infinity;
    for (const bucket of this.byKey.values()) {
      const [item, order] = bucket.items.entries().next().value;
      if (order < bestOrder && accepts(bucket)) {
        best = item;
        bestOrder = order;
      }
    }
    return best;
  }
}

export const normalise = (labels) => [...new Set(labels.map((label) => label.toLowerCase()))].sort();

const jobKey = (job) => JSON.stringify([job.repository.id, job.groupName, job.wanted]);
const runnerKey = (runner) => JSON.stringify([runner.scope, runner.group.id, runner.offered]);

/** Whether the runners of one kind may take the jobs of another. Empty labels match only by a named group. */
export function matches(job, runner) {
  if (job.wanted.length === 0 && job.groupName === null) return false;
  const serves = runner.repository ? runner.repository === job.repository : runner.owner.isEnterprise || runner.owner === job.repository.owner;
  if (!serves) return false;
  if (job.groupName !== null && job.groupName !== runner.group.name.toLowerCase()) return false;
  if (!runner.repository && !groupAdmits(runner.group, job.repository)) return false;
  return job.wanted.every((label) => runner.offered.includes(label));
}

export class Matcher {
  constructor() {
    this.idleTurn = 0;
    this.jobs = new Buckets(({ repository, groupName, wanted }) => ({ repository, groupName, wanted }));
    this.runners = new Buckets(({ owner, repository, group, offered }) => ({ owner, repository, group, offered }));
  }

  /** A job queued again keeps its age, and so its place before all younger ones. */
  addJob(job, again = false) {
    this.jobs.add(job, jobKey(job), job.id, again);
  }

  removeJob(job) {
    return this.jobs.remove(job, jobKey(job));
  }

  addRunner(runner) {
    this.runners.add(runner, runnerKey(runner), this.idleTurn++);
  }

  removeRunner(runner) {
    return this.runners.remove(runner, runnerKey(runner));
  }

  runnerFor(job) {
    return this.runners.oldest((bucket) => matches(job, bucket));
  }

  jobFor(runner) {
    return this.jobs.oldest((bucket) => matches(bucket, runner));
  }
}

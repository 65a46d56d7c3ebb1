// What conditions that last have cost: from the stand-ins' logs and our programs' own. Times are the storm's, scaled.
import { lines } from "./verdict.mjs";

const round = (value, digits = 1) => Number(value.toFixed(digits));

// A VM needs so long besides its job, in a fleet that is not scaled: it starts in 11 s, ends in 3, and some seconds pass until its end is known.
// Where the stand-ins took longer until the job was done, which the programs have no part in, it is that.
const OVERHEAD_S = 20;
const END_S = 9;
// And so long everything may take to go on after the trouble.
const RECOVERY_S = 60;
const DELIVERY_LOG_S = 60; // reaper.deliveries.interval
// VMs that were launched after the backup have rows without a runner, and hold their slots until two lists show that their runners are gone.
const UNKNOWN_VMS_S = 480;
const NO_TRACE_S = 600; // until a job is found whose webhook left no trace in the delivery log

async function readGitHub(file) {
  const seen = { registered: new Map(), started: new Map(), created: new Map(), over: new Map(), online: new Set(), invalid: [] };
  for await (const e of lines(file)) {
    if (e.event === "runner_registered" && !e.runner.startsWith("foreign-")) seen.registered.set(e.runner, e.ts_ms);
    if (e.event === "runner_online") seen.online.add(e.runner);
    if (e.event === "job_created") seen.created.set(e.job, e);
    if (e.event === "job_started" && !seen.started.has(e.job)) seen.started.set(e.job, e.ts_ms);
    if (e.event === "job_finished") seen.over.set(e.job, e.ts_ms);
    if (e.event === "invalid_request") seen.invalid.push(`${e.operation}: ${e.problems}`);
  }
  return seen;
}

async function readProvider(file) {
  const seen = { runners: new Set(), launched: new Map(), done: [], invalid: [] };
  const requested = new Map();
  for await (const e of lines(file)) {
    if (e.event === "vm_requested") requested.set(e.microvm, e.ts_ms);
    if (e.event === "vm_job_done") seen.done.push({ job: e.job, ms: e.ts_ms - requested.get(e.microvm) });
    if (e.runner && !seen.runners.has(e.runner)) {
      seen.runners.add(e.runner);
      seen.launched.set(e.runner, requested.get(e.microvm));
    }
    if (e.event !== "request") continue;
    if (e.error === "ValidationException") seen.invalid.push(`${e.operation}: ${e.error}`);
    if (e.path.endsWith("/microvms/")) seen.invalid.push(`${e.operation} of an empty id`);
  }
  return seen;
}

async function readPrograms(programs) {
  const seen = { dead: new Map(), probes: 0, opened: 0, tried: new Map() };
  for (const program of programs) {
    for await (const line of program.lines()) {
      if (line.msg === "message_dead_lettered") seen.dead.set(line.message_id, line.reason);
      if (line.msg === "launch_failed") seen.tried.set(line.job_id, Math.max(seen.tried.get(line.job_id) ?? 0, line.attempts ?? 0));
      if (line.msg === "circuit_half_open") seen.probes += 1;
      if (line.msg === "circuit_opened") seen.opened += 1;
    }
  }
  return seen;
}

// Of the jobs that waited when the trouble ended: when the last one ran, and how long the quota and the cap made that take at least.
function recovery({ github, end, ...measures }) {
  const waiting = [...github.created.keys()].filter((job) => github.created.get(job).ts_ms <= end && !(github.started.get(job) <= end) && !(github.over.get(job) <= end));
  const never = waiting.filter((job) => !github.started.has(job) && !github.over.has(job));
  const last = Math.max(end, ...waiting.map((job) => github.started.get(job) ?? github.over.get(job) ?? end));
  return { waiting: waiting.length, never: never.length, last_job_s: round((last - end) / 1000), allowed_s: round(allowedFor(waiting, measures)) };
}

// How long so many jobs may take to start: what the quota and the cap ask for, so many times as the stores' stand-ins are slow, and some time besides.
// Groups of jobs, by a label, have fewer VMs than all together: [{labels, cap}].
function allowedFor(jobs, { cap, rate, factor, slowness, seconds, overheadS, groups = [], created }) {
  const workOf = (some) => some.reduce((sum, job) => sum + (seconds.get(job) ?? 1) + overheadS, 0);
  const needs = groups.map(({ labels, cap: least }) => workOf(jobs.filter((job) => labels.every((label) => created.get(job)?.labels?.includes(label)))) / least);
  return RECOVERY_S / factor + slowness * (jobs.length / rate + Math.max(workOf(jobs) / cap, ...needs));
}

function overheadOf({ done }, { factor, seconds }) {
  const took = done.filter(({ job }) => seconds.has(job)).map(({ job, ms }) => ms / 1000 - seconds.get(job)).sort((a, b) => a - b);
  return Math.max(OVERHEAD_S / factor, (took[Math.floor(took.length / 2)] ?? 0) + END_S / factor);
}

// `conditions`: those that happened, with from, to, failed, starting (launches in flight at its beginning). `measures`: cap, rate, factor,
// slowness, and seconds, each job's length.
export async function judgeTrouble({ githubLog, providerLog, programs, conditions, slotsHeld, ...given }) {
  const github = await readGitHub(githubLog);
  const provider = await readProvider(providerLog);
  const told = await readPrograms(programs);
  const measures = { ...given, overheadS: overheadOf(provider, given), created: github.created };
  const end = Math.max(...conditions.map((c) => c.to));
  const after = recovery({ github, end, ...measures });
  // What the ingress could not enqueue, GitHub does not deliver again: it waits for the reaper to read the delivery log.
  if (conditions.some((c) => c.kind === "outage-queue")) after.allowed_s = round(after.allowed_s + DELIVERY_LOG_S / measures.factor);
  if (conditions.some((c) => c.kind === "store-restored")) after.allowed_s = round(after.allowed_s + UNKNOWN_VMS_S / measures.factor);
  if (conditions.some((c) => c.untraced > 0)) after.allowed_s = round(after.allowed_s + NO_TRACE_S / measures.factor);
  const wasted = [...github.registered.keys()].filter((runner) => !provider.runners.has(runner) && !github.online.has(runner));
  for (const c of conditions) c.starting = Math.max(c.starting, inFlight(github, provider, c.from));
  const bound = conditions.reduce((sum, c) => sum + c.starting, 0) + told.probes;
  const invalid = [...github.invalid, ...provider.invalid];
  const healthy = conditions.filter((c) => c.tenants).map((c) => healthyWaiting(github, c, measures));
  const verdict = {
    factor: measures.factor,
    vm_overhead_s: round(measures.overheadS, 2),
    conditions: conditions.map((c) => ({ kind: c.kind, ...(c.how && { how: c.how }), seconds: round((c.to - c.from) / 1000), failed_calls: c.failed, warnings: c.warnings, launches_in_flight: c.starting,
      ...(c.tenants && { tenants: c.tenants.length }) })),
    dead_letters: told.dead.size,
    jobs_with_spent_attempts: [...told.tried.values()].filter((attempts) => attempts > 0).length,
    attempts_peak: Math.max(0, ...told.tried.values()),
    registrations: github.registered.size,
    registrations_wasted: wasted.length,
    registrations_wasted_bound: bound,
    circuits_opened: told.opened,
    probes: told.probes,
    waiting_at_end: after.waiting,
    never_run: after.never,
    last_job_s: after.last_job_s,
    last_job_allowed_s: after.allowed_s,
    slots_held: slotsHeld,
    invalid_requests: invalid.length,
    ...(healthy.length && { healthy: healthy.reduce((sum, n) => sum + n.jobs, 0), healthy_waiting: healthy.reduce((sum, n) => sum + n.waiting, 0) }),
  };
  const failed = ["dead_letters", "jobs_with_spent_attempts", "never_run", "slots_held", "invalid_requests", "healthy_waiting"].filter((key) => verdict[key] > 0);
  if (verdict.healthy === 0) failed.push("healthy");
  if (slotsHeld === null) failed.push("slots_unknown");
  if (wasted.length > bound) failed.push("registrations_wasted");
  if (after.last_job_s > after.allowed_s) failed.push("last_job_s");
  for (const c of conditions) if (!(c.failed > 0)) failed.push(`not_happened_${c.kind}`);
  const reasons = {};
  for (const reason of told.dead.values()) reasons[reason] = (reasons[reason] ?? 0) + 1;
  return { verdict, failed, details: { dead_reasons: Object.entries(reasons).slice(0, 5), invalid_calls: invalid.slice(0, 5) } };
}

// Launches at a moment, by their registrations: those since when a launch takes its time until the VM is requested, as observed before, and
// those that follow within twice that time, as they were begun. The ledger is asked too (lasting.mjs), which is a little earlier or later.
function inFlight(github, provider, at) {
  const took = [...provider.launched].filter(([runner, when]) => when < at && github.registered.has(runner)).map(([runner, when]) => when - github.registered.get(runner)).sort((a, b) => a - b);
  const usual = Math.max(100, took[Math.floor(took.length * 0.95)] ?? 0);
  return [...github.registered.values()].filter((when) => when >= at - usual && when <= at + 2 * usual).length;
}

// Jobs of repositories that were refused nothing: those that quota and cap let start while others were refused, one after the other as they
// came, and those of them that waited. Where more came than could start, any may have: an order among them is not promised.
function healthyWaiting(github, { from, to, tenants }, measures) {
  const recovery = (1000 * RECOVERY_S) / measures.factor;
  const over = (e, at) => github.started.get(e.job) <= at || github.over.get(e.job) <= at;
  const healthy = [...github.created.values()].filter((e) => !tenants.includes(e.repository) && e.ts_ms <= to - recovery && !over(e, from)).sort((a, b) => a.ts_ms - b.ts_ms);
  let free = from;
  const possible = healthy.filter(({ job, ts_ms: created }) => {
    free = Math.max(free, created) + 1000 * allowedFor([job], measures) - recovery;
    return free <= to - recovery;
  });
  const waiting = possible.length < healthy.length ? possible.length - healthy.filter((e) => over(e, to)).length : possible.filter((e) => !over(e, to)).length;
  return { jobs: possible.length, waiting: Math.max(0, waiting) };
}

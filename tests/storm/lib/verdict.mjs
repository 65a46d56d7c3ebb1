// What happened, from the logs of the two stand-ins and from nothing else.
import fs from "node:fs";
import { createInterface } from "node:readline";
import { overlapMs } from "./rebalance.mjs";

export async function* lines(file) {
  for await (const line of createInterface({ input: fs.createReadStream(file) })) if (line) yield JSON.parse(line);
}

// A program's log, which has lines of other kinds too.
export async function* entries(file) {
  for await (const line of createInterface({ input: fs.createReadStream(file) })) if (line.startsWith("{")) yield JSON.parse(line);
}

const round = (value, digits = 2) => (Number.isFinite(value) ? Number(value.toFixed(digits)) : null);
const at = (sorted, share) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : null);
const push = (map, key, value) => (map.has(key) ? map.get(key).push(value) : map.set(key, [value]));

// What makes a job wait for a runner, and what ends that.
const DEMAND = { job_created: 1, job_approved: 1, job_requeued: 1, job_started: -1, job_finished: -1, job_cancelled: -1 };

async function readGitHub(file) {
  const seen = { created: new Set(), first: Infinity, last: 0, finished: new Map(), started: new Map(), cancelled: new Set(), lostByRunner: new Set(),
    runners: new Map(), jobsOfRunner: new Map(), calls: 0, invalid: [], removedWhile: new Set(), moves: [] };
  for await (const e of lines(file)) {
    const foreign = String(e.runner ?? "").startsWith("foreign-");
    if (DEMAND[e.event]) seen.moves.push({ at: e.ts_ms, demand: DEMAND[e.event], job: e.job, gated: e.status === "waiting" });
    if (e.event === "job_created") { seen.created.add(e.job); seen.first = Math.min(seen.first, e.ts_ms); }
    if (e.event === "job_started") { push(seen.started, e.job, e.runner); push(seen.jobsOfRunner, e.runner, e.job); }
    if (e.event === "job_finished") { push(seen.finished, e.job, e); seen.last = e.ts_ms; }
    if (e.event === "job_cancelled") seen.cancelled.add(e.job);
    if (e.event === "job_lost") seen.lostByRunner.add(e.job);
    if (e.event === "runner_registered" && !foreign) seen.runners.set(e.runner_id, null);
    if (e.event === "runner_removed" && !foreign) {
      seen.runners.set(e.runner_id, e.reason);
      if (e.reason === "vanished") seen.removedWhile.add(e.runner);
    }
    if (e.event === "request" && e.auth !== "none") seen.calls += 1;
    const unknown = e.event === "request" && e.operation === "unknown"; // the stand-in lacks it, or GitHub does
    if (unknown || e.event === "invalid_request" || e.event === "internal_error") seen.invalid.push(e);
  }
  return seen;
}

async function readProvider(file) {
  const seen = { launches: [], ends: [], moves: [], vmMs: 0, vms: new Map(), peak: 0, runs: 0, throttled: 0, refused: 0, errors: [] };
  const vm = (e) => seen.vms.get(e.microvm);
  for await (const e of lines(file)) {
    if (e.event === "vm_requested") {
      seen.launches.push(e.ts_ms);
      seen.vms.set(e.microvm, { fault: e.fault, jobs: [], done: 0, ended: null, ending: false, runner: null });
      seen.peak = Math.max(seen.peak, e.alive);
      seen.moves.push({ at: e.ts_ms, alive: e.alive, idle: e.microvm, launch: true });
    }
    if (e.event === "vm_state" && (e.state === "TERMINATING" || e.state === "TERMINATED") && !vm(e).ending) {
      vm(e).ending = true;
      seen.ends.push(e.ts_ms);
      seen.moves.push({ at: e.ts_ms, alive: e.alive, busy: e.microvm });
    }
    if (e.event === "vm_job") {
      Object.assign(vm(e), { runner: e.runner }).jobs.push(e.job);
      seen.moves.push({ at: e.ts_ms, busy: e.microvm });
    }
    if (e.event === "vm_job_done") vm(e).done += 1;
    if (e.event === "vm_ended") {
      vm(e).ended = e.reason ?? "ended";
      seen.vmMs += e.lived_ms;
    }
    if (e.event === "request" && e.operation === "RunMicrovm") {
      seen.runs += 1;
      if (e.error === "ThrottlingException") seen.throttled += 1;
      if (e.error !== null && e.error !== undefined) seen.refused += 1;
    }
    if (e.event === "internal_error") seen.errors.push(e);
  }
  return seen;
}

// While a cap is full, the launch after the first `cap` ones that comes n-th waits for the n-th end.
function slotDelays(launches, ends, cap) {
  const delays = [];
  for (let i = 0; i + cap < launches.length && i < ends.length; i++) delays.push(Math.max(0, launches[i + cap] - ends[i]));
  return delays.sort((a, b) => a - b);
}

function peakPerSecond(times) {
  let peak = 0;
  for (let from = 0, to = 0; to < times.length; to++) {
    while (times[from] <= times[to] - 1000) from++;
    peak = Math.max(peak, to - from + 1);
  }
  return peak;
}

// The longest time in which nothing was launched although a job had neither a runner nor a machine on its way, and the cap
// had a slot: how long a job waited in vain, and when that began. The wait that the launch quota asks for is in it (one over the
// quota). A machine counts as on its way until it ends, although its runner may be lost.
function longestStall(github, provider, cap) {
  const waiting = new Set();
  const idle = new Set();
  let alive = 0;
  let since = null;
  let longest = { ms: 0, from: null };
  for (const move of [...github.moves, ...provider.moves].sort((a, b) => a.at - b.at)) {
    if (move.demand === 1 && !move.gated) waiting.add(move.job);
    if (move.demand === -1) waiting.delete(move.job);
    if (move.idle) idle.add(move.idle);
    if (move.busy) idle.delete(move.busy);
    if (move.alive !== undefined) alive = move.alive;
    const inVain = waiting.size > idle.size && alive < cap;
    if (since !== null && (!inVain || move.launch) && move.at - since > longest.ms) longest = { ms: move.at - since, from: since };
    if (!inVain) since = null;
    else if (since === null || move.launch) since = move.at;
  }
  return longest;
}

// How much of what the quota or the cap allows was used, whichever binds, from the first job to the last launch.
function drainShare(provider, first, cap, quota) {
  const took = provider.launches.at(-1) - first;
  return took > 0 ? Math.max((1000 * provider.launches.length) / quota, provider.vmMs / cap) / took : null;
}

// Machines that were ended in the middle of a job although nothing was wrong with them or the job.
function endedAtWork(provider, github) {
  const cut = (job) => github.lostByRunner.has(job) && !github.cancelled.has(job);
  return [...provider.vms].filter(([, v]) => v.fault === null && v.jobs.some(cut) && !v.ended?.includes("unexpectedly")
    && !github.removedWhile.has(v.runner)).map(([id, v]) => `${id}: job ${v.jobs.at(-1)}`);
}

// rebalances: with Kafka, gives the spans of lib/rebalance.mjs around a moment.
export async function judge({ githubLog, providerLog, cap, quota, burst, foreignCalls, calm, rebalances = null }) {
  const g = await readGitHub(githubLog);
  const p = await readProvider(providerLog);
  const over = (job) => g.finished.has(job);
  const delays = slotDelays(p.launches, p.ends, cap);
  const vms = [...p.vms.entries()];
  const lost = [...g.created].filter((job) => !over(job));
  const stall = longestStall(g, p, cap);
  const spans = rebalances?.(g.first);
  const rest = {
    lost_jobs: lost.slice(0, 5),
    ended_at_work: endedAtWork(p, g),
    reused: vms.filter(([, v]) => v.jobs.length > 1).map(([id]) => id),
    doubled: [...g.started].filter(([, runners]) => runners.length > 1).map(([job]) => job),
    invalid: [...g.invalid, ...p.errors].slice(0, 3),
  };
  const verdict = {
    jobs: g.created.size,
    run_once: [...g.started].filter(([job, runners]) => runners.length === 1 && over(job)).length,
    run_twice: rest.doubled.length,
    cancelled: g.cancelled.size,
    ended_by_lost_runner: g.lostByRunner.size,
    stolen: [...g.jobsOfRunner.keys()].filter((name) => name.startsWith("foreign-")).length,
    lost: lost.length,
    reused_vms: rest.reused.length + [...g.jobsOfRunner.values()].filter((jobs) => jobs.length > 1).length,
    ended_at_work: rest.ended_at_work.length,
    vms: vms.length,
    alive_peak: p.peak,
    over_cap: Math.max(0, p.peak - cap),
    launches_per_s_peak: peakPerSecond(p.launches),
    over_quota: Math.max(0, peakPerSecond(p.launches) - quota - burst),
    throttled_share: round(p.runs ? p.throttled / p.runs : 0, 4),
    vms_left: vms.filter(([, v]) => v.ended === null).length,
    runners_left: [...g.runners.values()].filter((reason) => reason === null).length,
    slot_ms_p50: at(delays, 0.5),
    slot_ms_p99: at(delays, 0.99),
    longest_wait_ms: stall.ms,
    longest_wait_at_s: stall.from === null ? null : round((stall.from - g.first) / 1000, 1),
    ...(spans && { longest_wait_rebalancing_ms: overlapMs(spans, stall.from, stall.from + stall.ms), rebalancing_s: round(overlapMs(spans, g.first, g.last) / 1000, 1) }),
    drain_share: round(drainShare(p, g.first, cap, quota), 3),
    drain_s: round((g.last - g.first) / 1000, 1),
    github_calls_per_job: round((g.calls - foreignCalls) / Math.max(1, g.created.size)),
  };
  const zero = ["run_twice", "lost", "reused_vms", "ended_at_work", "over_cap", "over_quota", "vms_left", "runners_left"];
  const failed = zero.filter((key) => verdict[key] !== 0);
  if (rest.invalid.length) failed.push("invalid_requests");
  if (calm && verdict.run_once !== verdict.jobs) failed.push("run_once");
  if (calm && verdict.throttled_share > (quota <= 5 ? 0.005 : 0.01)) failed.push("throttled_share");
  return { verdict, failed, details: rest };
}

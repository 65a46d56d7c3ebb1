// What happened in the bench, from the stand-ins' logs and counters alone.
import { lines } from "../../storm/lib/verdict.mjs";

const round = (value, digits = 2) => Number(value.toFixed(digits));
const at = (sorted, share) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : 0);
const RATED = ["RunMicrovm", "TerminateMicrovm", "GetMicrovm", "ListMicrovms"];

async function readGitHub(file) {
  const seen = { created: new Map(), started: new Map(), finished: new Set(), failed: 0, lostByRunner: 0, twice: 0, moves: [], calls: 0, refused: 0, webhooks: 0, webhooksFailed: 0, operations: {} };
  const organizationOf = new Map(); // of a runner
  for await (const e of lines(file)) {
    switch (e.event) {
      case "job_created":
        seen.created.set(e.job, { at: e.ts_ms, org: e.repository.split("/")[0] });
        seen.moves.push({ at: e.ts_ms, org: e.repository.split("/")[0], waiting: 1 });
        break;
      case "job_started":
        if (seen.started.has(e.job)) seen.twice += 1;
        else seen.started.set(e.job, e.ts_ms);
        seen.moves.push({ at: e.ts_ms, org: seen.created.get(e.job).org, waiting: -1, busy: e.runner });
        break;
      case "job_requeued": break;
      case "job_finished":
        seen.finished.add(e.job);
        if (e.conclusion !== "success") seen.failed += 1;
        break;
      case "job_lost": seen.lostByRunner += 1; break;
      case "runner_registered": {
        const org = String(e.scope).split("/").at(-1);
        organizationOf.set(e.runner, org);
        seen.moves.push({ at: e.ts_ms, org, launch: e.runner });
        break;
      }
      case "runner_removed": seen.moves.push({ at: e.ts_ms, org: organizationOf.get(e.runner), busy: e.runner }); break;
      case "webhook":
        seen.webhooks += 1;
        if (!(e.status >= 200 && e.status < 300)) seen.webhooksFailed += 1;
        break;
      case "request":
        if (e.auth === "none") break;
        seen.calls += 1;
        seen.operations[e.operation] = (seen.operations[e.operation] ?? 0) + 1;
        if (e.status === 403 || e.status === 429) seen.refused += 1;
        break;
      default:
    }
  }
  return seen;
}

async function readProvider(file) {
  const seen = { peak: 0, peaks: new Map(), vms: new Set(), jobs: new Map(), left: new Set(), calls: {}, throttled: {}, quotaRefused: 0, moves: [], perTarget: new Map() };
  for await (const e of lines(file)) {
    if (e.event === "vm_requested") {
      const [target, alive] = [e.target ?? "", e.target_alive ?? e.alive];
      seen.vms.add(e.microvm);
      seen.left.add(e.microvm);
      seen.peak = Math.max(seen.peak, e.alive);
      seen.peaks.set(target, Math.max(seen.peaks.get(target) ?? 0, alive));
      seen.perTarget.set(target, (seen.perTarget.get(target) ?? 0) + 1);
    }
    if (e.event === "vm_requested" || e.event === "vm_state") seen.moves.push({ at: e.ts_ms, target: e.target ?? "", alive: e.target_alive ?? e.alive });
    if (e.event === "vm_job") seen.jobs.set(e.microvm, (seen.jobs.get(e.microvm) ?? 0) + 1);
    if (e.event === "vm_ended") seen.left.delete(e.microvm);
    if (e.event !== "request") continue;
    seen.calls[e.operation] = (seen.calls[e.operation] ?? 0) + 1;
    if (e.error === "ThrottlingException") seen.throttled[e.operation] = (seen.throttled[e.operation] ?? 0) + 1;
    if (e.error === "ServiceQuotaExceededException") seen.quotaRefused += 1;
  }
  return seen;
}

// The longest time in which an organization had more jobs that waited than runners that waited or were on their way, a target had a free
// slot, and no runner was registered for it: what GitHub's and the provider's rates ask for is in it.
function launchableWait(github, provider, maxVms, targets) {
  const orgs = new Map();
  const alive = new Map();
  let longest = { ms: 0, from: null, org: null };
  for (const move of [...github.moves, ...provider.moves].sort((a, b) => a.at - b.at)) {
    if (move.target !== undefined) alive.set(move.target, move.alive);
    const touched = move.org === undefined ? [...orgs.values()] : [orgs.get(move.org) ?? orgs.set(move.org, { name: move.org, waiting: 0, idle: new Set(), since: null }).get(move.org)];
    if (move.org !== undefined) {
      const [org] = touched;
      org.waiting += move.waiting ?? 0;
      if (move.launch) org.idle.add(move.launch);
      if (move.busy) org.idle.delete(move.busy);
    }
    const room = alive.size < targets || [...alive.values()].some((count) => count < maxVms);
    for (const org of touched) {
      const inVain = org.waiting > org.idle.size && room;
      if (org.since !== null && (!inVain || move.launch) && move.at - org.since > longest.ms) longest = { ms: move.at - org.since, from: org.since, org: org.name };
      if (!inVain) org.since = null;
      else if (org.since === null || move.launch) org.since = move.at;
    }
  }
  return longest;
}

export async function judge({ githubLog, providerLog, states, maxVms, jobs }) {
  const g = await readGitHub(githubLog);
  const p = await readProvider(providerLog);
  const waits = [...g.created].filter(([job]) => g.started.has(job)).map(([job, { at: when }]) => (g.started.get(job) - when) / 1000).sort((a, b) => a - b);
  const longest = launchableWait(g, p, maxVms, states.length);
  const first = Math.min(...[...g.created.values()].map(({ at: when }) => when).slice(0, 1));
  const rated = (counts) => RATED.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
  const perJob = (counts) => Object.fromEntries(Object.entries(counts).sort(([, a], [, b]) => b - a).map(([name, n]) => [name, round(n / Math.max(1, jobs), 3)]));
  const shares = [...p.perTarget.values()].map((n) => n / Math.max(1, p.vms.size));
  const verdict = {
    jobs: g.created.size,
    lost: [...g.created.keys()].filter((job) => !g.finished.has(job)).length,
    not_successful: g.failed,
    run_twice: g.twice,
    ended_by_lost_runner: g.lostByRunner,
    vms: p.vms.size,
    reused_vms: [...p.jobs.values()].filter((n) => n > 1).length,
    vms_left: p.left.size,
    alive_peak: p.peak,
    target_alive_peak: Math.max(0, ...p.peaks.values()),
    over_cap: [...p.peaks.values()].reduce((sum, peak) => sum + Math.max(0, peak - maxVms), 0),
    memory_over_quota: states.filter((state) => state.memory_counted_peak_mib > state.memory_quota_mib).length,
    quota_refused: p.quotaRefused,
    throttled_share: round(rated(p.throttled) / Math.max(1, rated(p.calls)), 5),
    target_share: [round(Math.min(...shares), 4), round(Math.max(...shares), 4)],
    github_refused: g.refused,
    webhooks_failed: g.webhooksFailed,
    wait_s_p50: round(at(waits, 0.5)), wait_s_p99: round(at(waits, 0.99)), wait_s_max: round(waits.at(-1) ?? 0),
    launchable_wait_s_max: round(longest.ms / 1000),
    launchable_wait_at_s: longest.from === null ? null : round((longest.from - first) / 1000, 1),
    github_calls_per_job: round(g.calls / Math.max(1, jobs), 3),
    github_calls: perJob(g.operations),
    lambda_calls: perJob(p.calls),
  };
  const zero = ["lost", "not_successful", "run_twice", "ended_by_lost_runner", "reused_vms", "vms_left", "over_cap", "memory_over_quota"];
  const failed = zero.filter((key) => verdict[key] !== 0);
  if (verdict.jobs !== jobs) failed.push("jobs");
  if (!(verdict.throttled_share < 0.01)) failed.push("throttled_share");
  return { verdict, failed, details: { throttled: p.throttled, longest_org: longest.org, states } };
}

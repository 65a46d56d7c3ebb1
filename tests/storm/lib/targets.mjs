// Several accounts and regions in one class: who they are, for the stand-ins and for the configuration; and the condition that one of
// them is lost: its API refuses every call, its VMs and their jobs go on.
import { entries, lines } from "./verdict.mjs";

const REGIONS = ["us-east-1", "us-east-2", "us-west-2", "eu-west-1", "ap-northeast-1"];
const ACCOUNTS = ["123456789012", "210987654321"]; // the programs' own, and one whose role they assume
const REALM = "storm";

// The two accounts by turns, in one region after the other.
export function targetsOf(count) {
  return Array.from({ length: count }, (_, i) => {
    const [account, region] = [ACCOUNTS[i % 2], REGIONS[Math.floor(i / 2) % REGIONS.length]];
    return { name: `${i % 2 ? "two" : "one"}-${region}`, at: `${account}/${region}`, region, image: `arn:aws:lambda:${region}:${account}:microvm-image:mayfly`,
      ...(i % 2 && { role_arn: `arn:aws:iam::${account}:role/mayfly` }) };
  });
}

export class Targets {
  // cap and rate: of all together. A target has room for more than its share, so that the others can take over what one had.
  constructor({ count, cap, rate }) {
    this.all = targetsOf(count);
    this.maxVms = Math.min(cap, Math.ceil((1.5 * cap) / count));
    this.rate = rate / count;
  }

  // Of the stand-in for Lambda MicroVMs.
  providerArguments() {
    return [...this.all.flatMap(({ at }) => ["--target", at]), "--run-rate", String(this.rate), "--run-burst", String(Math.max(5, Math.ceil(this.rate)))];
  }

  // Of both, so that keys which STS gives are accepted.
  realm() { return ["--realm", REALM]; }

  configure(one) {
    one.targets = this.all.map(({ at, ...target }) => ({ ...target, max_vms: this.maxVms, launch_rate: { per_second: this.rate, burst: 5 } }));
    delete one.lambda.image;
  }
}

// --- one of them is lost ---
const AFTER_S = 150; // so long jobs come after its return: a circuit may stay open for a minute before it is probed
const ONE_SECOND_MS = 1000;
const CALL_MS = 10000; // lambda.timeout
const gone = (s) => s.targets.all[0];

export const targetGone = {
  after: (s) => ({ jobs: Math.ceil(s.jobs * 0.3), ms: (1000 * AFTER_S) / s.scale }),
  begin: async (s, c) => {
    c.target = gone(s).at;
    c.vms = (await s.provider("GET", "/_fake/targets")).find(({ target }) => target === c.target).alive;
    s.note(`target-gone: ${c.target} has ${c.vms} VMs`);
    await s.provider("POST", "/_fake/faults", [{ name: c.kind, operation: "*", target: c.target, ...WAYS[c.how] }]);
  },
  end: (s, c) => s.provider("DELETE", `/_fake/faults?name=${c.kind}`),
  failed: async (s, c) => (c.vms > 0 ? (await s.provider("GET", "/_fake/faults/used"))[c.kind] ?? 0 : 0),
  verdict: async (s) => {
    const c = s.lasting.conditions.find(({ kind }) => kind === "target-gone");
    const states = await s.targetStates;
    const told = await judgeTargets({ githubLog: s.githubLog, providerLog: s.providerLog, condition: c, targets: s.targets.all.map(({ at }) => at), cap: s.cap, maxVms: s.targets.maxVms, openedAt: await openedAt(s, c) });
    const throttled = states?.map(({ throttled: calls, answers }) => calls / Object.values(answers).reduce((sum, n) => sum + n, 0)) ?? [];
    const verdict = { targets: s.targets.all.length, target_max_vms: s.targets.maxVms, ...told, target_throttled_share: Number(Math.max(0, ...throttled).toFixed(4)) };
    const failed = [];
    if (told.target_over_cap > 0) failed.push("target_over_cap");
    if (!(told.launched_elsewhere > 0)) failed.push("launched_elsewhere");
    if (!(told.launched_there_again > 0)) failed.push("launched_there_again");
    // A launch that tries a target which does not respond waits for the call's end, and then goes to another one.
    if (!(told.gap_ms_max <= ONE_SECOND_MS * s.slowness + (c.how === "hang" ? CALL_MS / s.scale : 0))) failed.push("gap_ms_max");
    return { verdict, failed };
  },
};

// How an API is away; the first is the usual one.
export const AWAY = { dropped: { drop: "before" }, hang: { drop: "before", delay_ms: 3600000 }, unavailable: { preset: "unavailable" } };

// Or its launches alone are refused. Not by its rate: a throttled call is repeated within its launch, after waits that no setting scales.
const refusing = (preset) => ({ operation: "RunMicrovm", preset });
export const WAYS = { ...AWAY, quota: refusing("quota"), capacity: refusing("capacity") };

// When the first program opened the circuit of the target; the begin, if none did.
async function openedAt(s, c) {
  let first = Infinity;
  for (const program of s.daemons) {
    for await (const line of entries(program.log)) if (line.msg === "circuit_opened" && Date.parse(line.ts) >= c.from) first = Math.min(first, Date.parse(line.ts));
  }
  return first < c.to ? first : c.from;
}

const DEMAND = { job_created: 1, job_approved: 1, job_requeued: 1, job_started: -1, job_finished: -1, job_cancelled: -1 };
const share = (sorted, part) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] : 0);

// From the stand-ins' logs: while it was away, from the moment at which its circuit opened, how long nothing was launched although a job had
// neither a runner nor a VM on its way and another target had a free slot (`gap_ms_…`, each such time between two launches); and the longest from the moment at which it went away.
export async function judgeTargets({ githubLog, providerLog, condition: { target, from, to }, targets, cap, maxVms, openedAt: opened }) {
  const moves = [];
  const told = { launched_there_before: 0, launched_there_meanwhile: 0, launched_elsewhere: 0, launched_there_again: 0, target_alive_peak: 0 };
  for await (const e of lines(githubLog)) if (DEMAND[e.event]) moves.push({ at: e.ts_ms, demand: DEMAND[e.event], job: e.job });
  for await (const e of lines(providerLog)) {
    if (e.event === "vm_requested") {
      told.target_alive_peak = Math.max(told.target_alive_peak, e.target_alive);
      if (e.target !== target) told.launched_elsewhere += e.ts_ms >= opened && e.ts_ms <= to ? 1 : 0;
      else if (e.ts_ms < from) told.launched_there_before += 1;
      else if (e.ts_ms <= to) told.launched_there_meanwhile += 1;
      else told.launched_there_again += 1;
    }
    if (e.event === "vm_requested") moves.push({ at: e.ts_ms, idle: e.microvm, target: e.target, alive: e.target_alive, all: e.alive, launch: true });
    if (e.event === "vm_state") moves.push({ at: e.ts_ms, ...(/^TERMINAT/.test(e.state) && { busy: e.microvm }), target: e.target, alive: e.target_alive, all: e.alive });
    if (e.event === "vm_job") moves.push({ at: e.ts_ms, busy: e.microvm });
  }
  const gapsFrom = (since) => gapsOf(moves, { others: targets.filter((name) => name !== target), from: since, to, cap, maxVms }).sort((a, b) => a - b);
  const gaps = gapsFrom(opened);
  return { ...told, gap_ms_max_from_begin: gapsFrom(from).at(-1) ?? 0, target_over_cap: Math.max(0, told.target_alive_peak - maxVms), circuit_open_after_ms: opened - from,
    gaps: gaps.length, gap_ms_p50: share(gaps, 0.5), gap_ms_p99: share(gaps, 0.99), gap_ms_max: gaps.at(-1) ?? 0 };
}

function gapsOf(moves, { others, from, to, cap, maxVms }) {
  const waiting = new Set();
  const idle = new Set();
  const alive = new Map(others.map((name) => [name, 0]));
  const gaps = [];
  let all = 0;
  let since = null;
  for (const move of moves.sort((a, b) => a.at - b.at)) {
    if (move.demand === 1) waiting.add(move.job);
    if (move.demand === -1) waiting.delete(move.job);
    if (move.idle) idle.add(move.idle);
    if (move.busy) idle.delete(move.busy);
    if (move.target) {
      alive.set(move.target, move.alive);
      all = move.all;
    }
    const room = others.some((name) => alive.get(name) < maxVms);
    const inVain = waiting.size > idle.size && all < cap && room;
    const counted = since !== null && (!inVain || move.launch);
    if (counted && move.at > from && since < to) gaps.push(Math.min(move.at, to) - Math.max(since, from));
    if (!inVain) since = null;
    else if (since === null || move.launch) since = move.at;
  }
  return gaps;
}

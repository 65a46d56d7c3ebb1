// The fleet as its defaults have it, against the quotas as AWS and GitHub publish them, times unscaled: as many calls as the quotas
// allow, and none that is refused. All jobs are queued at once, of organizations in turn, and end at once, so that first launches and
// then terminations have a backlog.
import { classSettings, githubArguments, lambdaTimeout, providerArguments, settings } from "./scale.mjs";
import { lines } from "./verdict.mjs";

const RATE = { RunMicrovm: 5, TerminateMicrovm: 10 };
const START_S = 11; // of a VM
const GRACE_MS = 10000; // worker.terminate_grace_period
const SPARE_S = 6; // between the last launch and the end of all jobs
// What GitHub takes for a registration: each as often as the others.
const GITHUB_MS = [150, 250, 400, 600, 900];

export class Published {
  constructor(storm) {
    Object.assign(this, { storm, organizations: storm.organizations });
    this.seconds = storm.jobs / RATE.RunMicrovm + SPARE_S; // from the first launch to the end of the jobs
    this.quietWithinS = 60 + storm.jobs / RATE.TerminateMicrovm;
  }

  configure(config) {
    const { github: { jit_rate: unlimited, ...github }, ...rest } = settings(1);
    for (const [group, values] of Object.entries({ github, ...rest })) Object.assign(config[group], values);
    delete config.github.jit_rate; // GitHub's limits, as the default has them
    Object.assign(config.classes[0], classSettings(1));
    config.classes[0].lambda.timeout = lambdaTimeout(1);
  }

  githubArguments() {
    return [...githubArguments(1, this.seconds), "--secondary-points", "900", "--secondary-concurrent", "100", "--registrations-per-5min", "1500"];
  }
  providerArguments() { return [...providerArguments(1, RATE.RunMicrovm), "--retry-after-s", "1"]; }

  async queueJobs() {
    const { storm } = this;
    await storm.github("POST", "/_fake/faults", GITHUB_MS.map((ms, i) => ({ name: "slow", operation: "generate-jitconfig", delay_ms: ms, probability: 1 / (GITHUB_MS.length - i) })));
    for (let i = 0; i < storm.jobs; i++) {
      const org = this.organizations[i % this.organizations.length];
      const seconds = Math.max(1, this.seconds - i / RATE.RunMicrovm);
      await storm.github("POST", "/_fake/jobs", { repo: `${org}/${storm.random.pick(["app", "site", "tools"])}`, labels: ["self-hosted", "microvm"], command: `sleep ${seconds.toFixed(2)}` });
    }
  }

  async verdict() {
    const calls = { RunMicrovm: [], TerminateMicrovm: [] };
    const moves = { RunMicrovm: [], TerminateMicrovm: [] };
    let refusedRegistrations = 0;
    for await (const e of lines(this.storm.providerLog)) if (e.event === "request" && calls[e.operation]) calls[e.operation].push(e);
    for await (const e of lines(this.storm.githubLog)) {
      if (e.event === "job_created") moves.RunMicrovm.push({ at: e.ts_ms, waiting: 1 });
      if (e.event === "job_finished") moves.TerminateMicrovm.push({ at: e.ts_ms + GRACE_MS, waiting: 1 });
      if (e.event === "request" && e.operation === "generate-jitconfig" && (e.status === 403 || e.status === 429)) refusedRegistrations += 1;
    }
    const verdict = { organizations: this.organizations.length, registrations_refused: refusedRegistrations };
    const failed = refusedRegistrations > 0 ? ["registrations_refused"] : [];
    for (const [operation, name] of [["RunMicrovm", "run"], ["TerminateMicrovm", "terminate"]]) {
      const accepted = calls[operation].filter((e) => !e.error);
      const throttled = calls[operation].filter((e) => e.error === "ThrottlingException").length;
      const done = new Set(); // a second termination of a VM is none
      for (const e of accepted) if (operation === "RunMicrovm" || !done.has(e.path)) { done.add(e.path); moves[operation].push({ at: e.ts_ms, waiting: -1 }); }
      const drain = longestBacklog(moves[operation], RATE[operation]);
      Object.assign(verdict, { [`${name}_calls`]: calls[operation].length, [`${name}_throttled_share`]: round(throttled / calls[operation].length), [`${name}_drain`]: drain.share, [`${name}_drain_s`]: drain.seconds });
      if (throttled / calls[operation].length > 0.005) failed.push(`${name}_throttled_share`);
      if (!(drain.share >= 0.97)) failed.push(`${name}_drain`);
    }
    return { verdict, failed };
  }
}

const round = (value) => Number(value.toFixed(4));

// The part of the quota that was used during the longest time in which something always waited for a call.
export function longestBacklog(moves, rate) {
  let waiting = 0;
  let from = null;
  let calls = 0;
  let longest = { seconds: 0, share: null };
  for (const move of [...moves].sort((a, b) => a.at - b.at || b.waiting - a.waiting)) {
    if (waiting <= 0 && move.waiting > 0) [from, calls] = [move.at, 0];
    waiting += move.waiting;
    if (move.waiting < 0) calls += 1;
    const seconds = (move.at - from) / 1000;
    if (from !== null && waiting <= 0 && seconds > longest.seconds) longest = { seconds: round(seconds), share: round(calls / rate / seconds) };
  }
  return longest;
}

// What idle VMs gain and cost: jobs that come as people push, default settings, times unscaled, published quotas. A pool is filled before
// the first job, and emptied by a reload after the last one.
import { until } from "../../lib/wait.mjs";
import { Published } from "./published.mjs";
import { lines } from "./verdict.mjs";

const GAP_S = 6; // between two pushes, on average
const GROUP = 3; // jobs of one push in three
const JIT_IDLE_S = 120; // the earliest that GitHub has been seen to drop an idle runner

export class Idle extends Published {
  constructor(storm, count) {
    super(storm);
    Object.assign(this, { count, seconds: 60, quietWithinS: 240 });
  }

  configure(config) {
    super.configure(config);
    if (this.count > 0) config.classes[0].min_idle = { count: this.count, scopes: [this.organizations[0]] };
  }

  githubArguments() { return [...super.githubArguments(), "--jit-idle-s", String(JIT_IDLE_S)]; }

  idle() { return this.storm.github("GET", "/_fake/state").then((state) => state.runners_idle); }

  async queueJobs() {
    const { storm } = this;
    const random = storm.random.fork();
    if (this.count > 0) await until("the pool is full", async () => await this.idle() >= this.count, { seconds: 120, every_ms: 200 });
    this.beganMs = Date.now();
    for (let left = storm.jobs; left > 0;) {
      const count = Math.min(left, random.next() < 1 / 3 ? GROUP : 1);
      left -= count;
      await storm.github("POST", "/_fake/jobs", { repo: `${this.organizations[0]}/${random.pick(["app", "site", "tools"])}`, labels: ["self-hosted", "microvm"],
        command: `sleep ${random.between(5, 40).toFixed(2)}`, count });
      await new Promise((resolve) => { setTimeout(resolve, -1000 * GAP_S * Math.log(1 - random.next())); });
    }
  }

  async drain() {
    this.endedMs = Date.now();
    if (this.count === 0) return;
    delete this.storm.config.classes[0].min_idle;
    this.storm.saveConfig();
    for (const program of this.storm.daemons) program.child.kill("SIGHUP");
  }

  async verdict() {
    const created = new Map();
    const waits = [];
    let vmMs = 0;
    let jobMs = 0;
    let dropped = 0;
    let calls = 0;
    const started = new Map();
    for await (const e of lines(this.storm.githubLog)) {
      if (e.event === "job_created") created.set(e.job, e.ts_ms);
      if (e.event === "job_started") { waits.push(e.ts_ms - created.get(e.job)); started.set(e.job, e.ts_ms); }
      if (e.event === "job_finished") jobMs += e.ts_ms - started.get(e.job);
      if (e.event === "runner_removed" && e.reason === "never-used") dropped += 1;
      if (e.event === "request" && e.auth !== "none") calls += 1;
    }
    for await (const e of lines(this.storm.providerLog)) if (e.event === "vm_ended") vmMs += e.lived_ms;
    waits.sort((a, b) => a - b);
    const at = (share) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))];
    return {
      verdict: { min_idle: this.count, queued_to_running_ms_p50: at(0.5), queued_to_running_ms_p95: at(0.95), vm_s: Math.round(vmMs / 1000), job_s: Math.round(jobMs / 1000),
        span_s: Math.round((this.endedMs - this.beganMs) / 1000), github_calls: calls, dropped_idle: dropped },
      failed: this.count > 0 && dropped > 0 ? ["dropped_idle"] : [],
    };
  }
}

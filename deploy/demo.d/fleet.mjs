// What happens in the demo's fleet, read from two logs: the stand-in for GitHub's (jobs, runners) and the workers' (launches). Each event is a
// line, and the jobs and VMs as they are now are a table.
const ENDED = new Set(["done", "failed", "cancelled"]);

// VMs have long names; their last part is unique too.
export const short = (vm) => vm.replace(/^.*-/, "");

export class Fleet {
  constructor(deployment, screen) {
    Object.assign(this, { deployment, screen });
    this.jobs = new Map(); // by id: {n, id, state, vm, queued, started, ended}
    this.vms = new Map(); // by name: {name, state, since, launchedFor, ran}
    this.read = { github: 0, workers: new Map() };
  }

  number(id) { return this.jobs.get(id)?.n ?? id; }
  numbers(ids, one, many = one) { return `job${ids.length > 1 ? "s" : ""} ${ids.map((id) => this.number(id)).join(" and ")} ${ids.length > 1 ? many : one}`; }
  all(state) { return [...this.jobs.values()].filter((j) => j.state === state); }
  get ended() { return [...this.jobs.values()].filter((j) => ENDED.has(j.state)).length; }

  vmIs(name, state, more = {}) { this.vms.set(name, { name, ...this.vms.get(name), ...more, state, since: Date.now() }); }

  // Takes what the logs have since the last time.
  follow(below = []) {
    const log = this.deployment.log();
    const events = log.slice(this.read.github).map((e) => [e.ts_ms, () => this.github(e)]);
    this.read.github = log.length;
    for (const program of this.deployment.programs.filter((p) => p.name === "mayfly-worker")) {
      const from = this.read.workers.get(program) ?? 0;
      for (const e of program.events.slice(from)) if (e.msg === "vm_launched") events.push([Date.parse(e.ts), () => this.launched(e)]);
      this.read.workers.set(program, program.events.length);
    }
    for (const [, take] of events.sort(([a], [b]) => a - b)) take();
    this.paint(below);
  }

  github(e) {
    const job = this.jobs.get(e.job);
    const say = (text, style) => this.screen.say(text, style);
    if (e.event === "job_created") {
      const n = this.jobs.size + 1;
      this.jobs.set(e.job, { n, id: e.job, state: "queued", queued: e.ts_ms });
      say(`job ${n} is queued (its id is ${e.job})`);
    } else if (e.event === "runner_registered") {
      this.vmIs(e.runner, "booting");
      say(`  VM ${short(e.runner)} has a slot and a runner for one job at GitHub; it boots`);
    } else if (e.event === "runner_online") this.vmIs(e.runner, "waiting for a job");
    else if (e.event === "runner_removed") this.vmIs(e.runner, "ended");
    else if (job === undefined) return;
    else if (e.event === "job_started") this.started(job, e);
    else if (e.event === "job_cancelled") {
      say(`job ${job.n} is cancelled at GitHub while it is ${e.was}`);
    } else if (e.event === "job_finished") {
      job.state = { success: "done", cancelled: "cancelled" }[e.conclusion] ?? "failed";
      job.ended = e.ts_ms;
      if (job.state !== "cancelled") say(`  job ${job.n} has ended: ${e.conclusion}`, job.state === "done" ? "green" : "red");
    }
  }

  launched(e) {
    this.vms.set(e.vm, { state: "booting", since: Date.now(), ...this.vms.get(e.vm), name: e.vm, launchedFor: e.job_id });
    this.screen.say(`  VM ${short(e.vm)} is launched: in ${(e.launch_ms / 1000).toFixed(1)} s it has booted and taken what its runner needs`);
    this.explain(this.vms.get(e.vm));
  }

  started(job, e) {
    Object.assign(job, { state: "running", vm: e.runner, started: e.ts_ms });
    this.vmIs(e.runner, `running job ${job.n}`, { ran: job.id });
    this.screen.say(`  job ${job.n} runs on VM ${short(e.runner)}`);
    this.explain(this.vms.get(e.runner));
  }

  // A VM that runs another job than it was launched for. Which of the two is known first depends on who writes first.
  explain(vm) {
    if (vm.explained || vm.ran === undefined || vm.launchedFor === undefined || vm.ran === vm.launchedFor) return;
    vm.explained = true;
    const say = (text) => this.screen.say(`    ${text}`, "yellow");
    say(`(that VM was launched for job ${this.number(vm.launchedFor)})`);
    if (this.swapExplained) return;
    this.swapExplained = true;
    say("GitHub gives a job to any VM that matches, so a job may take the VM that was meant for another.");
    say("Mayfly binds no VM to a job: it counts waiting jobs against free VMs, and launches what is missing.");
  }

  paint(below) {
    const now = Date.now();
    const seconds = (from, to = now) => `${(Math.max(0, to - from) / 1000).toFixed(1)} s`;
    const vms = [...this.vms.values()].filter((vm) => vm.state !== "ended");
    if (!this.screen.live) {
      const waits = `${this.all("queued").length} jobs wait, ${this.all("running").length} run`;
      if (this.ended < this.jobs.size) this.screen.progress([waits, ...vms.map((vm) => `VM ${short(vm.name)} is ${vm.state}, for ${seconds(vm.since)}`)].join("; "));
      return;
    }
    const room = Math.max(4, this.screen.rows - vms.length - 7);
    const jobs = [...this.jobs.values()];
    const shown = jobs.length <= room ? jobs : [...jobs.filter((j) => !ENDED.has(j.state)), ...jobs.filter((j) => ENDED.has(j.state)).reverse()].slice(0, room).sort((a, b) => a.n - b.n);
    const row = (...cells) => `  ${cells.map((c, i) => String(c).padEnd([5, 11, 14, 9, 9][i])).join(" ")}`.trimEnd();
    const lines = ["", ["bold", row("job", "state", "on VM", "waited", "ran")]];
    for (const j of shown) {
      const ran = j.started === undefined ? "" : seconds(j.started, j.ended);
      lines.push([STYLE[j.state] ?? "", row(j.n, j.state, j.vm ? short(j.vm) : "-", seconds(j.queued, j.started ?? j.ended), ran)]);
    }
    if (shown.length < jobs.length) lines.push(["dim", `  and ${jobs.length - shown.length} more: ${jobs.length - this.ended} of ${jobs.length} have not ended`]);
    lines.push(["bold", `  VM             state${vms.length ? "" : "          (none now)"}`]);
    for (const vm of vms) lines.push(`  ${short(vm.name).padEnd(14)} ${vm.state}, for ${seconds(vm.since)}`);
    this.screen.paint([...lines, ...below]);
  }
}

const STYLE = { queued: "dim", running: "cyan", done: "green", failed: "red", cancelled: "yellow" };

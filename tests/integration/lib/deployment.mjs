// A whole Mayfly on this machine: the stand-in for GitHub, the three programs, their stores, in a folder of its own.
// The demo and the system tests drive it; it asserts nothing. Everything it starts it knows by pid, and stop() ends.
import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { spawn } from "../../lib/child.mjs";
import { until } from "../../lib/wait.mjs";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"];
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");

const milliseconds = (duration) => parseFloat(duration) * { ms: 1, s: 1000, m: 60000, h: 3600000 }[duration.match(/[a-z]+$/)[0]];
const isStandIn = ({ qemu }) => qemu?.binary?.endsWith("/fake-qemu") || qemu?.image?.endsWith("/fakes/qemu/image");

// One process whose lines are kept; JSON lines are parsed.
export class Program {
  constructor(name, command, args, { env = {}, cwd, logFile } = {}) {
    this.name = name;
    this.events = [];
    this.output = []; // the lines of standard output
    this.listeners = new Set();
    this.process = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    this.pid = this.process.pid;
    this.sink = logFile ? fs.createWriteStream(logFile, { flags: "a" }) : null;
    this.exited = new Promise((resolve) => {
      this.process.on("error", (error) => resolve({ code: -1, error }));
      this.process.on("close", (code, signal) => resolve({ code, signal }));
    });
    this.exited.then((result) => { this.result = result; for (const l of this.listeners) l(); });
    createInterface({ input: this.process.stdout }).on("line", (line) => this.output.push(line));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.take(line));
    }
  }

  take(line) {
    this.sink?.write(line + "\n");
    let event = { msg: "text", text: line };
    try { event = JSON.parse(line); } catch { /* not a JSON line */ }
    this.events.push(event);
    for (const listener of this.listeners) listener();
  }

  // The first event that matches, past or to come. Fails when the process ends or time is over.
  waitFor(match, { seconds = 30 } = {}) {
    const test = typeof match === "string" ? (e) => e.msg === match : match;
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => { clearTimeout(timer); this.listeners.delete(look); settle(value); };
      const look = () => {
        const found = this.events.find(test);
        if (found) finish(resolve, found);
        else if (this.result) finish(reject, new Error(`${this.name} ended (${JSON.stringify(this.result)}): ${this.tail()}`));
      };
      const timer = setTimeout(() => finish(reject, new Error(`${this.name} did not tell it in ${seconds} s: ${this.tail()}`)), seconds * 1000);
      this.listeners.add(look);
      look();
    });
  }

  tail(n = 15) { return this.events.slice(-n).map((e) => JSON.stringify(e)).join("\n"); }

  async stop(signal = "SIGTERM") {
    if (!this.result) this.process.kill(signal);
    return this.exited;
  }
}

export class Deployment {
  // options: bin (folder of the build), image, classes, config (merged over), fakeArgs, env, dir
  constructor(options = {}) {
    this.options = options;
    this.bin = options.bin ?? process.env.MAYFLY_BUILD ?? path.join(root, "build/dev");
    this.dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-"));
    this.stateDir = path.join(this.dir, "vms");
    this.secret = "It's a secret of this test only";
    this.token = "ghp_" + "a".repeat(36);
    this.programs = [];
    this.next = false; // whether programs are started as the next release (tests/integration/upgrade)
    this.configFile = path.join(this.dir, "mayfly.yaml");
    this.fakeLog = path.join(this.dir, "github.jsonl");
    fs.mkdirSync(this.stateDir, { recursive: true });
    // For an end without stop(), as by a signal; machines are no children of this process.
    this.abandon = () => { for (const program of this.programs) program.process.kill("SIGKILL"); this.github?.process.kill("SIGKILL"); this.killMachines(); };
    this.interrupt = (signal) => { this.abandon(); this.remove(); process.exit(128 + os.constants.signals[signal]); };
    process.once("exit", this.abandon);
    for (const signal of SIGNALS) process.once(signal, this.interrupt);
  }

  async startGitHub() {
    const args = [path.join(root, "tests/fakes/github/main.mjs"), "--port", "0", "--log", this.fakeLog,
      "--token", this.token, "--org", "acme", "--webhook-secret", this.secret,
      "--runner-url", this.options.runnerUrl ?? "http://127.0.0.1:{PORT}", ...(this.options.fakeArgs ?? [])];
    this.github = new Program("github", process.execPath, args, { logFile: path.join(this.dir, "github.log") });
    this.url = (await this.github.waitFor((e) => e.url)).url;
  }

  writeConfig(changes = {}) {
    const base = {
      deployment: "test",
      queue: `sqlite://${this.dir}/queue.db`,
      ledger: `sqlite://${this.dir}/ledger.db`,
      state_dir: this.stateDir,
      github: { api_url: this.url, token: this.token, webhook_secrets: [this.secret], rate: { per_second: 200, burst: 1000 }, jit_rate: { per_second: 0 } },
      ingress: { listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", threads: 1 },
      worker: { admin_listen: "127.0.0.1:0", drain_timeout: "20s" },
      reaper: { admin_listen: "127.0.0.1:0", interval: "500ms", confirm_after: "250ms", relaunch_after: "10s", stale_runner_scan_interval: "1s", vm_list_interval: "500ms" },
      limits: { max_vms: 50, launch_rate: { per_second: 100, burst: 100 } },
      retry: { max_attempts: 8, base_delay: "50ms", max_delay: "1s" },
      classes: this.options.classes ?? [this.fakeQemuClass()],
    };
    this.config = merge(merge(base, this.options.config ?? {}), changes);
    const patience_ms = milliseconds(this.config.reaper?.startup_timeout ?? "1m"); // a VM that boots for longer is given up
    this.config.classes = this.config.classes.map((c) => isStandIn(c) ? merge({ qemu: { boot_timeout: `${Math.min(30000, patience_ms - 500)}ms` } }, c) : c);
    this.config.classes = this.config.classes.map((c) => c.qemu?.allow ? { ...c, qemu: { ...c.qemu, allow: this.allowed(c.qemu.allow) } } : c);
    fs.writeFileSync(this.configFile, JSON.stringify(this.config, null, 2), { mode: 0o600 });
  }

  // What machines reach of this host, with the port of the stand-in for GitHub, if it runs.
  allowed(list) {
    const port = this.url && new URL(this.url).port;
    return list.filter((a) => port || !a.includes("{PORT}")).map((a) => a.replace("{PORT}", port));
  }

  // A class whose machines are small stand-ins for QEMU: hundreds fit on one box.
  fakeQemuClass(changes = {}) {
    return merge({
      name: "small", labels: ["self-hosted", "linux", "x64", "microvm"], required_labels: ["self-hosted", "microvm"],
      provider: "qemu", max_vms: 10, max_duration: "5m", idle_timeout: "12s",
      qemu: { image: path.join(this.bin, "tests/fakes/qemu/image"), binary: path.join(this.bin, "tests/fakes/qemu/fake-qemu"),
        accel: "tcg", cpus: 1, memory: "64MiB", memory_overcommit: 1000, restore: false,
        allow: ["127.0.0.1:{PORT}"], confine: false }, // the runner inside the stand-in calls the stand-in for GitHub itself
    }, changes);
  }

  program(name) {
    if (this.next) return path.join(this.bin, "tests/integration/upgrade", `next-${name}`);
    const folder = { "mayfly-ingress": "ingress", "mayfly-worker": "worker", "mayfly-reaper": "reaper", mayflyctl: "deploy/ctl" }[name];
    return path.join(this.bin, folder, name);
  }

  start(name, env = {}) {
    const program = new Program(name, this.program(name), ["--config", this.configFile],
      { env: { ...(this.options.env ?? {}), ...env }, logFile: path.join(this.dir, `${name}.log`) });
    this.programs.push(program);
    return program;
  }

  async startIngress(env) {
    this.ingress = this.start("mayfly-ingress", env);
    const { port } = await this.ingress.waitFor("started");
    this.ingressPort = port;
    await this.fake("POST", "/_fake/webhook-url", { url: `http://127.0.0.1:${port}/webhook`, secret: this.secret });
    return this.ingress;
  }

  async startWorker(env) {
    this.worker = this.start("mayfly-worker", env);
    await this.worker.waitFor("started");
    return this.worker;
  }

  async startReaper(env) {
    this.reaper = this.start("mayfly-reaper", env);
    await this.reaper.waitFor("started");
    return this.reaper;
  }

  async startAll() {
    await this.startGitHub();
    this.writeConfig();
    await this.startIngress();
    await this.startWorker();
    await this.startReaper();
  }

  async fake(method, route, body) {
    const response = await fetch(this.url + route, {
      method, headers: { "content-type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    let json; try { json = JSON.parse(text); } catch { json = text; }
    if (!response.ok && response.status !== 408) throw new Error(`${method} ${route}: ${response.status} ${text}`);
    return { status: response.status, json };
  }

  async queueJobs(changes = {}) {
    const job = { repo: "acme/app", labels: ["self-hosted", "microvm"], command: "echo hello", count: 1, ...changes };
    return (await this.fake("POST", "/_fake/jobs", job)).json;
  }

  async jobs() { return (await this.fake("GET", "/_fake/jobs")).json; }
  async job(id) { return (await this.fake("GET", `/_fake/jobs/${id}`)).json; }
  async runners() { return (await this.fake("GET", "/_fake/runners")).json; }

  async untilJobsEnd(count, options = { seconds: 90 }) {
    return until(`${count} jobs have ended`, async () => {
      const jobs = await this.jobs();
      return jobs.filter((j) => j.state === "completed").length >= count && jobs;
    }, options);
  }

  // No VM holds a slot, no registration is left, no process lives in the VMs' folder.
  async untilQuiet(options = { seconds: 60 }) {
    const left = async () => ({ runners: await this.runners(), processes: this.processes(), vms: this.vms() });
    const quiet = async () => (await this.runners()).length === 0 && this.processes().length === 0 && this.vms().length === 0;
    return until("nothing is left", quiet, options).catch(async (error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await left(), null, 1)}\n${this.tails()}`);
    });
  }

  tails() {
    return this.programs.map((p) => `--- ${p.name} ${JSON.stringify(p.result ?? "runs")}\n${p.tail(10)}`).join("\n");
  }

  ctl(...args) { return JSON.parse(this.ctlText("--json", ...args)); }

  ctlText(...args) {
    const env = { ...process.env, ...(this.options.env ?? {}) };
    try {
      return execFileSync(this.program("mayflyctl"), ["--config", this.configFile, ...args], { encoding: "utf8", env });
    } catch (error) {
      if (args.includes("why") && error.status >= 3 && error.stdout) return error.stdout; // what it says of a job that waits
      throw error;
    }
  }

  vms() { return this.ctl("vms"); }

  // Pids that work below the VMs' folder.
  processes() {
    const found = [];
    for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        if (fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(this.stateDir + "/")) found.push(Number(pid));
      } catch { /* gone, or not ours to look at */ }
    }
    return found;
  }

  // SIGKILL to the first `most` processes of machines; one may be gone by itself since it was seen.
  killMachines(most = Infinity) {
    for (const pid of this.processes().slice(0, most)) { try { process.kill(pid, "SIGKILL"); } catch (e) { if (e.code !== "ESRCH") throw e; } }
  }

  // The last line may be half written.
  log() {
    return fs.readFileSync(this.fakeLog, "utf8").split("\n").slice(0, -1).filter(Boolean).map((line) => JSON.parse(line));
  }

  async stop() {
    for (const program of this.programs) await program.stop("SIGKILL");
    this.killMachines();
    if (this.github) await this.github.stop();
    process.off("exit", this.abandon);
    for (const signal of SIGNALS) process.off(signal, this.interrupt);
    this.remove();
  }

  // Its folder, when all that write into it are gone. Without events, since the process may be at its end.
  remove() {
    if (this.options.keep) return;
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 0; i < 250 && this.processes().length > 0; i++) { this.killMachines(); Atomics.wait(pause, 0, 0, 20); }
    fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  }
}

// Objects member by member; everything else is replaced.
export function merge(base, changes) {
  const out = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    const deep = value && typeof value === "object" && !Array.isArray(value) && base[key] && typeof base[key] === "object";
    out[key] = deep ? merge(base[key], value) : value;
  }
  return out;
}

// What the stand-in's own log says happened: the truth that verdicts are made of.
export function judge(log) {
  const finished = new Map();
  const jobsOfRunner = new Map();
  const registered = new Set();
  const removed = new Set();
  let online = 0;
  let maxOnline = 0;
  const isOnline = new Set();
  let calls = 0;
  for (const e of log) {
    if (e.event === "job_finished") finished.set(e.job, [...(finished.get(e.job) ?? []), e]);
    if (e.event === "job_started") jobsOfRunner.set(e.runner, [...(jobsOfRunner.get(e.runner) ?? []), e.job]);
    if (e.event === "runner_registered") registered.add(e.runner);
    if (e.event === "runner_removed") removed.add(e.runner);
    if (e.event === "runner_online" && !isOnline.has(e.runner)) { isOnline.add(e.runner); online++; }
    if ((e.event === "runner_removed" || e.event === "runner_offline") && isOnline.delete(e.runner)) online--;
    maxOnline = Math.max(maxOnline, online);
    if (e.event === "request" && e.auth !== "none") calls++;
  }
  return {
    created: log.filter((e) => e.event === "job_created").map((e) => e.job),
    finished, jobsOfRunner, registered, removed, maxOnline, calls,
    cancelled: log.filter((e) => e.event === "job_cancelled").map((e) => e.job),
    ranTwice: [...finished.entries()].filter(([, ends]) => ends.length > 1).map(([job]) => job),
    sharedRunners: [...jobsOfRunner.entries()].filter(([, jobs]) => jobs.length > 1).map(([runner]) => runner),
    runnersLeft: [...registered].filter((r) => !removed.has(r)),
    invalid: log.filter((e) => e.event === "invalid_request" || e.event === "internal_error"),
  };
}

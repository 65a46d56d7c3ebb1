// The real programs on one Redis, as a fleet of many accounts, regions and organizations has them, between the stand-ins for GitHub and
// for Lambda MicroVMs, which enforce the published quotas. The jobs are those of `--per-day` evenly over the day and the organizations,
// as many of them as `--jobs` says, and come in `--minutes`: one factor divides all times and multiplies all rates (tests/storm/lib/scale.mjs).
// Where the stand-ins are too slow for that, fewer come (`jobs`, `per_day_came`).
//   node scale.mjs [--jobs N] [--minutes M] [--per-day N] [--targets N] [--organizations N] [--job-seconds S] [--max-vms N] [--workers N]
//     [--ingresses N] [--reapers N] [--json FILE] [--keep]
// What the verdict states of jobs and calls comes from the stand-ins' logs and counters; CPU and memory from /proc.
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { merge } from "../../integration/lib/deployment.mjs";
import { Program } from "../../lib/program.mjs";
import { sleep, until } from "../../lib/wait.mjs";
import { Balancer } from "../../storm/lib/balancer.mjs";
import { Random } from "../../storm/lib/random.mjs";
import { classSettings, githubArguments, lambdaTimeout, providerArguments, settings } from "../../storm/lib/scale.mjs";
import { targetsOf } from "../../storm/lib/targets.mjs";
import { judge } from "./verdict.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const bin = path.resolve(root, process.env.MAYFLY_BUILD ?? "build/bench");
const KEY = { id: "AKIDSCALE", secret: "scale-secret" };
const SECRET = "the bench's own secret";
const LABELS = ["self-hosted", "linux", "arm64", "microvm"];
const DAY_S = 86400;
const START_S = 11; // of a VM
const END_S = 3;
const VM_MIB = 8192; // of the memory quota, for one VM of 2 GB
// As published: launches and terminations a second at a target; at GitHub for an installation (the largest plan's), and for an organization.
const LAUNCHES = 5;
const CALLS_PER_HOUR = 15000;
const POINTS_PER_MINUTE = 900;
const REGISTRATIONS_PER_5_MIN = 1500;
// What GitHub takes for a registration: each as often as the others. Not scaled, so a worker has more threads instead.
const GITHUB_MS = [150, 250, 400, 600, 900];
const LEAST = 0.2; // of the mean length
const TICKS = 100;
const STAND_IN_HEAP = "--max-old-space-size=8192";

const startedLine = (line) => { try { const e = JSON.parse(line); return e.msg === "started" ? e : null; } catch { return null; } };
const urlLine = (line) => { try { return JSON.parse(line).url ?? null; } catch { return null; } };

class Scale {
  constructor(options) {
    Object.assign(this, options, { all: [], daemons: [], cpu: new Map() });
    this.perSecond = this.perDay / DAY_S;
    this.factor = this.jobs / this.perSecond / (60 * this.minutes);
    this.targetList = targetsOf(this.targets);
    // Half as many again as are busy on average.
    this.maxVms ||= Math.ceil((1.5 * this.perSecond * (this.jobSeconds + START_S + END_S)) / this.targets);
    this.orgs = Array.from({ length: this.organizations }, (_, i) => `org-${i + 1}`);
    this.random = new Random(1);
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-scale-"));
    this.logOf = (name) => path.join(this.dir, `${name}.jsonl`);
  }

  program(name, kind, command, args, started) {
    const program = new Program({ name, kind, command, args, started, log: path.join(this.dir, `${name}.log`) });
    this.all.push(program);
    return program;
  }

  async call(base, method, route, body) {
    const response = await fetch(base + route, { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok && response.status !== 408) throw new Error(`${method} ${route}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  github(method, route, body) { return this.call(this.urls.github, method, `/_fake/${route}`, body); }
  provider(method, route, body) { return this.call(this.urls.lambda, method, `/_fake/${route}`, body); }

  async startStandIns() {
    const f = this.factor;
    const appKey = path.join(this.dir, "app.pem");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    fs.writeFileSync(appKey, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    const fake = (name, ...args) => this.program(name, name, process.execPath, [STAND_IN_HEAP, path.join(root, "tests/fakes", name, "main.mjs"), "--port", "0", "--log", this.logOf(name), ...args], urlLine).start();
    const scaled = (value) => String(Math.floor(value * f));
    // No signature is verified here, which costs the stand-ins more than the call; the account is read from the role's token all the same.
    const [github, lambda, sts] = await Promise.all([
      fake("github", "--org", this.orgs[0], "--webhook-secret", SECRET, "--app-id", "4711", "--app-key", appKey, "--runner-url", "http://127.0.0.1:{PORT}", ...githubArguments(f, 2 * this.jobSeconds / f),
        "--rate-limit", String(CALLS_PER_HOUR), "--rate-window-s", String(3600 / f), "--secondary-points", scaled(POINTS_PER_MINUTE), "--secondary-concurrent", "100",
        "--registrations-per-5min", scaled(REGISTRATIONS_PER_5_MIN)),
      fake("lambda-microvms", ...providerArguments(f, LAUNCHES * f), "--memory-quota-mib", String(VM_MIB * this.maxVms), ...(this.targets > 1 ? this.targetList.flatMap(({ at }) => ["--target", at]) : [])),
      fake("aws", "--realm", "scale", "--key", `${KEY.id}:${KEY.secret}`),
    ]);
    this.urls = { github, lambda };
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: KEY.id, AWS_SECRET_ACCESS_KEY: KEY.secret, AWS_EC2_METADATA_DISABLED: "true", AWS_ENDPOINT_URL_STS: sts });
    this.appKey = appKey;
  }

  async startRedis() {
    this.socket = path.join(this.dir, "redis.sock");
    await this.program("redis", "redis", process.env.REDIS_SERVER ?? "redis-server", ["--port", "0", "--unixsocket", this.socket, "--dir", this.dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "",
      "--maxmemory-policy", "noeviction"], (line) => /Ready to accept connections/i.test(line)).start();
  }

  config() {
    const f = this.factor;
    const rate = (perSecond, burst) => ({ per_second: perSecond * f, burst });
    const places = this.targetList.map(({ at, ...target }) => ({ ...target, max_vms: this.maxVms, launch_rate: rate(LAUNCHES, 5) }));
    const cap = this.maxVms * this.targets;
    const mine = {
      deployment: "scale", queue: `redis://${this.socket}?prefix=scale`, ledger: `redis://${this.socket}?prefix=scale`, log_level: "info",
      github: { api_url: this.urls.github, app: { id: "4711", private_key: `file:${this.appKey}` }, webhook_secrets: [SECRET], jit_rate: rate(2.75, 15), registration_rate: { per_second: 4.75 * f } },
      ingress: { listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", threads: 1 },
      worker: { admin_listen: "127.0.0.1:0", launch_threads: Math.ceil(8 * f), terminate_threads: Math.ceil(2 * f) },
      reaper: { admin_listen: "127.0.0.1:0" },
      limits: { max_vms: cap },
      classes: [{ name: "scale", labels: LABELS, required_labels: ["self-hosted", "microvm"], provider: "lambda", max_vms: cap, ...classSettings(f),
        lambda: { endpoint: this.urls.lambda, timeout: lambdaTimeout(f), ...(this.targets > 1 ? {} : { image: places[0].image }) }, ...(this.targets > 1 && { targets: places }) }],
    };
    const { github: { jit_rate: unlimited, ...github }, ...rest } = settings(f);
    return merge(merge({ github, ...rest }, {}), mine);
  }

  async startAll() {
    await Promise.all([this.startStandIns(), this.startRedis()]);
    this.balancer = new Balancer({ timeoutMs: 9000 });
    await this.github("POST", "webhook-url", { url: `${await this.balancer.listen()}/webhook`, secret: SECRET, type: "app" });
    await this.github("POST", "faults", GITHUB_MS.map((ms, i) => ({ name: "slow", operation: "generate-jitconfig", delay_ms: ms, probability: 1 / (GITHUB_MS.length - i) })));
    const file = path.join(this.dir, "mayfly.yaml");
    fs.writeFileSync(file, JSON.stringify(this.config(), null, 2), { mode: 0o600 });
    for (const [kind, count] of [["ingress", this.ingresses], ["worker", this.workers], ["reaper", this.reapers]]) {
      for (let i = 1; i <= count; i++) {
        const program = this.program(`${kind}-${i}`, kind, path.join(bin, kind, `mayfly-${kind}`), ["--config", file], startedLine);
        this.daemons.push(program);
        const { port } = await program.start();
        if (kind === "ingress") this.balancer.targets.set(program.name, port);
      }
    }
    this.meter = setInterval(() => this.measure(), 1000);
  }

  // CPU time so far, and the most memory.
  measure() {
    for (const program of this.all) {
      program.measure();
      if (!program.alive) continue;
      try {
        const fields = fs.readFileSync(`/proc/${program.child.pid}/stat`, "utf8").split(") ")[1].split(" ");
        this.cpu.set(program.name, (Number(fields[11]) + Number(fields[12])) / TICKS);
      } catch { /* it ended just now */ }
    }
  }

  // Jobs as they come: groups of one to nine, as a matrix makes them, and a length of each group that is anything from a fifth of the mean to nine fifths.
  async queueJobs() {
    const begun = Date.now();
    const every = (60000 * this.minutes) / this.jobs;
    this.made = 0;
    for (let made = 0, said = 0; made < this.jobs && Date.now() < begun + 60000 * this.minutes && !this.interrupted; this.made = made) {
      const count = Math.min(this.jobs - made, 1 + Math.floor(this.random.next() * 9));
      await sleep(Math.max(0, begun + made * every - Date.now()));
      const seconds = (this.jobSeconds * (LEAST + 2 * (1 - LEAST) * this.random.next())) / this.factor;
      await this.github("POST", "jobs", { repo: `${this.random.pick(this.orgs)}/${this.random.pick(["app", "site", "tools", "api"])}`, labels: ["self-hosted", "microvm"], command: `sleep ${seconds.toFixed(2)}`, count });
      made += count;
      if (made - said >= this.jobs / 20) { said = made; await this.say(made); }
    }
    this.cameIn = (Date.now() - begun) / 1000;
  }

  async say(made) {
    const { jobs_completed: done, jobs_queued: queued } = await this.github("GET", "state");
    const { alive } = await this.provider("GET", "state");
    console.error(`bench: scale: ${Math.round((Date.now() - this.begun) / 1000)} s: ${made} jobs came, ${queued} wait, ${done} are done, ${alive} VMs`);
  }

  async run() {
    this.begun = Date.now();
    await this.startAll();
    await this.queueJobs();
    const end = Date.now() + 1000 * (300 + (2 * this.jobSeconds) / this.factor);
    const done = () => this.github("GET", `wait?jobs_completed=${this.made}&timeout=2`);
    while (!(await done()).met && Date.now() < end && !this.interrupted);
    const quiet = async () => this.interrupted || ((await this.provider("GET", "state")).held === 0 && (await this.github("GET", "state")).runners_total === 0);
    this.quiet = await until("nothing is left", quiet, { seconds: 120, every_ms: 500 }).catch(() => false);
    this.measure();
    this.targetStates = await this.provider("GET", "targets");
    const { stdout } = await promisify(execFile)("redis-cli", ["-s", this.socket, "INFO"]);
    const info = (name) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(stdout)?.[1]);
    this.redis = { commands: info("total_commands_processed"), reads: info("total_reads_processed"), peak_bytes: info("used_memory_peak") };
  }

  async stop() {
    clearInterval(this.meter);
    this.balancer?.stop();
    await Promise.race([Promise.all(this.daemons.map((program) => program.stop("SIGTERM"))), sleep(20000)]);
    for (const program of [...this.all].reverse()) if (program.child) await program.stop(program.alive ? "SIGKILL" : "SIGTERM");
  }

  // By kind of program: CPU seconds of all, and the greatest memory of one.
  usage() {
    const usage = {};
    for (const program of this.all) {
      const kind = (usage[program.kind] ??= { processes: 0, cpu_s: 0, peak_mb: 0 });
      kind.processes += 1;
      kind.cpu_s += this.cpu.get(program.name) ?? 0;
      kind.peak_mb = Math.max(kind.peak_mb, Math.round(program.peakKb / 1024));
    }
    for (const kind of Object.values(usage)) Object.assign(kind, { cpu_s: Math.round(kind.cpu_s), cpu_ms_per_job: Number(((1000 * kind.cpu_s) / this.made).toFixed(2)) });
    return usage;
  }

  async verdict() {
    const told = await judge({ githubLog: this.logOf("github"), providerLog: this.logOf("lambda-microvms"), states: this.targetStates, maxVms: this.maxVms, jobs: this.made });
    const failed = [...told.failed];
    const crashes = this.daemons.flatMap((program) => program.crashes);
    if (crashes.length) failed.push("crashes");
    if (!this.quiet) failed.push("quiet");
    return { ok: failed.length === 0, failed, factor: Number(this.factor.toFixed(3)), per_day: this.perDay, per_day_came: Math.round(((this.made / this.cameIn) * DAY_S) / this.factor), minutes: Number((this.cameIn / 60).toFixed(1)), seconds: Math.round((Date.now() - this.begun) / 1000), targets: this.targets,
      organizations: this.organizations, job_seconds: this.jobSeconds, target_max_vms: this.maxVms, ...told.verdict, redis_commands_per_job: Number((this.redis.commands / this.made).toFixed(1)), redis_reads_per_job: Number((this.redis.reads / this.made).toFixed(1)),
      redis_peak_mb: Math.round(this.redis.peak_bytes / 2 ** 20), programs: this.usage(), ...(failed.length && { details: told.details, crashed: crashes, dir: this.dir }) };
  }
}

// For people, and what it means in a fleet whose times are not divided.
function say(told, { perDay, perSecond, factor }) {
  const cores = (kind) => ((told.programs[kind].cpu_ms_per_job * perSecond) / 1000).toFixed(2);
  const each = ["ingress", "worker", "reaper", "redis"].map((kind) => `${kind} ${told.programs[kind].cpu_ms_per_job} ms CPU a job, ${told.programs[kind].peak_mb} MB`).join("; ");
  return [
    `${told.ok ? "all good" : `FAILED: ${told.failed.join(", ")}`}: ${told.jobs} jobs of ${told.per_day_came} a day, ${factor.toFixed(2)} times as fast, ${told.targets} targets, ${told.organizations} organizations: lost ${told.lost}, run twice ${told.run_twice}, over cap ${told.over_cap}, `
      + `throttled ${(100 * told.throttled_share).toFixed(2)} %, longest launchable wait ${told.launchable_wait_s_max} s, queued to running p50 ${told.wait_s_p50} s, p99 ${told.wait_s_p99} s, at most ${told.wait_s_max} s`,
    `${each}`,
    `${perDay} a day: ${["ingress", "worker", "reaper", "redis"].map((kind) => `${kind} ${cores(kind)} processors`).join(", ")} on average; ${told.alive_peak} VMs at once; waits as above, the VM's start (${START_S} s) and what is scaled with it ${factor.toFixed(2)} times as long`,
  ].map((line) => `bench: scale: ${line}`).join("\n");
}

const { values } = parseArgs({ options: {
  jobs: { type: "string", default: "2000" }, minutes: { type: "string", default: "1.5" }, "per-day": { type: "string", default: "1000000" }, targets: { type: "string", default: "10" }, organizations: { type: "string", default: "5" },
  "job-seconds": { type: "string", default: "300" }, "max-vms": { type: "string", default: "0" }, workers: { type: "string", default: "3" }, ingresses: { type: "string", default: "2" }, reapers: { type: "string", default: "2" },
  json: { type: "string" }, keep: { type: "boolean", default: false } } });
const number = (key) => Number(values[key]);
const scale = new Scale({ jobs: number("jobs"), minutes: number("minutes"), perDay: number("per-day"), targets: number("targets"), organizations: number("organizations"), jobSeconds: number("job-seconds"), maxVms: number("max-vms"),
  workers: number("workers"), ingresses: number("ingresses"), reapers: number("reapers") });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => { scale.interrupted = true; });
let failure = null;
try {
  await scale.run();
} catch (error) {
  failure = error;
} finally {
  await scale.stop();
}
if (failure) {
  console.error(`bench: scale: ${failure.stack} (${scale.dir})`);
  process.exit(1);
}
const told = await scale.verdict();
if (values.json) fs.writeFileSync(values.json, `${JSON.stringify(told, null, 2)}\n`);
console.log(JSON.stringify(told));
console.log(say(told, scale));
if (told.ok && !values.keep) fs.rmSync(scale.dir, { recursive: true, force: true });
process.exit(told.ok ? 0 : 1);

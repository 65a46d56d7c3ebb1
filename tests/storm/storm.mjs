#!/usr/bin/env node
// Everything that can go wrong at once, on the real programs and a real store, between the stand-ins of GitHub and of
// Lambda MicroVMs. One seed, one JSON line, and an exit code by a verdict that comes out of the stand-ins' logs.
//   node storm.mjs [--jobs N] [--queue redis|sqlite|sqs|kafka] [--ledger redis|sqlite|dynamodb] [--workers N] [--seed S] [--calm]
//     [--emulator ministack|moto|elasticmq] [--brokers N] [--session SECONDS] [--faults KIND,…] [--cap N] [--rate N] [--timeout SECONDS] [--keep] [--debug]
// Conditions that last, one after the other (lib/conditions.mjs): [--outage github|aws|ledger|queue [--how HOW]] [--brownout dynamodb|redis]
//     [--failover-loss MS] [--lag MS] [--tenant-refused N] [--permission-lost] [--ledger-lost]
//     [--store-emptied] [--store-restored] [--vanish PERCENT [--untraced PERCENT]] [--class-gone [--how HOW]] [--host-gone] [--two-deployments] [--target-gone [--how HOW]] [--upgrade --previous DIRECTORY] [--mixed [--without KIND]] [--seconds N] [--scale FACTOR]
// Several accounts and regions, and organizations with the App (lib/targets.mjs): [--targets N] [--organizations N]
// Published quotas with default settings, several organizations (lib/published.mjs): [--published [--organizations N]]
// What a pool of idle VMs gains and costs, with the same quotas (lib/idle.mjs): [--min-idle N]
// With a Prometheus (lib/watched.mjs), as storms of conditions that last are: [--watched], and whose dashboard must show something: [--dashboard]
// MAYFLY_BUILD: where the programs were built (build/bench). The folder with all logs stays with --keep, or on failure.
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { promisify } from "node:util";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Aws } from "./lib/aws.mjs";
import { Balancer } from "./lib/balancer.mjs";
import { Lasting, conditionsOf } from "./lib/lasting.mjs";
import { Idle } from "./lib/idle.mjs";
import { Published } from "./lib/published.mjs";
import { FAULTS, OF_STORES } from "./lib/faults.mjs";
import { Cluster, missing } from "../fakes/kafka/cluster.mjs";
import { EMULATORS, missing as missingEmulator } from "../fakes/emulators/emulators.mjs";
import { sleep, until } from "../lib/wait.mjs";
import { Program } from "../lib/program.mjs";
import { Random } from "./lib/random.mjs";
import { isOtherBuild } from "./lib/setups.mjs";
import { rebalances } from "./lib/rebalance.mjs";
import { judge, lines } from "./lib/verdict.mjs";
import { Targets } from "./lib/targets.mjs";
import { classSettings, githubArguments, lambdaTimeout, providerArguments, settings } from "./lib/scale.mjs";
import { merge } from "../integration/lib/deployment.mjs";
import { Watched } from "./lib/watched.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
// The daemons find these in their environment, and the stand-in for Lambda MicroVMs accepts no others; where SQS or DynamoDB is a
// store, all keys are a container's (lib/aws.mjs).
const KEYS = { AWS_ACCESS_KEY_ID: "AKIDSTORM", AWS_SECRET_ACCESS_KEY: "storm-secret", AWS_EC2_METADATA_DISABLED: "true" };
for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
const bin = path.resolve(root, process.env.MAYFLY_BUILD ?? "build/bench");
const IMAGE = "arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly";
const usage = (message) => { console.error(`storm: ${message}`); process.exit(2); };

const listening = (line) => { try { const e = JSON.parse(line); return e.msg === "started" ? e : null; } catch { return null; } };
const toldUrl = (line) => { try { return JSON.parse(line).url ?? null; } catch { return null; } };

class Storm {
  constructor(options) {
    Object.assign(this, options, { over: false, daemons: [], all: [], tally: {}, notes: [] });
    this.random = new Random(this.seed);
    this.pace = Math.max(1, Math.sqrt(this.jobs / 300)); // longer storms, rarer blows
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-storm-"));
    this.token = `ghp_${"s".repeat(36)}`;
    this.secret = "the storm's own secret";
    this.labels = ["self-hosted", "linux", "arm64", "microvm"];
    this.bin = bin;
    this.watched = options.watching ? new Watched(this, options) : null;
    this.lasting = options.conditions ? new Lasting(this, options.conditions) : null;
    this.setups = this.lasting?.setups ?? [];
    this.published = options.idleCount !== null ? new Idle(this, options.idleCount) : options.publishing ? new Published(this) : null;
    this.targets = options.targetCount ? new Targets({ count: options.targetCount, cap: this.cap, rate: this.rate }) : null;
    // Only an App can list where it is installed, which a ledger that lost rows does not know any more, and be installed more than once.
    const forgets = ["ledger-lost", "store-emptied", "store-restored", "failover-loss"].some((kind) => this.lasting?.has(kind));
    this.ofApp = Boolean(this.published) || this.organizations.length > 1; // whose hook it is
    this.appKey = forgets || this.ofApp || this.setups.some((setup) => setup.app) ? path.join(this.dir, "app.pem") : null;
    if (this.appKey) {
      const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
      fs.writeFileSync(this.appKey, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    }
    this.githubLog = path.join(this.dir, "github.jsonl");
    this.providerLog = path.join(this.dir, "lambda.jsonl");
  }

  note(text) { this.notes.push(`${((Date.now() - this.begun) / 1000).toFixed(1)} ${text}`); }

  count(what, program) {
    const key = `${what}_${program.kind}`;
    this.tally[key] = (this.tally[key] ?? 0) + 1;
    this.note(`${what} ${program.name}`);
  }

  program(name, kind, command, args, started, env) {
    const program = new Program({ name, kind, command, args, started, env, log: path.join(this.dir, `${name}.log`) });
    this.all.push(program);
    return program;
  }

  async call(base, method, route, body) {
    const response = await fetch(base + route, { method, headers: { "content-type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok && response.status !== 408) throw new Error(`${method} ${route}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  github(method, route, body) { return this.call(this.githubUrl, method, route, body); }
  provider(method, route, body) { return this.call(this.providerUrl, method, route, body); }

  async startStandIns() {
    const fake = (name, ...args) => this.program(name, name, process.execPath, [path.join(root, "tests/fakes", name, "main.mjs"), "--port", "0", ...args], toldUrl);
    if (this.queue === "sqs" || this.ledger === "dynamodb") {
      const lanes = ["storm-events", "storm-launch_storm", ...this.setups.flatMap((setup) => setup.lanes ?? [])];
      this.aws = new Aws({ ...this, lanes, start: (name, args) => fake(name, ...args).start(), call: this.call });
      await this.aws.open();
    }
    Object.assign(process.env, this.aws?.environment() ?? KEYS);
    if (this.targets && !this.aws) this.sts = await fake("aws", "--log", path.join(this.dir, "aws.jsonl"), ...this.targets.realm(), "--key", `${KEYS.AWS_ACCESS_KEY_ID}:${KEYS.AWS_SECRET_ACCESS_KEY}`).start();
    if (this.targets) process.env.AWS_ENDPOINT_URL_STS = this.aws?.urls.aws ?? this.sts;
    const scaled = this.published ? { github: this.published.githubArguments(), lambda: this.published.providerArguments() } : this.lasting ? { github: [...githubArguments(this.scale, this.lasting.longest), "--validate"], lambda: providerArguments(this.scale, this.rate) } : { github: [], lambda: [] };
    const more = (name, key, first) => [first, ...this.setups.flatMap((setup) => setup[key] ?? [])].flatMap((value) => [`--${name}`, value]);
    const github = fake("github", "--log", this.githubLog, "--token", this.token, "--org", "acme", "--webhook-secret", this.secret, "--webhook-timeout-ms", "4000",
      "--rate-limit", "1000000", "--runner-url", "http://127.0.0.1:{PORT}", "--offline-after-s", "4", "--pickup-timeout-s", "4", "--poll-wait-s", "2", "--job-timeout-s", "15",
      ...(this.appKey ? ["--app-id", "4711", "--app-key", this.appKey] : []), ...scaled.github);
    const lambda = fake("lambda-microvms", "--log", this.providerLog, "--seed", String(this.seed), "--run-rate", String(this.rate), "--run-burst", String(this.rate),
      "--terminate-rate", String(2 * this.rate), "--terminate-burst", String(2 * this.rate), "--memory-quota-mib", String(8192 * (this.cap + 50)),
      ...more("image", "images", "mayfly"), ...(this.aws?.judging() ?? more("key", "keys", `${KEYS.AWS_ACCESS_KEY_ID}:${KEYS.AWS_SECRET_ACCESS_KEY}`)), "--read-lag-ms", this.calm ? "0" : "200", "--empty-page-every", this.calm ? "0" : "5", "--jitter", "0.3", "--keep-terminated-s", "300", ...scaled.lambda,
      ...(this.targets?.providerArguments() ?? []), ...(this.sts ? this.targets.realm() : []));
    this.githubUrl = await github.start();
    this.providerUrl = await lambda.start();
  }

  async startRedis() {
    if (this.queue !== "redis" && this.ledger !== "redis") return;
    this.redis = await this.redisServer("redis");
    await this.lasting?.besideRedis();
  }

  async redisServer(name, ...more) {
    const socket = path.join(this.dir, `${name}.sock`);
    const server = this.program(name, "redis", process.env.REDIS_SERVER ?? "redis-server", ["--port", "0", "--unixsocket", socket, "--dir", this.dir,
      "--appendonly", "yes", "--appendfsync", "always", "--appenddirname", `${name}.aof`, "--dbfilename", `${name}.rdb`, "--save", "", "--maxmemory-policy", "noeviction", ...more],
      (line) => /Ready to accept connections/i.test(line));
    server.socket = socket;
    await server.start();
    return server;
  }

  async startKafka() {
    if (this.queue !== "kafka") return;
    const dir = path.join(this.dir, "kafka");
    fs.mkdirSync(dir);
    this.kafka = new Cluster({ dir, brokers: this.brokers, set: { "group.min.session.timeout.ms": 1000 } });
    await this.kafka.start();
    this.all.push(...this.kafka.programs);
  }

  // The consumers' session is scaled down as all times are: while a dead worker's lasts, its group distributes no partition, and
  // workers die more often here than every ten seconds, its default (README.md, What jobs wait for on Kafka).
  store(kind, name, prefix = "storm") {
    if (kind === "kafka") return `kafka://${this.kafka.addresses()}/${prefix}?create=1&timeout=2s&session=${this.session}s`;
    if (kind === "redis") return `redis://${this.lasting?.socket(name) ?? this.redis.socket}?prefix=${prefix}&timeout=2s${this.lasting?.database(name) ?? ""}`;
    return kind === "sqlite" ? `sqlite://${this.dir}/${prefix === "storm" ? "" : `${prefix}-`}${name}.db` : this.aws.store(kind, prefix);
  }

  writeConfig(hook) {
    const config = {
      deployment: "storm", queue: this.store(this.queue, "queue"), ledger: this.store(this.ledger, "ledger"), log_level: this.debug ? "debug" : "info",
      github: { api_url: this.githubUrl, ...(this.appKey ? { app: { id: "4711", private_key: `file:${this.appKey}` } } : { token: this.token }), webhook_secrets: [this.secret], timeout: "3s", secondary_limit_backoff: "3s", rate: { per_second: 500, burst: 500 }, jit_rate: { per_second: 0 },
        hook: { id: hook, organization: "acme" } },
      ingress: { listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", threads: 1, enqueue_timeout: "2s" },
      worker: { admin_listen: "127.0.0.1:0", launch_threads: 16, event_consumer_threads: 2, terminate_threads: 8, visibility_timeout: "5s", terminate_grace_period: "0s", drain_timeout: "10s" },
      reaper: { admin_listen: "127.0.0.1:0", interval: "500ms", lease_duration: "3s", confirm_after: "400ms", relaunch_after: "3s", startup_timeout: "5s", terminate_timeout: "2s",
        deadline_grace_period: "1s", stale_runner_scan_interval: "1s", vm_list_interval: "500ms", deliveries: { interval: "1s", overlap: "10s" } },
      // The stand-in's quotas. A rate beyond the usual 5 is that of a fleet whose times are scaled down, and so is the time that two calls of its
      // burst, which are left unused, have to absorb.
      limits: { max_vms: this.cap, launch_rate: { per_second: this.rate, burst: this.rate <= 5 ? this.rate : Math.floor(this.rate / 5) + 2 },
        terminate_rate: { per_second: 2 * this.rate, burst: this.rate <= 5 ? 2 * this.rate : Math.floor(this.rate / 2.5) + 2 }, list_rate: { per_second: 100, burst: 100 } },
      retry: { max_attempts: 15, base_delay: "50ms", max_delay: "1s" },
      circuit: { failure_threshold: 5, open_duration: "1s", max_open_duration: "4s" },
      classes: [{ name: "storm", labels: this.labels, required_labels: ["self-hosted", "microvm"], provider: "lambda", max_vms: this.cap,
        max_duration: "12s", idle_timeout: "4s", lambda: { endpoint: this.providerUrl, image: IMAGE, timeout: "2500ms" } }],
    };
    if (this.lasting) this.scaleDown(config);
    if (this.published) this.published.configure(config);
    if (this.ofApp) delete config.github.hook;
    this.targets?.configure(config.classes[0]);
    this.configFile = path.join(this.dir, "mayfly.yaml");
    this.files = [this.configFile]; // of each deployment
    this.config = this.lasting ? merge(config, settings(this.scale)) : config;
    for (const setup of this.setups) setup.configure?.(this);
    this.saveConfig();
  }

  saveConfig(file = this.configFile, config = this.config) { fs.writeFileSync(file, JSON.stringify(config, null, 2), { mode: 0o600 }); }

  scaleDown({ classes: [one], github }) {
    Object.assign(one, classSettings(this.scale));
    one.lambda.timeout = lambdaTimeout(this.scale);
    if (this.lasting.tenants.length) github.scope = "repository";
  }

  tool(file) { return path.join(bin, file); }

  daemon(kind, n, more = {}) {
    const { name, file, build, balancer, env } = { name: `${kind}-${n}`, file: this.configFile, build: bin, balancer: this.balancer, ...more };
    const program = this.program(name, kind, null, ["--config", file], listening, env);
    this.buildOf(program, build);
    Object.assign(program, { balancer, deployment: JSON.parse(fs.readFileSync(file, "utf8")).deployment });
    this.daemons.push(program);
    return this.startDaemon(program);
  }

  buildOf(program, build) { Object.assign(program, { build, command: path.join(build, program.kind, `mayfly-${program.kind}`) }); }

  async startDaemon(program) {
    // A store that is away at a program's start ends it; the supervisor (this) starts it again, as systemd or ECS would.
    for (let i = 0; ; i++) {
      try {
        const told = await program.start();
        if (program.kind === "ingress") program.balancer.targets.set(program.name, told.port);
        program.adminPort = told.admin_port;
        this.watched?.watch(program, program.deployment);
        return;
      } catch (error) {
        if (i >= 20 || this.ended) throw error;
        program.crashes = program.crashes.filter((crash) => crash.signal !== null);
        await sleep(250);
      }
    }
  }

  async startAll() {
    await Promise.all([this.startStandIns(), this.startRedis(), this.startKafka()]);
    await this.watched?.start();
    this.balancer = new Balancer({ timeoutMs: 3000 });
    const url = await this.balancer.listen();
    const { hook_id: hook } = await this.github("POST", "/_fake/webhook-url", { url: `${url}/webhook`, secret: this.secret, type: this.ofApp ? "app" : "organization" });
    this.writeConfig(hook);
    for (const [kind, count] of [["ingress", 2], ["worker", this.workers], ["reaper", 2]]) {
      for (let i = 1; i <= count; i++) await this.daemon(kind, i, Object.assign({}, ...this.setups.map((setup) => setup.place?.(this, kind, i))));
    }
    for (const setup of this.setups) await setup.start?.(this);
    await this.watched?.ready();
    this.meter = setInterval(() => { for (const program of this.all) program.measure(); }, 500);
  }

  // A burst: all jobs as fast as the stand-in takes them, in groups of one kind each.
  async queueJobs() {
    const random = this.random.fork();
    const gated = [];
    for (let left = this.jobs; left > 0;) {
      const count = Math.min(left, 1 + Math.floor(random.next() * 9));
      left -= count;
      const environment = this.kinds.includes("environments") && random.next() < 0.1;
      const made = await this.github("POST", "/_fake/jobs", { repo: `${random.pick(this.organizations)}/${random.pick(["app", "site", "tools"])}`, labels: ["self-hosted", "microvm"],
        command: `sleep ${random.between(0.3, 1.2).toFixed(2)}`, count, ...(environment ? { environment: "production" } : {}) });
      if (environment) gated.push(...made);
    }
    for (const { id } of gated) {
      await sleep(random.between(0, 200));
      await this.github("POST", `/_fake/jobs/${id}/approve`).catch((error) => this.note(`approve: ${error.message}`));
    }
  }

  async untilDone() {
    const end = Date.now() + (this.timeout + (this.lasting?.spanS ?? 0)) * 1000;
    while (Date.now() < end && !this.interrupted) {
      const state = await this.github("GET", `/_fake/wait?jobs_completed=${this.jobs}&timeout=2`);
      if (state.met) return true;
    }
    return false;
  }

  // The faults end, everything runs again, and nothing may be left.
  async untilQuiet() {
    this.over = true;
    await this.github("DELETE", "/_fake/faults");
    await this.provider("DELETE", "/_fake/faults");
    await this.aws?.calmDown();
    await Promise.all(this.blows);
    if (this.foreign) await this.foreign.stop();
    const quiet = async () => (await this.provider("GET", "/_fake/state")).held === 0 && (await this.github("GET", "/_fake/state")).runners_total === 0;
    return until("nothing is left", quiet, { seconds: (this.published ?? this.lasting)?.quietWithinS ?? 60, every_ms: 200 }).catch(() => false);
  }

  async run() {
    this.begun = Date.now();
    await this.startAll();
    this.blows = this.kinds.map((kind) => FAULTS[kind](this, this.random.fork()).catch((error) => this.note(`${kind}: ${error.message}`)));
    const queued = this.lasting ? this.lasting.run(this.random.fork()) : (this.published ?? this).queueJobs();
    queued.catch((error) => { this.note(error.stack); this.interrupted = true; });
    this.drained = await this.untilDone();
    await queued;
    await this.published?.drain?.();
    this.quiet = Boolean(await this.untilQuiet());
    await this.lasting?.measure();
    await this.watched?.measure();
    this.targetStates = this.targets ? await this.provider("GET", "/_fake/targets") : null;
    await this.aws?.count();
    if (!this.drained || !this.quiet) await this.look();
  }

  // What our own tools say, for whoever has to find out why.
  async look() {
    for (const args of [["vms"], ["dlq", "list"]]) {
      try {
        const { stdout } = await promisify(execFile)(this.tool("deploy/ctl/mayflyctl"), ["--config", this.configFile, "--json", ...args], { timeout: 10000 });
        fs.writeFileSync(path.join(this.dir, `ctl-${args[0]}.json`), stdout);
      } catch (error) { this.note(`mayflyctl ${args[0]}: ${error.message}`); }
    }
  }

  async stop() {
    this.ended = true;
    clearInterval(this.meter);
    this.balancer?.stop();
    for (const setup of this.setups) setup.stop?.(this);
    for (const program of this.all) program.measure();
    const mayfly = this.daemons.map((program) => program.stop("SIGTERM"));
    await Promise.race([Promise.all(mayfly), sleep(15000)]);
    for (const program of [...this.all].reverse()) if (program.child) await program.stop(program.alive ? "SIGKILL" : "SIGTERM");
    await this.watched?.stop();
    this.lasting?.stop();
  }

  async foreignCalls() {
    if (!this.foreign) return 0;
    let registrations = 0;
    for await (const e of lines(this.githubLog)) if (e.event === "runner_registered" && e.runner.startsWith("foreign-")) registrations++;
    return registrations;
  }

  async verdict() {
    const { verdict, failed, details } = await judge({ githubLog: this.githubLog, providerLog: this.providerLog, cap: this.cap, quota: this.rate, burst: this.rate,
      foreignCalls: await this.foreignCalls(), calm: this.calm,
      rebalances: this.kafka && ((around) => rebalances(this.kafka.programs.map((program) => program.log), "storm.launch.storm", 1000 * this.session, around)) });
    const trouble = await (this.published ?? this.lasting)?.verdict();
    if (trouble) {
      Object.assign(verdict, trouble.verdict);
      Object.assign(details, trouble.details ?? {});
      failed.push(...trouble.failed);
    }
    const seen = this.watched?.verdict();
    if (seen) {
      Object.assign(verdict, seen.verdict);
      Object.assign(details, seen.details);
      failed.push(...seen.failed);
    }
    for (const setup of this.setups) {
      const more = await setup.verdict?.(this);
      Object.assign(verdict, more?.verdict);
      failed.push(...more?.failed ?? []);
    }
    const crashes = [...this.daemons, ...(this.kafka?.programs ?? [])].flatMap((program) => program.crashes);
    const peak = {};
    for (const program of this.all) peak[program.kind] = Math.max(peak[program.kind] ?? 0, Number((program.peakKb / 1024).toFixed(1)));
    const told = await this.aws?.verdict(this.providerLog);
    if (told?.badly_signed) failed.push("badly_signed");
    if (told && this.kinds.includes("credentials") && told.refused_keys === 0) failed.push("no_key_ended");
    if (crashes.length) failed.push("crashes");
    if (!this.drained) failed.push("drained");
    if (!this.quiet) failed.push("quiet");
    return { ok: failed.length === 0, failed, queue: this.queue, ledger: this.ledger, workers: this.workers, seed: this.seed, faults: this.kinds.join(","), ...(this.kafka && { brokers: this.brokers }), ...(this.emulator && { emulator: this.emulator }),
      cap: this.cap, quota_per_s: this.rate, ...verdict, ...this.tally, ...told, crashes: crashes.length, peak_mb: peak, seconds: Math.round((Date.now() - this.begun) / 1000),
      ...(failed.length ? { details, crashed: crashes, dir: this.dir } : {}) };
  }
}

const ORGANIZATIONS = ["acme", "globex", "initech", "umbrella", "hooli"];

function options() {
  const { values } = parseArgs({ options: {
    jobs: { type: "string", default: "300" }, queue: { type: "string" }, ledger: { type: "string" }, emulator: { type: "string" }, workers: { type: "string", default: "2" },
    seed: { type: "string", default: "1" }, calm: { type: "boolean", default: false }, faults: { type: "string" }, cap: { type: "string" },
    rate: { type: "string" }, timeout: { type: "string" }, keep: { type: "boolean", default: false },
    debug: { type: "boolean", default: false }, brokers: { type: "string", default: "3" },
    session: { type: "string", default: "3" }, published: { type: "boolean", default: false }, organizations: { type: "string" }, targets: { type: "string" }, "min-idle": { type: "string" }, watched: { type: "boolean", default: false }, dashboard: { type: "boolean", default: false }, ...Lasting.OPTIONS } });
  const jobs = Number(values.jobs);
  const emulated = EMULATORS[values.emulator]?.services ?? [];
  const queue = values.queue ?? (emulated.length ? "sqs" : "redis");
  const ledger = values.ledger ?? (emulated.includes("dynamodb") ? "dynamodb" : ["sqs", "kafka"].includes(queue) ? "redis" : queue);
  const slowness = ledger === "dynamodb" || queue === "kafka" ? 3 : queue === "sqs" ? 2 : 1; // of the stand-ins, and of so many more faults
  const apply = (kind) => !OF_STORES[kind] || OF_STORES[kind].some((store) => store === queue || store === ledger);
  const conditions = conditionsOf(values, { queue, ledger });
  if (values.published || values["min-idle"]) values.calm = true;
  const kinds = values.calm || (conditions && !values.faults) ? [] : values.faults ? values.faults.split(",") : Object.keys(FAULTS).filter(apply);
  const unknown = kinds.filter((kind) => !FAULTS[kind] || !apply(kind));
  if (unknown.length || !["redis", "sqlite", "sqs", "kafka"].includes(queue) || !["redis", "sqlite", "dynamodb"].includes(ledger) || !(jobs > 0)) {
    console.error(`storm: see the head of storm.mjs; kinds of faults: ${Object.keys(FAULTS).join(", ")}`);
    process.exit(2);
  }
  if (values.emulator && !emulated.some((service) => service === queue || service === ledger)) {
    console.error(`storm: --emulator is one of ${Object.keys(EMULATORS).join(", ")}, for one of the stores at least`);
    process.exit(2);
  }
  const reason = (queue === "kafka" && missing()) || (values.emulator && missingEmulator(values.emulator));
  if (reason) {
    console.error(`storm: skipped: ${reason}`);
    process.exit(77);
  }
  const scale = Number(values.scale);
  if (values.upgrade && !(values.previous && isOtherBuild(values.previous, bin))) usage("--upgrade needs --previous DIRECTORY, of another build");
  return { watching: values.dashboard || values.watched || Boolean(conditions), dashboard: values.dashboard, conditions, previous: values.previous && path.resolve(values.previous), scale, slowness, jobs, queue, ledger, emulator: values.emulator, workers: Number(values.workers), seed: Number(values.seed), calm: values.calm, kinds, brokers: Number(values.brokers), session: Number(values.session),
    publishing: values.published, idleCount: values["min-idle"] === undefined ? null : Number(values["min-idle"]), organizations: Array.from({ length: Number(values.organizations ?? (values.published ? 2 : 1)) }, (_, i) => ORGANIZATIONS[i] ?? `org-${i}`),
    targetCount: Number(values.targets ?? (values["target-gone"] ? 3 : 0)),
    cap: Number(values.cap ?? (values["min-idle"] ? 50 : values.published ? jobs : jobs >= 5000 ? 200 : 20)), rate: Number(values.rate ?? (values.published || values["min-idle"] ? 5 : conditions ? 5 * scale : 50)), timeout: Number(values.timeout ?? (120 + jobs * (values["min-idle"] ? 6 : values.published ? 0.5 : 0.1)) * slowness), keep: values.keep, debug: values.debug };
}

const storm = new Storm(options());
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => { storm.interrupted = true; storm.over = true; });
let failure = null;
try {
  await storm.run();
} catch (error) {
  failure = error;
} finally {
  await storm.stop();
}
fs.writeFileSync(path.join(storm.dir, "notes.txt"), storm.notes.join("\n") + "\n");
if (failure) console.error(`storm: ${failure.stack} (${storm.dir})`);
const result = failure ? { ok: false } : await storm.verdict();
console.log(JSON.stringify(result));
if (result.ok && !storm.keep) fs.rmSync(storm.dir, { recursive: true, force: true });
process.exit(result.ok ? 0 : 1);

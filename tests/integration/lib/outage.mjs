// A small deployment through trouble that lasts longer than any retry, with all times of the default settings divided by one factor:
// started, harmed, healed, and judged by what the trouble has cost. What is judged comes from the stand-ins' logs and our programs' own.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { classSettings, lambdaTimeout, settings } from "../../storm/lib/scale.mjs";
import { sleep, until } from "../../lib/wait.mjs";
import { Deployment, Program, judge, merge } from "./deployment.mjs";

export const FACTOR = 30;
export const MINUTE_MS = 60000 / FACTOR;
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const IMAGE = "arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly";
const APP_ID = 4242;

export class Outage extends Deployment {
  // options, beside a deployment's: app (an App instead of a token).
  constructor(options = {}) {
    super(options);
    // This host's own slowness is not scaled: a launch that is slow for a second must not lose its message, nor a stand-in that is slow the answer
    // that names a runner.
    const unscaled = { github: { timeout: "5s" }, worker: { terminate_grace_period: "0s", visibility_timeout: "5s" } };
    this.options.config = merge(merge(settings(FACTOR), { ...unscaled, limits: { max_vms: 10 } }), options.config ?? {});
    this.helpers = [];
    if (options.app) this.useApp();
  }

  useApp() {
    const key = path.join(this.dir, "app.pem");
    execFileSync("openssl", ["genrsa", "-out", key, "2048"], { stdio: "ignore" });
    this.options.fakeArgs = [...(this.options.fakeArgs ?? []), "--app-id", String(APP_ID), "--app-key", key];
    this.options.config = merge(this.options.config, { github: { token: undefined, app: { id: String(APP_ID), private_key: `file:${key}` } } });
  }

  // A stand-in, or a server: a process that ends with the deployment.
  async helper(name, command, args, told, env = {}) {
    const program = new Program(name, command, args, { logFile: path.join(this.dir, `${name}.log`), env });
    this.helpers.push(program);
    return program.waitFor(told);
  }

  async standIn(name, ...args) {
    const main = path.join(root, "tests/fakes", name, "main.mjs");
    return (await this.helper(name, process.execPath, [main, "--port", "0", "--log", path.join(this.dir, `${name}.jsonl`), ...args], (e) => e.url)).url;
  }

  async call(base, method, route, body) {
    const response = await fetch(`${base}/_fake${route}`, { method, body: body === undefined ? undefined : JSON.stringify(body) });
    assert.ok(response.ok, `${route}: ${response.status}`);
    return response.json();
  }

  useKeys() {
    this.options.env = { ...this.options.env, AWS_ACCESS_KEY_ID: "AKIDTEST", AWS_SECRET_ACCESS_KEY: "secret", AWS_REGION: "us-east-1", AWS_EC2_METADATA_DISABLED: "true" };
  }

  async startLambda(...args) {
    this.lambdaUrl = await this.standIn("lambda-microvms", "--start-ms", "50", "--terminate-ms", "50", "--run-rate", "0", "--terminate-rate", "0", "--list-rate", "0", ...args);
    this.useKeys();
    this.options.classes = [{
      name: "small", labels: ["self-hosted", "linux", "arm64", "microvm"], required_labels: ["self-hosted", "microvm"], provider: "lambda", max_vms: 10, ...classSettings(FACTOR),
      lambda: { endpoint: this.lambdaUrl, image: IMAGE, timeout: lambdaTimeout(FACTOR) },
    }];
  }

  async startRedis(...args) {
    this.redisSocket = path.join(this.dir, "redis.sock");
    await this.helper("redis", "redis-server", ["--port", "0", "--unixsocket", this.redisSocket, "--dir", this.dir, "--save", "", "--maxmemory-policy", "noeviction", ...args],
      (e) => /Ready to accept connections/i.test(e.text ?? ""));
    return `redis://${this.redisSocket}?timeout=1s`;
  }

  async redis(...args) { return (await promisify(execFile)("redis-cli", ["-s", this.redisSocket, ...args])).stdout.trim(); }

  async startDynamo() {
    this.dynamoUrl = await this.standIn("dynamodb");
    this.useKeys();
    return `dynamodb://mayfly?region=us-east-1&endpoint=${encodeURIComponent(this.dynamoUrl)}&create=1&timeout=2s`;
  }

  async startSqs() {
    const queues = ["events", "launch_small"].flatMap((lane) => [`mayfly-${lane}`, `mayfly-${lane}-dead`]);
    const url = await this.standIn("sqs", ...queues.flatMap((name) => ["--queue", name]));
    this.useKeys();
    return `sqs://mayfly?region=us-east-1&endpoint=${encodeURIComponent(url)}&poll_wait=1s&timeout=2s`;
  }

  async startPrograms(config = {}) {
    this.writeConfig(config);
    await this.startIngress();
    await this.startWorker();
    await this.startReaper();
  }

  said(msg) { return this.programs.flatMap((program) => program.events.filter((e) => e.msg === msg)); }

  // Faults of GitHub's stand-in, by a name; heal() ends them.
  harm(name, faults) { return this.fake("POST", "/_fake/faults", [faults].flat().map((fault) => ({ name, ...fault }))); }
  heal(name) { return this.fake("DELETE", `/_fake/faults?name=${name}`); }
  async harmed(name) { return (await this.fake("GET", "/_fake/faults/used")).json[name] ?? 0; }

  // The trouble's time passes, and it has happened: `count()` says how often, each time that it is asked.
  async last(ms, count) {
    await until("the trouble has met a call", async () => (await count()) > 0, { seconds: 30 });
    const end = Date.now() + ms;
    while (Date.now() < end) await sleep(Math.min(100, end - Date.now()));
  }

  // Registrations that no VM took.
  wasted() {
    const truth = judge(this.log());
    const came = new Set([...this.log().filter((e) => e.event === "runner_online").map((e) => e.runner), ...this.said("vm_launched").map((e) => e.vm)]);
    return [...truth.registered].filter((runner) => !came.has(runner));
  }

  // Every job has run, nothing is dead, nothing is left; the registrations that no VM took are at most `wasted`, and one for each probe.
  async assertHealed(count, { wasted = 0, seconds = 60 } = {}) {
    const over = () => this.untilJobsEnd(count, { seconds });
    await over().catch((error) => { throw new Error(`${error.message}; dead: ${this.said("message_dead_lettered").map((e) => e.reason)}\n${this.tails()}`); });
    await this.untilQuiet({ seconds: 60 });
    const truth = judge(this.log());
    assert.equal(truth.finished.size, count);
    assert.deepEqual((await this.jobs()).filter((job) => job.conclusion !== "success").map((job) => job.id), [], "jobs that did not succeed");
    assert.deepEqual(truth.ranTwice, []);
    assert.deepEqual(this.said("message_dead_lettered").map((e) => e.reason), [], "dead letters");
    assert.deepEqual(this.said("launch_failed").filter((e) => e.action !== "wait").map((e) => e.error), [], "attempts that were spent");
    assert.deepEqual(truth.invalid, []);
    const most = wasted + this.said("circuit_half_open").length;
    assert.ok(this.wasted().length <= most, `${this.wasted().length} registrations were wasted, of ${truth.registered.size}; ${most} may be`);
    return truth;
  }

  async stop() {
    for (const program of this.programs) await program.stop("SIGKILL");
    for (const program of this.helpers) await program.stop("SIGKILL");
    await super.stop();
  }
}

// A deployment that ends with the test.
export function outage(t, options) {
  const d = new Outage(options);
  t.after(() => d.stop());
  return d;
}

// AWS in a storm whose queue is SQS or whose ledger is DynamoDB: the stand-ins for both, and one that gives the programs
// credentials as ECS does, for a short life. All services judge signatures by these, also the one for Lambda MicroVMs. SQS and
// DynamoDB are never restarted: theirs are no machines that we could lose, and their stand-ins keep all in memory.
import path from "node:path";
import { EMULATORS } from "../../fakes/emulators/emulators.mjs";
import { lines } from "./verdict.mjs";

const REALM = "storm"; // what is issued in it is accepted by all that share it
const LIFE_S = 60;
const TOKEN = "the-task's-own";
const REGION = "us-east-1";
// Refusals that only keys explain, and those that nothing explains but a wrong signature.
const OF_KEYS = /^(ExpiredToken|UnrecognizedClient|InvalidClientTokenId)/;
const OF_SIGNATURES = /Signature|MissingAuthentication/;

export class Aws {
  // start(name, args): starts a stand-in, and resolves to its address.
  constructor({ start, call, dir, seed, calm, queue, ledger, emulator, lanes }) {
    Object.assign(this, { start, call, dir, seed, calm, emulator, lanes, with: { sqs: queue === "sqs", dynamodb: ledger === "dynamodb" }, urls: {} });
  }

  log(name) { return path.join(this.dir, `${name}.jsonl`); }

  // What a stand-in that judges signatures is told.
  judging() { return ["--realm", REALM, "--region", REGION]; }

  // What the stand-in stands before, with --emulator: it only judges keys and injects faults then.
  behind(service) { return EMULATORS[this.emulator]?.services.includes(service) ? ["--emulator", this.emulator] : []; }

  async open() {
    const one = (name, ...args) => this.start(name, ["--log", this.log(name), "--seed", String(this.seed), ...this.judging(), ...args]);
    this.urls.aws = await one("aws", "--credential-life-s", String(LIFE_S), "--container-token", TOKEN);
    if (this.with.sqs) {
      const queues = this.lanes.flatMap((lane) => [lane, `${lane}-dead`]);
      this.urls.sqs = await one("sqs", ...queues.flatMap((name) => ["--queue", name]), ...this.behind("sqs"));
    }
    if (this.with.dynamodb) this.urls.dynamodb = await one("dynamodb", "--read-lag-ms", this.calm ? "0" : "200", ...this.behind("dynamodb"));
  }

  // For the daemons, in the place of fixed keys.
  environment() {
    return { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${this.urls.aws}/v2/credentials/task`, AWS_CONTAINER_AUTHORIZATION_TOKEN: TOKEN,
      AWS_REGION: REGION, AWS_EC2_METADATA_DISABLED: "true", AWS_CONFIG_FILE: "/dev/null", AWS_SHARED_CREDENTIALS_FILE: "/dev/null" };
  }

  store(kind, prefix) {
    const at = `region=${REGION}&endpoint=${encodeURIComponent(this.urls[kind])}`;
    return kind === "sqs" ? `sqs://${prefix}?${at}&poll_wait=2s&timeout=2s` : `dynamodb://mayfly-storm?${at}&prefix=${prefix}&create=1&timeout=4s`;
  }

  // A key of its own for the storm.
  async credentials() {
    const response = await fetch(`${this.urls.aws}/v2/credentials/task`, { headers: { authorization: TOKEN } });
    const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken } = await response.json();
    return { accessKeyId, secretAccessKey, sessionToken };
  }

  fake(name, method, route, body) { return this.call(this.urls[name], method, `/_fake/${route}`, body); }

  async calmDown() {
    for (const name of Object.keys(this.urls)) await this.fake(name, "DELETE", "faults");
  }

  // Ends all keys that were issued and live, for every service at once; the programs only learn it from the next refusal.
  async endKeys(services, as) {
    const keys = (await this.fake("aws", "GET", "keys")).filter((key) => key.expires_ms > Date.now());
    for (const url of services) {
      await Promise.all(keys.map(({ access_key_id: id }) => this.call(url, "POST", `/_fake/keys/${id}/revoke`, { as })));
    }
    return keys.length;
  }

  // From the stand-ins' logs: how often keys were given and refused, what each service refused, and what was signed wrongly.
  async verdict(providerLog) {
    const told = { credentials_given: 0, refused_keys: 0, badly_signed: 0 };
    const logs = { ...Object.fromEntries(Object.keys(this.urls).map((name) => [name, this.log(name)])), lambda: providerLog };
    for (const [name, file] of Object.entries(logs)) {
      const refused = {};
      for await (const e of lines(file)) {
        if (e.event === "key_issued") told.credentials_given += 1;
        if (e.event !== "request" || !e.error) continue;
        if (OF_KEYS.test(e.error)) told.refused_keys += 1;
        else if (OF_SIGNATURES.test(e.error)) told.badly_signed += 1;
        refused[e.error] = (refused[e.error] ?? 0) + 1;
      }
      if (name !== "lambda") told[`${name}_refused`] = refused;
    }
    return { ...told, ...(this.left && { sqs_left: this.left }) };
  }

  // Messages that nobody took yet, and those that were buried.
  async count() {
    if (!this.with.sqs) return;
    this.left = { waiting: 0, dead: 0 };
    for (const q of await this.fake("sqs", "GET", "queues")) this.left[q.name.endsWith("-dead") ? "dead" : "waiting"] += q.ready + q.in_flight + q.delayed;
  }
}

// A storm of conditions that last (conditions.mjs): its jobs, the one condition after the other, and what is measured of them. All times
// on the command line are those of a fleet with default settings; one factor divides them (scale.mjs).
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import path from "node:path";
import net from "node:net";
import { Gate } from "../../lib/gate.mjs";
import { sleep } from "../../lib/wait.mjs";
import { conditionOf, fits, warnings, waysOf } from "./conditions.mjs";
import { Random } from "./random.mjs";
import { SETUPS } from "./setups.mjs";
import { judgeTrouble } from "./trouble.mjs";
import { entries } from "./verdict.mjs";

const TENANTS = 10;
const SECONDS = { "ledger-lost": 120, "store-emptied": 120, "store-restored": 120, lag: 300, "permission-lost": 600, "class-gone": 120, "host-gone": 600, "tenant-refused": 600, "target-gone": 600 };
const SLOTS_FREE_S = 480;
// A reaper that finds many VMs without rows holds them for 15 minutes, and then looks twice.
const QUIET_S = 22 * 60;
const PAUSE_S = 60; // between two conditions
const text = { type: "string" };
const flag = { type: "boolean", default: false };

const run = promisify(execFile);
const usage = (message) => { console.error(`storm: ${message}`); process.exit(2); };

// The conditions that the command line names, or null; each {kind, ms, …} in unscaled times.
export function conditionsOf(values, { queue, ledger }) {
  const possible = (kind) => fits(kind, { queue, ledger });
  const named = [
    ...(values.outage ?? []).map((of) => `outage-${of}`), ...(values.brownout ? [`brownout-${values.brownout}`] : []), ...(values["failover-loss"] ? ["failover-loss"] : []),
    ...(values.lag ? ["lag"] : []), ...(values["tenant-refused"] ? ["tenant-refused"] : []), ...(values["permission-lost"] ? ["permission-lost"] : []), ...(values["ledger-lost"] ? ["ledger-lost"] : []),
    ...(values.vanish ? ["vanish"] : []), ...(values["store-emptied"] ? ["store-emptied"] : []), ...(values["store-restored"] ? ["store-restored"] : []),
    ...Object.keys(SETUPS).filter((kind) => values[kind]),
  ];
  const mixed = ["outage-github", "outage-aws", "outage-ledger", "outage-queue", "brownout-dynamodb", "brownout-redis", "failover-loss", "lag", "tenant-refused", "permission-lost", possible("store-emptied") ? "store-emptied" : "ledger-lost", "vanish"];
  const all = [...new Set([...mixed, "ledger-lost", "store-emptied", "store-restored", ...Object.keys(SETUPS)])];
  const kinds = values.mixed ? shuffled(mixed.filter((kind) => possible(kind) && !values.without?.includes(kind)), Number(values.seed)) : named;
  if (kinds.length === 0) return null;
  const wrong = kinds.find((kind) => !all.includes(kind) || !possible(kind));
  if (wrong) usage(`${wrong} is none of ${all.join(", ")}, or not one of these stores`);
  const ways = (kind) => waysOf(kind, { queue, ledger });
  const outage = kinds.find((kind) => values.how && ways(kind).length && !ways(kind).includes(values.how));
  if (outage) usage(`--how of ${outage} is one of ${ways(outage).join(", ")}`);
  return kinds.map((kind) => ({
    kind, ms: (kind === "failover-loss" ? Number(values["failover-loss"] ?? 7000) : 1000 * Number(values.seconds ?? SECONDS[kind] ?? 180)),
    ...(ways(kind).length && { how: values.how ?? ways(kind)[0] }), ...(kind === "lag" && { lag: Number(values.lag ?? 30000) }),
    ...(kind === "vanish" && { percent: Number(values.vanish ?? 10), untraced: Number(values.untraced ?? 0) }),
    ...(kind === "tenant-refused" && { refused: Number(values["tenant-refused"] ?? 3) }),
  }));
}

// In another order with each seed, so that each condition meets what others leave behind.
function shuffled(kinds, seed) {
  const random = new Random(seed);
  const left = [...kinds];
  return kinds.map(() => left.splice(Math.floor(random.next() * left.length), 1)[0]);
}

export class Lasting {
  static OPTIONS = { outage: { ...text, multiple: true }, how: text, without: { ...text, multiple: true }, brownout: text, "failover-loss": text, lag: text, "tenant-refused": text, "permission-lost": flag,
    "ledger-lost": flag, vanish: text, untraced: text, "store-emptied": flag, "store-restored": flag, ...Object.fromEntries(Object.keys(SETUPS).map((kind) => [kind, flag])), previous: text, mixed: flag, seconds: text, scale: { ...text, default: "10" } };

  constructor(storm, conditions) {
    const scaled = (c) => ({ ...c, ms: c.ms / storm.scale, ...(c.lag && { lag: c.lag / storm.scale }) });
    Object.assign(this, { storm, conditions: conditions.map(scaled), seconds: new Map(), slotsHeld: null });
    const refused = conditions.find((c) => c.refused)?.refused ?? 0;
    this.tenants = refused ? Array.from({ length: TENANTS }, (_, i) => `acme/tenant-${i}`) : [];
    for (const c of this.conditions) if (c.refused) c.tenants = this.tenants.slice(0, c.refused);
    // How long a VM may have to be busy: through each condition.
    this.longest = Math.max(...this.conditions.map((c) => c.ms * (SETUPS[c.kind]?.longestShare ?? 1))) / 1000;
    // From the first condition's begin to the last one's end.
    this.spanS = this.conditions.reduce((sum, c) => sum + c.ms / 1000 + PAUSE_S / storm.scale, -PAUSE_S / storm.scale);
    this.quietWithinS = 60 + QUIET_S / storm.scale;
    this.setups = conditions.map((c) => SETUPS[c.kind]).filter(Boolean);
    this.has = (kind) => conditions.some((c) => c.kind === kind);
  }

  // Redis is reached through gates, one for each use of it; a replica stands by if it is to take over.
  async besideRedis() {
    const { storm } = this;
    storm.gates = {};
    for (const name of ["queue", "ledger"]) {
      const socket = path.join(storm.dir, `${name}.gate`);
      storm.gates[name] = await new Gate({ to: { path: storm.redis.socket }, at: { path: socket } }).listen();
    }
    if (!this.has("failover-loss")) return;
    const port = await freePort();
    await run("redis-cli", ["-s", storm.redis.socket, "CONFIG", "SET", "port", String(port)]);
    storm.replica = await storm.redisServer("replica", "--replicaof", `127.0.0.1 ${port}`);
  }

  socket(name) { return path.join(this.storm.dir, `${name}.gate`); }

  // The ledger that is to be lost is not in the queue's database.
  database(name) { return name === "ledger" && this.has("ledger-lost") ? "&db=1" : ""; }

  // Further jobs, of the setups (setups.mjs).
  get groups() { return this.setups.filter((setup) => setup.jobs).map((setup) => setup.jobs(this.storm)); }

  async make(random, count, seconds) {
    const { storm, groups } = this;
    const group = groups.length && random.next() < 0.4 ? random.pick(groups) : null;
    const repo = this.tenants.length ? random.pick(this.tenants) : `${random.pick(storm.organizations)}/${random.pick(["app", "site", "tools"])}`;
    const made = await storm.github("POST", "/_fake/jobs", { repo, labels: group?.labels ?? ["self-hosted", "microvm"], command: `sleep ${seconds.toFixed(2)}`, count });
    for (const { id } of made) this.seconds.set(id, seconds);
  }

  // Half of the cap is busy through the first condition; of the others most wait at its beginning, and the rest comes while it lasts.
  async run(random) {
    const { storm } = this;
    if (this.conditions[0].kind === "vanish") await this.begin(this.conditions[0]); // of all webhooks, from the first one on
    const long = this.conditions.every((c) => c.tenants) ? 0 : Math.floor(storm.cap / 2);
    for (let i = 0; i < long; i++) await this.make(random, 1, random.between(0.5, 1) * this.longest);
    const early = Math.floor((storm.jobs - long) * 0.6);
    const short = () => random.between(0.3, 1.2);
    for (let left = early; left > 0; left -= 5) await this.make(random, Math.min(left, 5), short());
    const after = this.setups.flatMap((setup) => setup.after?.(storm) ?? []); // so many jobs once all is over, in so long a time
    const rest = this.trickle(random, storm.jobs - long - early - after.reduce((sum, { jobs }) => sum + jobs, 0), short);
    await storm.github("GET", `/_fake/wait?jobs_completed=${Math.floor(early / 10)}&jobs_in_progress=${long}&timeout=60`);
    for (const [i, c] of this.conditions.entries()) {
      if (i > 0) await sleep(1000 * PAUSE_S / storm.scale);
      await this.apply(c);
    }
    await rest;
    for (const { jobs, ms } of after) {
      for (let left = jobs; left > 0 && !storm.over; left--, await sleep(ms / jobs)) await this.make(random, 1, short());
    }
  }

  // Until most of the last condition is over, and so few at a time that each condition meets jobs of all tenants.
  async trickle(random, count, short) {
    const span = 1000 * this.spanS - 0.2 * this.conditions.at(-1).ms;
    const group = Math.ceil(count / 200);
    for (let left = count; left > 0 && !this.storm.over; left -= group) {
      await sleep(span / Math.ceil(count / group));
      await this.make(random, Math.min(left, group), short());
    }
  }

  async begin(c) {
    const { storm } = this;
    c.starting = await this.launchesInFlight();
    storm.note(`${c.kind} begins, ${c.starting} launches in flight`);
    await conditionOf(storm, c).begin(storm, c);
    c.from = Date.now();
  }

  async apply(c) {
    const { storm } = this;
    const condition = conditionOf(storm, c);
    if (!c.from) await this.begin(c);
    c.starting = Math.max(c.starting, /ledger|queue|brownout|failover/.test(c.kind) ? 0 : await this.launchesInFlight());
    for (const end = Date.now() + c.ms; Date.now() < end && !storm.interrupted;) await sleep(Math.min(200, Math.max(0, end - Date.now())));
    c.to = Date.now();
    c.failed = await condition.failed(storm, c);
    await condition.end(storm, c);
    c.failed = c.kind === "failover-loss" ? c.lost : Math.max(c.failed, await condition.failed(storm, c));
    c.warnings = warnings(storm, c);
    storm.note(`${c.kind} ends`);
  }

  // VMs that the ledger knows and the provider does not yet.
  async launchesInFlight() {
    const vms = await Promise.all(this.storm.files.map((file) => this.ctlOf(file, "vms")));
    return vms.includes(null) ? this.storm.cap : vms.flat().filter((vm) => ["reserved", "registered"].includes(vm.state)).length;
  }

  ctl(...args) { return this.ctlOf(this.storm.configFile, ...args); }

  async ctlOf(file, ...args) {
    const { storm } = this;
    try {
      const { stdout } = await run(storm.tool("deploy/ctl/mayflyctl"), ["--config", file, "--json", ...args], { timeout: 20000 });
      return JSON.parse(stdout);
    } catch (error) {
      storm.note(`mayflyctl ${args.join(" ")}: ${error.message}`);
      return null;
    }
  }

  // Once all is quiet: who holds a slot. An unconfirmed launch may hold one for `startup_timeout`, and is then looked at twice.
  async measure() {
    const held = async () => {
      const all = await Promise.all(this.storm.files.map((file) => this.ctlOf(file, "status")));
      return all.includes(null) ? null : all.reduce((sum, { fleet }) => sum + fleet.slots_used, 0);
    };
    for (const end = Date.now() + 1000 * SLOTS_FREE_S / this.storm.scale; this.slotsHeld !== 0 && Date.now() < end; await sleep(500)) this.slotsHeld = await held();
  }

  verdict() {
    const { storm } = this;
    const programs = storm.daemons.map((program) => ({ lines: () => entries(program.log) }));
    const happened = this.conditions.filter((c) => c.to);
    if (happened.length < this.conditions.length) return { verdict: {}, failed: ["conditions"], details: {} };
    return judgeTrouble({ githubLog: storm.githubLog, providerLog: storm.providerLog, programs, conditions: happened, cap: storm.cap, rate: storm.rate, factor: storm.scale, slowness: storm.slowness, seconds: this.seconds, groups: this.groups,
      slotsHeld: this.slotsHeld });
  }

  stop() { for (const gate of Object.values(this.storm.gates ?? {})) gate.stop(); }
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => { const { port } = server.address(); server.close(() => resolve(port)); });
  });
}

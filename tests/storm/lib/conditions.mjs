// Conditions that last: what refuses, is away, lags or has forgotten, from one moment to another. Each has begin(s, c) and end(s, c), where
// `c` is {kind, ms, …}, and failed(s, c): how many calls it refused or answered falsely, without which it did not happen. `s` is the storm.
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { SETUPS } from "./setups.mjs";
import { AWAY, WAYS } from "./targets.mjs";

const run = promisify(execFile);
const RUNNER_CALLS = ["generate-jitconfig", "list-runners", "get-runner", "delete-runner"];

// Faults of a stand-in that have the condition's name.
const faults = (call, list) => ({
  begin: (s, c) => call(s, "POST", "faults", list(s, c).map((fault) => ({ name: c.kind, ...fault }))),
  end: (s, c) => call(s, "DELETE", `faults?name=${c.kind}`),
  failed: async (s, c) => (await call(s, "GET", "faults/used"))[c.kind] ?? 0,
});
const github = (s, method, route, body) => s.github(method, `/_fake/${route}`, body);
const provider = (s, method, route, body) => s.provider(method, `/_fake/${route}`, body);
const aws = (name) => (s, method, route, body) => s.aws.fake(name, method, route, body);

// How an API is away; the first is the usual one.
const OF_GITHUB = {
  unavailable: { preset: "unavailable" }, "bad-gateway": { preset: "bad-gateway" }, hang: { hang: true }, dropped: { drop: "before" },
  "bad-credentials": { preset: "bad-credentials" },
};
const away = (name) => faults(name === "lambda" ? provider : aws(name), (_, c) => [{ operation: "*", ...AWAY[c.how] }]);

// A gate before the store: the connections are cut and refused, or nothing passes.
const gate = (which) => ({
  begin: async (s, c) => (c.how === "hang" ? s.gates[which].hang() : s.gates[which].shut()),
  end: async (s) => s.gates[which].open(),
  failed: async (s) => s.gates[which].refused + s.gates[which].hung,
});

// Somebody holds SQLite's write lock: reads work, and no write does.
const locked = (which) => ({
  begin: async (s, c) => {
    c.holder = spawn("sqlite3", [path.join(s.dir, `${which}.db`)], { stdio: ["pipe", "pipe", "inherit"] });
    const told = new Promise((resolve) => { c.holder.stdout.once("data", resolve); });
    c.holder.stdin.write(".timeout 20000\nBEGIN IMMEDIATE;\nSELECT 'locked';\n");
    await told;
  },
  end: async (s, c) => {
    const gone = new Promise((resolve) => { c.holder.once("exit", resolve); });
    c.holder.stdin.end("ROLLBACK;\n.quit\n");
    await gone;
  },
  failed: async (s, c) => logged(s, c, (e) => /locked|busy/i.test(e.error ?? "")),
});

// Warnings and errors of our programs while it lasted.
function logged(s, c, accepts) {
  let count = 0;
  for (const program of s.daemons) {
    for (const line of fs.readFileSync(program.log, "utf8").split("\n")) {
      if (!line.startsWith("{")) continue;
      let entry;
      try { entry = JSON.parse(line); } catch { continue; }
      const at = Date.parse(entry.ts);
      if (["warn", "error"].includes(entry.level) && at >= c.from && at <= c.to + 1000 && accepts(entry)) count += 1;
    }
  }
  return count;
}
export const warnings = (s, c) => logged(s, c, () => true);

const frozen = {
  begin: async (s) => { for (const n of s.kafka.numbers) s.kafka.freeze(n); },
  end: async (s) => { for (const n of s.kafka.numbers) s.kafka.resume(n); },
  failed: async (s, c) => logged(s, c, (e) => /kafka|broker/i.test(`${e.msg} ${e.error ?? ""}`)),
};

const cli = async (server, ...args) => (await run("redis-cli", ["-s", server.socket, ...args], { timeout: 10000 })).stdout;
const refusedWrites = async (s) => Number(/errorstat_NOREPLICAS:count=(\d+)/.exec(await cli(s.redis, "INFO", "errorstats"))?.[1] ?? 0);
const offset = async (server) => Number(/master_repl_offset:(\d+)/.exec(await cli(server, "INFO", "replication"))[1]);

// Redis as during a fail-over whose replicas are missing (it has one at most): each write is refused, reads work.
const readOnlyRedis = {
  begin: async (s) => cli(s.redis, "CONFIG", "SET", "min-replicas-to-write", "2"),
  end: async (s) => cli(s.redis, "CONFIG", "SET", "min-replicas-to-write", "0"),
  failed: async (s) => refusedWrites(s),
};

const WRITES = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"];

// The replica is promoted and everybody goes on writing to the old primary for that long; then it dies, and what it alone had is lost.
const failover = {
  begin: async (s, c) => {
    // The primary first: it goes on meanwhile, and each question takes a process.
    const caughtUp = async () => { const primary = await offset(s.redis); return await offset(s.replica) >= primary; };
    await until("the replica has caught up", caughtUp, { seconds: 20 });
    c.promoted = await offset(s.replica);
    await cli(s.replica, "REPLICAOF", "NO", "ONE");
  },
  end: async (s, c) => {
    c.lost = await offset(s.redis) - c.promoted;
    await s.redis.stop("SIGKILL");
    s.gates.queue.point({ path: s.replica.socket });
    s.gates.ledger.point({ path: s.replica.socket });
    s.redis = s.replica;
  },
  failed: async (s, c) => c.lost,
};

const lag = {
  begin: (s, c) => provider(s, "POST", "config", { list_lag_ms: c.lag, get_lag_ms: c.lag }),
  end: (s) => provider(s, "POST", "config", { list_lag_ms: 0, get_lag_ms: 0 }),
  failed: async (s) => (await provider(s, "GET", "state")).stale_reads,
};

// All rows are gone, at once, while everything runs; or all messages too.
const forgetful = (empty) => ({
  begin: async (s, c) => { c.rows = await empty(s); },
  end: async () => {},
  failed: async (s, c) => c.rows,
});

// Where both are in one Redis, all is gone in one moment.
async function emptied(s) {
  if (s.queue !== "redis" || s.ledger !== "redis") return await FORGET[s.queue](s, "queue") + await FORGET[s.ledger](s, "ledger");
  const keys = Number(await cli(s.redis, "DBSIZE"));
  await cli(s.redis, "FLUSHALL");
  return keys;
}

const FORGET = {
  redis: async (s, which) => {
    const at = ["-n", which === "ledger" && s.lasting.has("ledger-lost") ? "1" : "0"];
    const rows = Number(await cli(s.redis, ...at, "DBSIZE"));
    await cli(s.redis, ...at, "FLUSHDB");
    return rows;
  },
  sqlite: async (s, which) => {
    const sql = async (text) => (await run("sqlite3", ["-cmd", ".timeout 20000", path.join(s.dir, `${which}.db`), text], { timeout: 30000 })).stdout;
    const tables = (await sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")).trim().split("\n").filter((name) => !/meta|version|schema/.test(name));
    const deletes = tables.map((name) => `DELETE FROM "${name}"; SELECT changes();`).join(" ");
    // The triggers, which let no row with a slot be deleted, are away meanwhile.
    const triggers = JSON.parse(await sql("SELECT json_group_array(json_object('name', name, 'sql', sql)) FROM sqlite_master WHERE type = 'trigger'"));
    const drop = triggers.map(({ name }) => `DROP TRIGGER "${name}";`).join(" ");
    const make = triggers.map((trigger) => `${trigger.sql};`).join("\n");
    return (await sql(`BEGIN IMMEDIATE; ${drop} ${deletes} ${make} COMMIT;`)).trim().split("\n").reduce((sum, n) => sum + Number(n), 0);
  },
  dynamodb: async (s) => (await aws("dynamodb")(s, "POST", "empty", {})).items,
  sqs: async (s) => (await aws("sqs")(s, "POST", "empty", {})).messages,
};

// Both SQLite files are what a backup had of them when the condition began, as after a restore by the documentation: all programs stop, the
// files are replaced, all start, and the jobs of the time between are read from GitHub.
const restored = {
  begin: async (s, c) => {
    c.copy = path.join(s.dir, "backup");
    c.had = (await github(s, "GET", "jobs")).length;
    await run(s.tool("deploy/ctl/mayflyctl"), ["--config", s.configFile, "backup", c.copy], { timeout: 30000 });
  },
  end: async (s, c) => {
    c.lost = (await github(s, "GET", "jobs")).length - c.had;
    for (const program of s.daemons) await program.stop("SIGTERM");
    for (const store of ["queue", "ledger"]) {
      const file = path.join(s.dir, `${store}.db`);
      for (const beside of ["-wal", "-shm"]) fs.rmSync(file + beside, { force: true });
      fs.copyFileSync(path.join(c.copy, `${store}.db`), file);
    }
    await run(s.tool("deploy/ctl/mayflyctl"), ["--config", s.configFile, "recover", "--since", "2h"], { timeout: 30000 });
    for (const program of s.daemons) await s.startDaemon(program);
  },
  failed: async (s, c) => c.lost ?? 0,
};

// Webhooks that GitHub cannot deliver, which its log says; of each hundred of these `untraced` are not in the log either.
const vanishing = ({ percent, untraced }) => [
  { webhook: "drop", recorded: false, probability: (percent / 100) * (untraced / 100) },
  { webhook: "drop", probability: percent / 100 },
];

const STORES = { sqlite: locked, redis: gate, sqs: () => away("sqs"), dynamodb: () => away("dynamodb"), kafka: () => frozen };

// Kinds without a place for all stores are in NEEDS.
export function conditionOf(s, { kind }) {
  switch (kind) {
    case "outage-github": return faults(github, (_, c) => [{ operation: "*", ...OF_GITHUB[c.how] }]);
    case "outage-aws": return away("lambda");
    case "outage-ledger": return STORES[s.ledger]("ledger");
    case "outage-queue": return STORES[s.queue]("queue");
    case "brownout-dynamodb": return faults(aws("dynamodb"), () => WRITES.map((operation) => ({ operation, preset: "internal" })));
    case "brownout-redis": return readOnlyRedis;
    case "failover-loss": return failover;
    case "lag": return lag;
    case "tenant-refused": return faults(github, (_, c) => c.tenants.map((repository) => ({ operation: "generate-jitconfig", repository, preset: "runners-disabled" })));
    case "permission-lost": return faults(github, () => RUNNER_CALLS.map((operation) => ({ operation, preset: /^(get|delete)/.test(operation) ? "hidden" : "no-permission" })));
    case "ledger-lost": return forgetful((storm) => FORGET[storm.ledger](storm, "ledger"));
    case "store-emptied": return forgetful(emptied);
    case "store-restored": return restored;
    case "vanish": return faults(github, (_, c) => vanishing(c));
    default:
      if (SETUPS[kind]) return SETUPS[kind];
      throw new RangeError(`there is no condition ${kind}`);
  }
}

// The ways in which an outage of this can be, the usual one first.
export function waysOf(kind, { queue, ledger }) {
  if (kind === "class-gone") return ["reload", "restart"];
  if (kind === "target-gone") return Object.keys(WAYS);
  const away = { "outage-github": "github", "outage-aws": "lambda", "outage-queue": queue, "outage-ledger": ledger }[kind];
  const ways = { github: Object.keys(OF_GITHUB), lambda: Object.keys(AWAY), sqs: Object.keys(AWAY), dynamodb: Object.keys(AWAY), redis: ["dropped", "hang"] };
  return ways[away] ?? [];
}
// Whether these stores can have the condition. Kafka keeps what was written to it.
const NEEDS = {
  "brownout-dynamodb": ({ ledger }) => ledger === "dynamodb",
  "brownout-redis": ({ queue, ledger }) => [queue, ledger].includes("redis"),
  "failover-loss": ({ queue, ledger }) => [queue, ledger].includes("redis"),
  "store-emptied": ({ queue }) => queue !== "kafka",
  "store-restored": ({ queue, ledger }) => queue === "sqlite" && ledger === "sqlite",
};
export const fits = (kind, stores) => NEEDS[kind]?.(stores) ?? true;

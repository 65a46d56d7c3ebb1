// mayflyctl makes nothing while it looks: no file for a mistyped path, no key in a Redis, no files that lock the daemons out.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { config, ctl, dir, makeStores, mayflyctl, plainEnv, writeConfig } from "./setup.mjs";

const NOBODY = 65534;
const LOOKING = [["status"], ["vms"], ["workers"], ["hosts"], ["dlq", "list"], ["why", "1"], ["dlq", "redrive", "all"], ["recover"], ["class", "retire", "small"]];

test("a_mistyped_path_is_an_error_and_makes_no_file", () => {
  const absent = path.join(dir, "absent");
  const file = path.join(dir, "mistyped.yaml");
  writeConfig({ queue: `sqlite://${absent}/queue.db`, ledger: `sqlite://${absent}/ledger.db` }, file);
  for (const args of LOOKING) {
    const r = ctl(["--config", file, ...args]);
    assert.equal(r.status, 1, args.join(" "));
    assert.match(r.stderr, /there is no (queue|ledger) file .*absent\/(queue|ledger)\.db: its path in the configuration is wrong, or no daemon has run with it yet/);
    assert.ok(!fs.existsSync(absent), args.join(" "));
  }
  const json = JSON.parse(ctl(["--config", file, "status", "--json"]).stderr);
  assert.equal(json.error_class, "not_found");
  assert.equal(json.subject, "queue");
});

test("another_program's_file_is_left_as_it_is", () => {
  const other = path.join(dir, "empty.db");
  fs.writeFileSync(other, "");
  const file = path.join(dir, "empty.yaml");
  writeConfig({ queue: `sqlite://${other}` }, file);
  const r = ctl(["--config", file, "status"]);
  assert.equal(r.status, 1);
  assert.match(r.stderr, /has version 0, and this program reads/);
  assert.equal(fs.statSync(other).size, 0);
});

test("looking_leaves_nothing_beside_the_files", () => {
  writeConfig();
  makeStores();
  for (const name of ["queue.db-turn", "ledger.db-turn"]) fs.rmSync(path.join(dir, name), { force: true });
  const before = fs.readdirSync(dir).sort();
  for (const args of LOOKING.filter((a) => !["why", "class"].includes(a[0]))) {
    const r = ctl(["--config", config, ...args]);
    assert.equal(r.status, 0, `${args.join(" ")}: ${r.stderr}`);
  }
  assert.deepEqual(fs.readdirSync(dir).sort(), before);
});

// A server that says which keys were written: none may be.
test("an_empty_Redis_stays_empty", async (t) => {
  if (spawnSync("redis-server", ["--version"]).status !== 0) return t.skip("no redis-server here");
  const port = await new Promise((resolve) => { const s = net.createServer().listen(0, "127.0.0.1", () => { const p = s.address().port; s.close(() => resolve(p)); }); });
  const server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir], { stdio: ["ignore", "pipe", "ignore"] });
  t.after(async () => { server.kill("SIGKILL"); await once(server, "exit"); });
  for await (const line of server.stdout) if (String(line).includes("Ready to accept")) break;
  const file = path.join(dir, "redis.yaml");
  writeConfig({ queue: `redis://127.0.0.1:${port}`, ledger: `redis://127.0.0.1:${port}` }, file);
  for (const args of LOOKING) {
    const r = ctl(["--config", file, ...args]);
    assert.equal(r.status, 1, args.join(" "));
    assert.match(r.stderr, /there is no (queue|ledger) of .* on Redis at 127\.0\.0\.1:\d+: its prefix or database in the configuration is wrong, or no daemon has run with it yet/);
  }
  const keys = spawnSync("redis-cli", ["-p", String(port), "DBSIZE"], { encoding: "utf8" });
  assert.equal(keys.stdout.trim(), "0");
});

test("another_user_is_told_whose_file_it_is_and_root_leaves_the_files_to_their_owner", async (t) => {
  if (process.getuid() !== 0) return t.skip("only root can be other users");
  const shared = fs.mkdtempSync(path.join(dir, "users-"));
  fs.chmodSync(dir, 0o755);
  fs.chmodSync(shared, 0o777);
  const file = path.join(shared, "mayfly.yaml");
  writeConfig({ queue: `sqlite://${shared}/queue.db`, ledger: `sqlite://${shared}/ledger.db` }, file);
  fs.chmodSync(file, 0o644);
  const nobody = ["setpriv", "--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups"];
  const made = makeStores(file, nobody);
  if (!fs.existsSync(path.join(shared, "queue.db"))) return t.skip(`the build is closed to others: ${made.stderr}`);
  assert.equal(fs.statSync(path.join(shared, "queue.db")).uid, NOBODY);

  // Root, while the files are open: what SQLite makes beside them is their owner's.
  const watch = spawn(mayflyctl, ["--config", file, "status", "--watch=200ms", "--json"], { env: plainEnv, stdio: ["ignore", "pipe", "inherit"] });
  await once(watch.stdout, "data");
  for (const name of ["queue.db-wal", "queue.db-shm", "ledger.db-wal", "ledger.db-shm"]) assert.equal(fs.statSync(path.join(shared, name)).uid, NOBODY, name);
  assert.equal(spawnSync(nobody[0], [...nobody.slice(1), mayflyctl, "--config", file, "status"], { env: plainEnv }).status, 0); // its owner is not locked out
  watch.kill("SIGKILL"); // even of one that dies
  await once(watch, "exit");
  for (const name of fs.readdirSync(shared)) if (name.includes(".db")) assert.equal(fs.statSync(path.join(shared, name)).uid, NOBODY, name);

  // Another user, who may not read the directory, gets an error that names its owner.
  fs.chmodSync(path.join(shared, "queue.db"), 0o666);
  const other = spawnSync("setpriv", ["--reuid", "65533", "--regid", "65533", "--clear-groups", mayflyctl, "--config", file, "status"], { encoding: "utf8", env: plainEnv });
  assert.equal(other.status, 1);
  assert.match(other.stderr, /belongs to the user with id 65534, and this process runs as 65533: run it as the owner \(sudo -u\), or as root/);
});

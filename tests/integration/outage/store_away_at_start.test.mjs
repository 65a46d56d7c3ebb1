// The programs are started before their store: they wait for it, not ready, and then work. What a person must change ends them.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { outage } from "../lib/outage.mjs";

const NAMES = ["mayfly-ingress", "mayfly-worker", "mayfly-reaper"];

const ready = (port) => fetch(`http://127.0.0.1:${port}/readyz`);

test("programs_wait_for_their_store_and_warn_that_it_can_lose_jobs", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  const url = `redis://${d.dir}/redis.sock?timeout=1s`;
  d.writeConfig({ queue: url, ledger: url });
  const programs = NAMES.map((name) => d.start(name));
  for (const program of programs) {
    const { admin_port: port, error } = await program.waitFor("start_waits");
    assert.match(error, /redis\.sock/);
    const answer = await ready(port);
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /waiting: .*redis\.sock/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/metrics`)).status, 200);
  }
  const impatient = d.start("mayfly-worker");
  await impatient.waitFor("start_waits");
  assert.equal((await impatient.stop("SIGTERM")).code, 0, "it ends in order");
  await d.startRedis();
  for (const program of programs) {
    const { admin_port: port } = await program.waitFor("started");
    await until("it is ready", async () => (await ready(port)).status === 200);
    const warnings = program.events.filter((e) => e.msg === "store_durability_warning");
    assert.ok(warnings.some((e) => /appendonly is off/.test(e.warning)), `${program.name}: ${program.tail()}`);
    assert.deepEqual([...new Set(warnings.map((e) => e.store))], ["queue"], "a store that is both is named once");
  }
  const { port } = programs[0].events.find((e) => e.msg === "started");
  await d.fake("POST", "/_fake/webhook-url", { url: `http://127.0.0.1:${port}/webhook`, secret: d.secret });
  await d.queueJobs({ count: 4, command: "sleep 0.1" });
  await d.assertHealed(4);
});

test("what_only_a_person_can_change_ends_the_start", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  await d.startRedis("--requirepass", "another");
  d.writeConfig({ queue: `redis://:wrong@${d.dir}/redis.sock?timeout=1s`, ledger: `redis://:wrong@${d.dir}/redis.sock?timeout=1s` });
  for (const name of NAMES) {
    const program = d.start(name);
    const { error } = await program.waitFor("startup_failed");
    assert.match(error, /password/i);
    assert.equal((await program.exited).code, 1);
  }
});

test("a_ledger_apart_is_named_and_what_cannot_be_read_too", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  await d.startRedis();
  await d.redis("ACL", "SETUSER", "mayfly", "on", ">secret", "~*", "&*", "+@all", "-info", "-config");
  d.writeConfig({ queue: `sqlite://${d.dir}/queue.db`, ledger: `redis://mayfly:secret@${d.dir}/redis.sock?timeout=1s` });
  for (const name of ["mayfly-worker", "mayfly-reaper"]) {
    const program = d.start(name);
    await program.waitFor("started");
    const warnings = program.events.filter((e) => e.msg === "store_durability_warning");
    assert.ok(warnings.some((e) => e.store === "ledger" && /INFO is forbidden/.test(e.warning)));
    assert.ok(warnings.some((e) => e.store === "ledger" && /CONFIG is forbidden/.test(e.warning)));
  }
});

// Case (f): Redis at its `maxmemory`: what frees memory and slots goes on, and only what reserves and enqueues is refused.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("redis_without_memory_ends_what_runs_and_frees_its_slots", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  const url = await d.startRedis();
  await d.startPrograms({ queue: url, ledger: url, limits: { max_vms: 3 }, ingress: { spool: { path: `${d.dir}/spool.db` } } });
  await d.queueJobs({ count: 8, command: "sleep 1" });
  await until("the cap is busy", async () => (await d.jobs()).filter((job) => job.state === "in_progress").length === 3, { seconds: 30 });
  await d.redis("CONFIG", "SET", "maxmemory", "1"); // less than it needs for itself, so it stays full whatever ends
  await until("the three have ended", async () => (await d.jobs()).filter((job) => job.state === "completed").length >= 3, { seconds: 30 });
  await until("their slots are free", () => d.vms().length === 0, { seconds: 30, every_ms: 200 });
  await d.last(MINUTE_MS, async () => Number(/errorstat_OOM:count=(\d+)/.exec(await d.redis("INFO", "errorstats"))?.[1] ?? 0));
  assert.deepEqual(d.said("message_dead_lettered"), []);
  await d.redis("CONFIG", "SET", "maxmemory", "0");
  await d.assertHealed(8, { seconds: 90 });
});

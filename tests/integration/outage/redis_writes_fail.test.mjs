// Case (e): a Redis whose user may no longer write. Nothing can be reserved, and that is no job's fault.
import test from "node:test";
import assert from "node:assert/strict";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("redis_without_write_permission_for_a_minute_costs_time_alone", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  const url = await d.startRedis();
  await d.redis("ACL", "SETUSER", "mayfly", "on", ">pw123456", "~*", "&*", "+@all");
  await d.startPrograms({ ledger: url.replace("redis://", "redis://mayfly:pw123456@") });
  await d.redis("ACL", "SETUSER", "mayfly", "-@write");
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await d.last(MINUTE_MS, async () => Number(/errorstat_ERR:count=(\d+)/.exec(await d.redis("INFO", "errorstats"))?.[1] ?? 0)); // of a script's command
  assert.equal(d.log().filter((e) => e.event === "runner_registered").length, 0, "nothing could be reserved");
  await d.redis("ACL", "SETUSER", "mayfly", "+@all");
  await d.assertHealed(10, { seconds: 90 });
});

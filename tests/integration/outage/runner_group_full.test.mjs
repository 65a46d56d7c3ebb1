// Case (i): a runner group at its limit is capacity that is missing: 422, and no job's fault.
import test from "node:test";
import assert from "node:assert/strict";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("a_full_runner_group_costs_time_alone", async (t) => {
  const d = outage(t, { fakeArgs: ["--group-limit", "0"] });
  await d.startGitHub();
  await d.startPrograms();
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await d.last(3 * MINUTE_MS, () => d.log().filter((e) => e.event === "request" && e.operation === "generate-jitconfig" && e.status === 422).length);
  assert.equal(d.log().filter((e) => e.event === "runner_registered").length, 0);
  await d.fake("POST", "/_fake/config", { group_limit: 10000 });
  await d.assertHealed(10, { seconds: 90 });
});

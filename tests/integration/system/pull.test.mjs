// Intake without a public endpoint (github.pull): GitHub delivers to nowhere, no ingress runs, and the reaper reads the delivery log. Judged by
// the stand-in's own log: what became of each job, and what it cost in calls.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { calls, launchTimes, startPulling } from "../lib/pulling.mjs";

test("two_hundred_jobs_are_launched_within_seconds_and_for_few_calls", async (t) => {
  const d = await startPulling(t, { app: true, interval: "5s" });
  await d.startReaper();
  await d.queueJobs({ count: 200, command: "true" });
  await d.untilJobsEnd(200, { seconds: 180 });
  await until("all deliveries are pulled", () => calls(d).payloads >= calls(d).deliveries);
  const times = launchTimes(d);
  const cost = calls(d);
  const p50 = times[times.length >> 1];
  t.diagnostic(`queued to launched: p50 ${p50} ms, p95 ${times[times.length * 0.95 >> 0]} ms; ${JSON.stringify(cost)}`);
  assert.equal(cost.deliveries, 600);
  assert.ok(cost.above <= 0.3 * cost.deliveries, JSON.stringify(cost));
  assert.ok(cost.twice.length <= 1, `payloads fetched twice: ${cost.twice}`); // a new ledger asks for the name of the repository
  assert.ok(p50 < 5 * 8000, `p50 ${p50} ms`); // 8 s, on a machine with nothing else to do
});

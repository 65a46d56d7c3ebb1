// Case (d): the provider's API is away for three minutes. No registration is made while nothing can be launched.
import test from "node:test";
import assert from "node:assert/strict";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("aws_refusing_connections_for_3_minutes_costs_time_alone", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  await d.startLambda();
  await d.startPrograms();
  await d.call(d.lambdaUrl, "POST", "/faults", { name: "away", operation: "*", drop: "before" });
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  const refused = async () => (await d.call(d.lambdaUrl, "GET", "/faults/used")).away ?? 0;
  await d.last(1.5 * MINUTE_MS, refused);
  await d.queueJobs({ count: 5, command: "sleep 0.1" });
  await d.last(1.5 * MINUTE_MS, refused);
  assert.equal((await d.call(d.lambdaUrl, "GET", "/state")).launched, 0, "it was away");
  await d.call(d.lambdaUrl, "DELETE", "/faults?name=away");
  // Launches in flight: no more than the cap.
  await d.assertHealed(15, { seconds: 90, wasted: 10 });
  assert.equal((await d.call(d.lambdaUrl, "GET", "/state")).empty_ids, 0);
});

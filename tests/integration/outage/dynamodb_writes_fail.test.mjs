// Case (e): DynamoDB answers reads and refuses writes. Nothing can be reserved, and that is no job's fault.
import test from "node:test";
import assert from "node:assert/strict";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

const WRITES = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"];

test("dynamodb_refusing_writes_for_5_minutes_costs_time_alone", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  const ledger = await d.startDynamo();
  await d.startPrograms({ ledger });
  await d.call(d.dynamoUrl, "POST", "/faults", WRITES.map((operation) => ({ name: "writes", operation, preset: "internal" })));
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await d.last(5 * MINUTE_MS, async () => (await d.call(d.dynamoUrl, "GET", "/faults/used")).writes ?? 0);
  assert.equal(d.log().filter((e) => e.event === "runner_registered").length, 0, "nothing could be reserved");
  await d.call(d.dynamoUrl, "DELETE", "/faults?name=writes");
  await d.assertHealed(10, { seconds: 90 });
});

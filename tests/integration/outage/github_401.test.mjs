// Case (b): GitHub answers 401 to every call until somebody repairs the credentials.
import test from "node:test";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("credentials_that_are_refused_and_repaired_cost_time_alone", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  await d.startPrograms();
  await d.harm("refused", { operation: "*", preset: "bad-credentials" });
  await d.queueJobs({ count: 12, command: "sleep 0.1" });
  await d.last(3 * MINUTE_MS, () => d.harmed("refused"));
  await d.heal("refused");
  await d.assertHealed(12, { seconds: 90 });
});

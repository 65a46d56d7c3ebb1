// Case (g): self-hosted runners are switched off for one repository: 403 without a message. Its jobs wait, those of the others run.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("a_repository_that_refuses_runners_stops_itself_alone", async (t) => {
  const d = outage(t, { config: { github: { scope: "repository" } } });
  await d.startGitHub();
  await d.startPrograms();
  await d.harm("off", { operation: "generate-jitconfig", repository: "acme/closed", preset: "runners-disabled" });
  await d.queueJobs({ repo: "acme/closed", count: 6, command: "sleep 0.1" });
  await until("it was refused", async () => (await d.harmed("off")) > 0, { seconds: 30 });
  await d.queueJobs({ repo: "acme/open", count: 10, command: "sleep 0.1" });
  const ran = async () => (await d.jobs()).filter((job) => job.repo === "acme/open" && job.state === "completed").length;
  await until("the others have run", async () => (await ran()) === 10, { seconds: 30 });
  await d.last(3 * MINUTE_MS, () => d.harmed("off"));
  assert.deepEqual((await d.jobs()).filter((job) => job.repo === "acme/closed" && job.state !== "queued"), []);
  await d.heal("off");
  await d.assertHealed(16, { seconds: 90 });
});

// Case (h): the installation of one of two organizations is suspended: its jobs wait, those of the other run.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("a_suspended_installation_stops_itself_alone", async (t) => {
  const d = outage(t, { app: true });
  await d.startGitHub();
  await d.startPrograms();
  const suspend = (suspended) => d.fake("POST", "/_fake/config", { installations: [{ owner: "globex", suspended }] });
  await suspend(true);
  await d.queueJobs({ repo: "globex/closed", count: 6, command: "sleep 0.1" });
  const refused = () => d.log().filter((e) => e.event === "request" && e.operation === "access-token" && e.status === 403).length;
  await until("it was refused", () => refused() > 0, { seconds: 30 });
  await d.queueJobs({ repo: "acme/open", count: 10, command: "sleep 0.1" });
  await until("the others have run", async () => (await d.jobs()).filter((job) => job.repo === "acme/open" && job.state === "completed").length === 10, { seconds: 30 });
  await d.last(3 * MINUTE_MS, refused);
  assert.deepEqual((await d.jobs()).filter((job) => job.repo === "globex/closed" && job.state !== "queued"), []);
  await suspend(false);
  await d.assertHealed(16, { seconds: 90 });
});

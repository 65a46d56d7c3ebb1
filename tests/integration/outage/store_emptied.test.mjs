// Case (l): Redis is emptied, with the queue and the ledger in it, while jobs wait and run. GitHub alone knows which.
import test from "node:test";
import assert from "node:assert/strict";
import { judge } from "../lib/deployment.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";
import { until } from "../../lib/wait.mjs";

const FIRST = 10;

test("redis_emptied_with_a_hundred_jobs_loses_none", async (t) => {
  // The job lists of active repositories are not read meanwhile: what is found is found because the loss was noticed.
  const d = outage(t, { app: true, config: { reaper: { job_scan_interval: "1h" } } });
  await d.startGitHub();
  const url = await d.startRedis();
  await d.startPrograms({ queue: url, ledger: url });
  await d.queueJobs({ count: 50, command: "sleep 1" });
  await d.queueJobs({ count: 50, command: "sleep 1", repo: "acme/site" });
  await until("some have run", async () => (await d.jobs()).filter((job) => job.state === "completed").length >= FIRST);
  await d.redis("FLUSHALL");
  const emptiedAt = d.log().length;
  const waiting = (await d.jobs()).filter((job) => job.state === "queued").map((job) => job.id);
  assert.ok(waiting.length > 50, `${waiting.length} jobs wait`);
  await d.untilJobsEnd(100, { seconds: 120 });
  assert.deepEqual((await d.jobs()).filter((job) => job.conclusion !== "success").map((job) => job.id), [], "jobs that did not succeed");
  const truth = judge(d.log());
  assert.deepEqual(truth.ranTwice, []);
  assert.ok(truth.maxOnline <= 10, `${truth.maxOnline} runners at once: a cap was exceeded`);
  assert.ok(d.said("recovery_started").length >= 1);
  const recovered = new Set(d.said("job_recovered").map((e) => e.job_id));
  assert.ok(waiting.filter((id) => recovered.has(id)).length > 40, `${recovered.size} jobs were recovered`);
  // A call for each run and a few for each repository, and not again and again.
  const lists = d.log().slice(emptiedAt).filter((e) => e.event === "request" && ["list-runs", "list-run-jobs", "get-delivery"].includes(e.operation));
  assert.ok(lists.length <= 250, `${lists.length} calls`);
  await d.untilQuiet({ seconds: 120 });
});

test("jobs_whose_webhooks_left_no_trace_are_found", async (t) => {
  const d = outage(t, { app: true, config: { reaper: { job_scan_interval: `${6 * MINUTE_MS}ms` } } });
  await d.startGitHub();
  await d.startPrograms();
  await d.queueJobs({ command: "sleep 0.1" }); // the repository has had a job
  await d.untilJobsEnd(1);
  await d.harm("vanish", { webhook: "drop", action: "queued", recorded: false, times: 100 });
  const jobs = await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await d.untilJobsEnd(11, { seconds: 90 });
  const guids = d.log().filter((e) => e.event === "webhook" && e.action === "queued");
  assert.equal(guids.length, 1, "no delivery of the ten is in the log");
  // A VM may have got another of them before that one was found.
  const found = d.said("job_recovered").map((e) => e.job_id);
  assert.ok(found.length >= 5 && found.every((id) => jobs.some((job) => job.id === id)), `${found} were found`);
  assert.deepEqual(judge(d.log()).ranTwice, []);
  await d.untilQuiet({ seconds: 60 });
});

test("an_operator_has_jobs_read_from_github", async (t) => {
  const d = outage(t, { app: true, config: { reaper: { job_scan_interval: "1h" } } });
  await d.startGitHub();
  await d.startPrograms();
  await d.reaper.waitFor("recovery_finished");
  assert.match(d.ctl("recover", "--since", "1h").did, /next sweep/);
  await until("it was done", () => d.said("recovery_finished").length === 2);
  assert.match(d.said("recovery_started")[1].reason, /operator/);
});

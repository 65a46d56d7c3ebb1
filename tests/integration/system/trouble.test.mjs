// What GitHub, the network and the machines do to others' fleets: each a failure that some peer's users suffered.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const hasty = {
  worker: { visibility_timeout: "3s", terminate_grace_period: "500ms" },
  reaper: { interval: "300ms", lease_duration: "2s", relaunch_after: "1500ms", startup_timeout: "4s", terminate_timeout: "1500ms", stale_runner_scan_interval: "500ms" },
};

async function start(t, options = {}) {
  const d = new Deployment({ ...options, config: { ...hasty, ...(options.config ?? {}) } });
  t.after(() => d.stop());
  await d.startAll();
  return d;
}

async function finish(d, count, expected = []) {
  await d.untilJobsEnd(count, { seconds: 240 });
  await d.untilQuiet({ seconds: 240 });
  return assertSound(d, expected);
}

test("a_job_cancelled_while_queued_launches_nothing_more", async (t) => {
  const d = await start(t, { config: { limits: { max_vms: 1 } } });
  await d.queueJobs({ command: "sleep 1" });
  await d.worker.waitFor("vm_launched");
  const [doomed] = await d.queueJobs();
  await d.fake("POST", `/_fake/jobs/${doomed.id}/cancel`);
  const truth = await finish(d, 2);
  assert.equal(truth.registered.size, 1);
});

test("a_delivery_that_comes_twice_launches_once", async (t) => {
  const d = await start(t);
  const [job] = await d.queueJobs({ command: "sleep 0.5" });
  await d.fake("POST", `/_fake/jobs/${job.id}/deliver?same_guid=1`);
  await d.fake("POST", `/_fake/jobs/${job.id}/deliver`);
  const truth = await finish(d, 1);
  assert.equal(truth.registered.size, 1);
});

test("jobs_held_back_by_an_environment_run_after_approval", async (t) => {
  const d = await start(t);
  const [job] = await d.queueJobs({ environment: true });
  await until("it is noted", () => d.ctl("why", String(job.id)).known);
  assert.equal(d.vms().length, 0);
  await d.fake("POST", `/_fake/jobs/${job.id}/approve`);
  const truth = await finish(d, 1);
  assert.equal(truth.registered.size, 1);
});

test("github_hosted_and_foreign_jobs_are_left_alone", async (t) => {
  const d = await start(t);
  await d.queueJobs({ labels: ["ubuntu-latest"] });
  await d.queueJobs({ labels: ["self-hosted", "gpu"] });
  await d.queueJobs({ labels: [] });
  await d.queueJobs({ command: "echo ours" });
  await until("ours has ended", async () => (await d.jobs()).some((j) => j.state === "completed"), { seconds: 60 });
  await d.untilQuiet();
  assert.equal(d.log().filter((e) => e.event === "runner_registered").length, 1);
});

test("a_registration_that_vanishes_is_replaced", async (t) => {
  const d = await start(t, { config: { limits: { max_vms: 4 } } });
  await d.fake("POST", "/_fake/faults", [{ operation: "runner-token", preset: "registration-gone", times: 1 }]);
  await d.queueJobs({ count: 2 });
  const truth = await finish(d, 2);
  assert.ok(truth.registered.size >= 3, "the lost one was replaced");
});

test("lost_in_progress_and_completed_events_free_their_slots_in_the_end", async (t) => {
  const d = await start(t, { config: { limits: { max_vms: 1 } } });
  await d.fake("POST", "/_fake/faults", [
    { webhook: "drop", action: "in_progress", times: 1 }, { webhook: "drop", action: "completed", times: 1 }]);
  await d.queueJobs({ count: 3 });
  await finish(d, 3);
});

test("jobs_whose_completed_is_lost_end_in_the_ledger_too", async (t) => {
  const d = await start(t, { config: { limits: { max_vms: 2 } } });
  await d.fake("POST", "/_fake/faults", [{ webhook: "drop", action: "completed", times: 2 }]);
  const jobs = await d.queueJobs({ count: 4 });
  await finish(d, 4);
  await until("none runs in the ledger", () => d.ctl("status").classes[0].jobs_running === 0, { seconds: 60 });
  for (const { id } of jobs) assert.equal(d.ctl("why", String(id)).state, "done");
});

test("reordered_events_end_the_same", async (t) => {
  const d = await start(t);
  await d.fake("POST", "/_fake/faults", [
    { webhook: "delay", action: "queued", times: 2, delay_ms: 1500 }, { webhook: "delay", action: "in_progress", times: 3, delay_ms: 1200 }]);
  await d.queueJobs({ count: 5 });
  await finish(d, 5);
});

test("github_limits_and_outages_delay_and_lose_nothing", async (t) => {
  const d = await start(t);
  await d.fake("POST", "/_fake/faults", [
    { operation: "generate-jitconfig", preset: "bad-gateway", times: 2 },
    { operation: "generate-jitconfig", status: 403, headers: { "retry-after": "1" }, body: { message: "You have exceeded a secondary rate limit." }, times: 1 },
    { operation: "generate-jitconfig", drop: true, times: 1 }]);
  await d.queueJobs({ count: 6 });
  await finish(d, 6, ["launch_failed", "circuit_opened"]);
});

test("a_registration_that_is_refused_waits_with_its_reason_and_spends_nothing", async (t) => {
  const d = await start(t, { config: { retry: { max_attempts: 2 } } });
  await d.fake("POST", "/_fake/faults", [{ operation: "generate-jitconfig", status: 422, body: { message: "Invalid input" } }]);
  const [job] = await d.queueJobs();
  await until("it was refused more often than it has attempts", () => d.worker.events.filter((e) => e.msg === "launch_failed").length >= 4, { seconds: 60 });
  assert.match(JSON.stringify(d.ctl("why", String(job.id))), /Invalid input/);
  assert.deepEqual(d.ctl("dlq", "list"), []);
  await d.fake("DELETE", "/_fake/faults");
  await finish(d, 1, ["launch_failed"]);
});

test("a_vm_that_dies_before_its_job_is_replaced", async (t) => {
  // GitHub gives an assigned job to another runner after a while; here sooner than its 60 s.
  const fakeArgs = ["--pickup-timeout-s", "2", "--offline-after-s", "3"];
  const d = await start(t, { fakeArgs, config: { limits: { max_vms: 3 } } });
  await d.fake("POST", "/_fake/faults", [{ operation: "runner-message", delay_ms: 4000, times: 1 }]);
  await d.queueJobs();
  await d.worker.waitFor("vm_launched");
  await until("its machine runs", () => d.processes().length > 0);
  d.killMachines();
  await finish(d, 1, ["launch_failed"]);
});

test("an_idle_surplus_vm_ends_by_itself", async (t) => {
  const d = new Deployment({ config: hasty });
  d.options.classes = [d.fakeQemuClass({ idle_timeout: "2s" })];
  t.after(() => d.stop());
  await d.startAll();
  await d.fake("POST", "/_fake/faults", [{ operation: "runner-session", delay_ms: 1500, times: 1 }]);
  const [job] = await d.queueJobs();
  await d.worker.waitFor("vm_launched");
  await d.fake("POST", `/_fake/jobs/${job.id}/cancel`);
  await finish(d, 1);
});

// Supply covers it, so the balance would not ask; the machine that idles beside it gives it away.
test("a_job_whose_end_nobody_heard_of_is_settled_while_its_machine_idles", async (t) => {
  const d = new Deployment({ config: hasty });
  d.options.classes = [d.fakeQemuClass({ idle_timeout: "2m" })];
  t.after(() => d.stop());
  await d.startAll();
  await d.fake("POST", "/_fake/faults", [
    { operation: "runner-session", delay_ms: 1500, times: 1 }, { webhook: "drop", action: "completed", times: 1 }]);
  const [job] = await d.queueJobs();
  await d.worker.waitFor("vm_launched");
  await d.fake("POST", `/_fake/jobs/${job.id}/cancel`);
  await until("its end is known", () => d.ctl("why", String(job.id)).state === "cancelled", { every_ms: 200 });
  assert.equal(d.vms().length, 1, "its machine still idles");
  d.ctl("vm", "terminate", d.vms()[0].vm);
  await finish(d, 1);
});

test("vm_end_by_an_operator_ends_it_and_its_job_is_told_lost", async (t) => {
  const d = await start(t);
  const [job] = await d.queueJobs({ command: "sleep 60" });
  await d.worker.waitFor("job_started");
  assert.throws(() => d.ctl("vm", "terminate", d.vms()[0].vm), /runs (a job|job \d+) .*was not terminated/);
  assert.equal(d.vms()[0].state, "busy");
  d.ctl("vm", "terminate", d.vms()[0].vm, "--force");
  await until("its machine is gone", () => d.processes().length === 0 && d.vms().length === 0);
  await d.fake("POST", `/_fake/jobs/${job.id}/lose`);
  await finish(d, 1);
});

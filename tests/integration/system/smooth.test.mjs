// The smooth path with the real programs: every job once, on a machine of its own, nothing left, few calls to GitHub.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { Deployment, judge } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

// On a machine that leaves a program without a processor for seconds, a job's events come late enough that the reaper asks for another VM.
const relaunches = (d) => d.reaper.events.filter((e) => e.msg === "job_relaunched").length;

test("thirty_jobs_at_cap_five_run_once_each_and_leave_nothing", async (t) => {
  const d = new Deployment({ config: { limits: { max_vms: 5 }, reaper: { stale_runner_scan_interval: "5m" } } });
  t.after(() => d.stop());
  await d.startAll();
  await d.queueJobs({ count: 30, command: "echo $((6*7))" });
  const jobs = await d.untilJobsEnd(30);
  assert.ok(jobs.every((j) => j.conclusion === "success"), JSON.stringify(jobs.map((j) => j.conclusion)));
  await d.untilQuiet();
  const truth = assertSound(d);
  assert.ok(truth.maxOnline <= 5, `${truth.maxOnline} VMs at once`);
  const most = 30 + relaunches(d);
  assert.ok(truth.registered.size <= most, "one VM a job");
  assert.ok(truth.calls / most <= 2.2, `${truth.calls} calls to GitHub for 30 jobs`);
});

test("why_tells_the_whole_way_of_a_job", async (t) => {
  const d = new Deployment();
  t.after(() => d.stop());
  await d.startAll();
  const [{ id }] = await d.queueJobs();
  await d.untilJobsEnd(1);
  await d.untilQuiet();
  const why = d.ctl("why", String(id));
  assert.equal(why.state, "done");
  const what = why.timeline.map((e) => e.what);
  for (const step of ["reserved", "registered", "launched", "gone"]) assert.ok(what.includes(step), `${step} in ${what}`);
  assert.match(d.ctlText("why", String(id)), /finished: it has ended \(success\): it waited /);
  assert.equal(what[0], "received");
  const unknown = d.ctl("why", "4711");
  assert.deepEqual([unknown.known, unknown.reason], [false, "unknown_job"]);
});

// One job runs for a while where there is room for one; a second one waits, and says for what.
async function secondWaitsFor(t, d, reason, sentence) {
  t.after(() => d.stop());
  await d.startAll();
  const [first] = await d.queueJobs({ command: "sleep 3" });
  await d.worker.waitFor("vm_launched");
  const [second] = await d.queueJobs();
  await until(`the second says ${sentence}`, () => sentence.test(d.ctl("why", String(second.id)).sentence));
  assert.equal(d.ctl("why", String(second.id)).reason, reason);
  assert.equal(d.ctl("status").fleet.slots_used, 1);
  assert.equal(d.ctl("status").estimated, false);
  await d.untilJobsEnd(2);
  await d.untilQuiet();
  assertSound(d);
  assert.notEqual((await d.job(first.id)).runner, (await d.job(second.id)).runner);
}

test("a_full_class_tells_why_a_job_waits", async (t) => {
  const d = new Deployment();
  d.options.classes = [d.fakeQemuClass({ max_vms: 1 })];
  await secondWaitsFor(t, d, "class_cap", /^class small is full: 1 of 1 VMs \(classes\.max_vms\)/);
});

test("jobs_behind_a_full_class_are_known_and_get_a_vm_each", async (t) => {
  const d = new Deployment();
  d.options.classes = [d.fakeQemuClass({ max_vms: 1 })];
  t.after(() => d.stop());
  await d.startAll();
  await d.queueJobs({ command: "sleep 4" });
  await d.worker.waitFor("vm_launched");
  const behind = await d.queueJobs({ count: 6 });
  await until("all are known", () => d.ctl("status").classes[0].jobs_waiting === 6);
  const { balance, lanes } = d.ctl("status");
  assert.deepEqual(balance.map((b) => [b.demand, b.supply, b.waits_for_slot]), [[6, 0, true]]);
  assert.equal(lanes.find((l) => l.lane === "launch.small").ready, 6);
  for (const { id } of behind) assert.equal(d.ctl("why", String(id)).state, "waiting");
  await d.untilJobsEnd(7);
  await d.untilQuiet();
  assert.ok(assertSound(d).registered.size <= 7 + relaunches(d), "one VM a job");
  assert.equal(d.reaper.events.filter((e) => e.msg === "job_relaunched").length, 0);
});

test("a_full_fleet_tells_why_a_job_waits", async (t) => {
  const d = new Deployment({ config: { limits: { max_vms: 1 } } });
  await secondWaitsFor(t, d, "fleet_cap", /^the fleet is full: 1 of 1 VMs \(limits\.max_vms\)/);
});

test("two_workers_on_the_same_files_stay_under_the_cap", async (t) => {
  const d = new Deployment({ config: { limits: { max_vms: 4 } } });
  t.after(() => d.stop());
  await d.startAll();
  await d.startWorker();
  await d.queueJobs({ count: 24, command: "echo one" });
  await d.untilJobsEnd(24);
  await d.untilQuiet();
  const truth = assertSound(d);
  assert.ok(truth.maxOnline <= 4, `${truth.maxOnline} VMs at once`);
});

test("sigterm_lets_each_program_end_cleanly", async (t) => {
  const d = new Deployment();
  t.after(() => d.stop());
  await d.startAll();
  await d.queueJobs({ count: 6, command: "echo bye" });
  await d.worker.waitFor("vm_launched");
  for (const p of [d.ingress, d.worker, d.reaper]) assert.deepEqual(await p.stop(), { code: 0, signal: null }, p.tail());
  await d.startIngress();
  await d.startWorker();
  await d.startReaper();
  await d.untilJobsEnd(6);
  await d.untilQuiet();
  assertSound(d);
});

// It waits for GitHub when the signal comes, for longer than the worker may drain (and 2 s more, in which a program may close).
test("the_reaper_drains_for_as_long_as_its_own_setting_says", async (t) => {
  const d = new Deployment({ config: { worker: { drain_timeout: "0s" }, reaper: { drain_timeout: "20s", stale_runner_scan_interval: "200ms" } } });
  t.after(() => d.stop());
  await d.startAll();
  await d.queueJobs();
  await d.untilJobsEnd(1);
  await d.untilQuiet();
  await d.fake("POST", "/_fake/faults", [{ operation: "list-runners", delay_ms: 3500, times: 1 }]);
  await until("the reaper waits for GitHub", () => d.log().some((e) => e.event === "fault" && e.operation === "list-runners"), { every_ms: 20 });
  assert.deepEqual(await d.reaper.stop(), { code: 0, signal: null }, d.reaper.tail());
  assertSound(d);
});

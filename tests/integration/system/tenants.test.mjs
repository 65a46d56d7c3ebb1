// Repositories beside each other: one with a flood of long jobs and a cap, one with a single job.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { Deployment, judge } from "../lib/deployment.mjs";

const FLOOD = 500;
const CAP = 2;

async function start(t, config = {}, classes = {}) {
  const d = new Deployment({ config: { limits: { max_vms: 10, max_vms_per_repository: CAP }, ...config } });
  d.options.classes = [d.fakeQemuClass({ max_vms: 10, idle_timeout: "20s", ...classes })];
  t.after(() => d.stop());
  await d.startGitHub();
  await d.fake("POST", "/_fake/config", { groups: [{ org: "acme", name: "quiet-group", visibility: "selected", repositories: ["acme/quiet"] }] });
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  await d.startReaper();
  return d;
}

const flood = (d, count = FLOOD) => d.queueJobs({ repo: "acme/noisy", count, name: "noisy", command: "sleep 600" });
const launchesFor = (d, jobs) => d.worker.events.filter((e) => e.msg === "vm_launched" && jobs.some((j) => j.id === e.job_id));

// Messages that came back because their repository is at its cap.
async function returned(d) {
  const { admin_port: port } = d.worker.events.find((e) => e.msg === "started");
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/mayfly_worker_launches_total\{[^}]*outcome="full_repository"\} (\d+)/.exec(text)?.[1] ?? 0);
}

// The newest first: what waits before what runs, so that no slot is released for a job that is about to be cancelled.
async function cancelAll(d, jobs) {
  for (const { id } of [...jobs].reverse()) await d.fake("POST", `/_fake/jobs/${id}/cancel`);
}

// The quiet job has its turn beside the flood, not behind it: by what was looked at before, not by the time.
async function quietRunsBesideTheFlood(d) {
  await d.worker.stop(); // until all of the flood is in the queue
  const noisy = await flood(d);
  const [quiet] = await d.queueJobs({ repo: "acme/quiet", name: "beside" });
  await until("all are in the queue", () => d.ctl("status").lanes.find((l) => l.lane === "launch.small")?.ready === FLOOD + 1, { seconds: 60 });
  await d.startWorker();
  await d.worker.waitFor((e) => e.msg === "vm_launched" && e.job_id === quiet.id, { seconds: 90 });
  const before = await returned(d);
  assert.ok(before < FLOOD / 4, `${before} messages of the flood went back before the quiet job's was received`);
  await until("it has run", async () => (await d.job(quiet.id)).state === "completed", { seconds: 60 });
  assert.equal(launchesFor(d, [quiet]).length, 1);
  assert.equal(d.reaper.events.filter((e) => e.msg === "job_relaunched").length, 0);
  assert.equal(judge(d.log()).finished.get(quiet.id).length, 1);
  await until("the flood has what its cap allows", () => launchesFor(d, noisy).length === CAP);
  assert.equal(d.vms().filter((vm) => vm.repository === "acme/noisy").length, CAP);
  // A cap that stays full costs little: what was received goes back, ever more rarely.
  await until("all of the flood were looked at", async () => (await returned(d)) >= FLOOD - CAP, { seconds: 90 });
  const all = await returned(d);
  assert.ok(all < 3 * FLOOD, `${all} messages went back`);
  await cancelAll(d, noisy);
  await d.untilQuiet({ seconds: 120 });
}

test("a_quiet_repository_runs_beside_a_flood_where_runners_register_with_repositories", async (t) => {
  const d = await start(t, {}, { scope: "repository" });
  await quietRunsBesideTheFlood(d);
  assert.equal(d.worker.events.filter((e) => e.msg === "repository_cap_best_effort").length, 0);
});

test("a_quiet_repository_runs_beside_a_flood_in_a_runner_group_of_its_own", async (t) => {
  const d = await start(t, { github: { groups: { "acme/quiet": "quiet-group" } } });
  await quietRunsBesideTheFlood(d);
  assert.deepEqual([...new Set(d.log().filter((e) => e.event === "runner_registered").map((e) => e.group))].sort(), ["Default", "quiet-group"]);
});

// GitHub gives the organization's runners to the oldest job: the quiet job's VM goes to the flood, which then launches no
// other, and the quiet job is relaunched, three times in a row and then ever more rarely.
test("with_an_organizations_runners_a_flood_gets_the_quiet_ones_vms_and_is_counted_for_them", async (t) => {
  const d = await start(t, { reaper: { interval: "300ms", confirm_after: "200ms", relaunch_after: "2s", stale_runner_scan_interval: "1s" } });
  await d.worker.waitFor("repository_cap_best_effort");
  const noisy = await flood(d, 30);
  await until("the flood is at its cap", () => d.vms().filter((vm) => vm.repository === "acme/noisy").length === CAP);
  const [quiet] = await d.queueJobs({ repo: "acme/quiet", name: "beside" });
  const relaunched = () => d.reaper.events.filter((e) => e.msg === "job_relaunched" && e.job_id === quiet.id).length;
  await until("it was relaunched three times", () => relaunched() >= 3, { seconds: 60 });
  await until("the flood runs on what was launched", () => d.vms().filter((vm) => vm.repository === "acme/noisy").length >= CAP + 3, { seconds: 60 });
  assert.equal(launchesFor(d, noisy).length, CAP, "nothing more is launched for the flood");
  assert.equal(d.reaper.events.filter((e) => e.msg === "job_relaunched" && e.job_id !== quiet.id).length, 0, "nor relaunched");
  assert.equal((await d.job(quiet.id)).state, "queued");
  await cancelAll(d, noisy);
  await until("it has run", async () => (await d.job(quiet.id)).state === "completed", { seconds: 120 });
  await d.untilQuiet({ seconds: 120 });
});

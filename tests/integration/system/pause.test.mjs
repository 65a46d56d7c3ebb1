// A class that an operator pauses: its jobs wait, spend nothing, and are launched when it is resumed.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { Deployment } from "../lib/deployment.mjs";
import { until } from "../../lib/wait.mjs";
import { assertSound } from "../lib/sound.mjs";

const launchedOf = (p, name) => p.events.filter((e) => e.msg === "vm_launched" && e.class === name).length;
const laneOf = (d, name) => d.ctl("status").lanes.find((l) => l.lane === `launch.${name}`);
const classOf = (d, name) => d.ctl("classes").find((c) => c.class === name);

function refused(d, ...args) {
  const said = spawnSync(d.program("mayflyctl"), ["--config", d.configFile, ...args], { encoding: "utf8" });
  assert.equal(said.status, 1, said.stdout);
  return said.stderr;
}

test("paused_class_launches_nothing_through_restarts_until_it_is_resumed", async (t) => {
  // The reaper would relaunch a job without a VM after a second. It begins when one runs: only what waits for the paused class is its matter.
  const d = new Deployment({ classes: [], config: { reaper: { interval: "1s", relaunch_after: "1s" } } });
  d.options.classes = [d.fakeQemuClass(), d.fakeQemuClass({ name: "other", labels: ["other"], required_labels: [] })];
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  const [running] = await d.queueJobs({ command: "sleep 8" });
  await until("the first job runs", () => d.ctl("vms").some((vm) => vm.state === "busy"));
  await d.startReaper();

  assert.match(refused(d, "pause", "smal"), /no class is named "smal"; the configuration has: small, other/);
  assert.equal(d.ctl("pause", "small", "--reason", "image 41 does not boot").changed, true);
  await d.worker.waitFor((e) => e.msg === "class_paused" && e.class === "small" && e.reason === "image 41 does not boot");
  const before = launchedOf(d.worker, "small");
  await d.queueJobs({ count: 3 });
  await d.queueJobs({ labels: ["other"] }); // goes on
  await until("the other class's job is launched", () => launchedOf(d.worker, "other") === 1);
  await until("three requests are on the lane", () => laneOf(d, "small")?.ready === 3);
  const paused = classOf(d, "small");
  assert.equal(paused.paused.reason, "image 41 does not boot");
  assert.equal(paused.jobs_waiting, 3);

  // A new worker and two sweeps of the reaper change nothing.
  await d.worker.stop();
  const sweeps = d.reaper.events.length;
  await d.startWorker();
  await d.worker.waitFor((e) => e.msg === "class_paused" && e.class === "small");
  await until("the running job has ended on its VM", async () => (await d.job(running.id)).conclusion === "success");
  assert.equal(launchedOf(d.worker, "small"), 0);
  assert.equal(laneOf(d, "small").ready, 3);
  assert.deepEqual(d.reaper.events.slice(sweeps).filter((e) => e.msg === "job_relaunched" || e.msg === "job_stuck_with_idle_runners"), []);
  const { jobs } = d.ctl("jobs", "--class", "small", "--state", "waiting");
  assert.equal(jobs.length, 3);
  assert.deepEqual(jobs.map((j) => j.relaunches), [0, 0, 0]);

  assert.equal(d.ctl("resume", "small").changed, true);
  await d.worker.waitFor((e) => e.msg === "class_resumed" && e.class === "small");
  await d.untilJobsEnd(5);
  assert.equal(classOf(d, "small").paused, null);
  await d.untilQuiet();
  assert.equal(before, 1);
  assertSound(d);
});

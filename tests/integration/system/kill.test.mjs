// SIGKILL of each program in the middle, three times each at different points: nothing lost, doubled or leaked.
import test from "node:test";
import { sleep } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

// Lost launches heal by the reaper's signs and the leases, so those are short here.
const hasty = {
  worker: { visibility_timeout: "3s", terminate_grace_period: "1s" },
  reaper: { interval: "300ms", lease_duration: "2s", relaunch_after: "1500ms", startup_timeout: "4s", terminate_timeout: "1500ms", stale_runner_scan_interval: "500ms" },
};

async function start(t) {
  const d = new Deployment({ config: { ...hasty, limits: { max_vms: 6 } } });
  t.after(() => d.stop());
  await d.startAll();
  return d;
}

async function finish(d, count, expected = []) {
  await d.untilJobsEnd(count, { seconds: 240 });
  await d.untilQuiet({ seconds: 240 });
  assertSound(d, expected);
}

// A worker that is killed between the provider's answer and its own note leaves a machine without a row.
const workerKilled = ["orphan_vm_terminated"];

// What a killed program had just done when the signal came.
const points = {
  worker: ["vm_launched", "job_started", "vm_terminated"],
  reaper: ["started"],
};

for (const point of points.worker) {
  test(`worker_killed_after_${point}_loses_nothing`, async (t) => {
    const d = await start(t);
    await d.queueJobs({ count: 12, command: "sleep 0.2; echo x" });
    await d.worker.waitFor(point);
    await d.worker.stop("SIGKILL");
    await d.startWorker();
    await finish(d, 12, workerKilled);
  });
}

test("worker_killed_three_times_while_it_launches_loses_nothing", async (t) => {
  const d = await start(t);
  await d.queueJobs({ count: 15, command: "echo x" });
  for (let i = 0; i < 3; i++) {
    await sleep(40 + 60 * i); // a point in the middle of whatever it does
    await d.worker.stop("SIGKILL");
    await d.startWorker();
  }
  await finish(d, 15, workerKilled);
});

test("ingress_killed_three_times_under_load_loses_nothing_it_accepted", async (t) => {
  const d = await start(t);
  const asked = [];
  for (let i = 0; i < 3; i++) {
    asked.push(...await d.queueJobs({ count: 5, command: "echo x" }));
    await sleep(15 * i);
    await d.ingress.stop("SIGKILL");
    await d.startIngress();
    // What GitHub could not deliver it shows as failed, and an operator (the next issue's reaper) asks for it again.
    for (const job of asked) {
      const state = (await d.job(job.id)).state;
      if (state === "queued") await d.fake("POST", `/_fake/jobs/${job.id}/deliver`);
    }
  }
  await finish(d, 15);
});

test("reaper_killed_three_times_still_repairs", async (t) => {
  const d = await start(t);
  await d.queueJobs({ count: 8, command: "sleep 0.2" });
  for (let i = 0; i < 3; i++) {
    await sleep(150 * (i + 1));
    await d.reaper.stop("SIGKILL");
    await d.startReaper();
  }
  await d.worker.stop("SIGKILL");
  await d.startWorker();
  await finish(d, 8, workerKilled);
});

test("all_three_killed_at_once_and_started_again_go_on", async (t) => {
  const d = await start(t);
  await d.queueJobs({ count: 10, command: "sleep 0.3" });
  await d.worker.waitFor("vm_launched");
  await Promise.all([d.ingress, d.worker, d.reaper].map((p) => p.stop("SIGKILL")));
  await d.startIngress();
  await d.startWorker();
  await d.startReaper();
  for (const job of await d.jobs()) {
    if (job.state === "queued") await d.fake("POST", `/_fake/jobs/${job.id}/deliver`);
  }
  await finish(d, 10, workerKilled);
});

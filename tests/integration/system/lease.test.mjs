// Launches and their leases: a launch may outlast its message's lease, and a dead worker's messages run again soon.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

// An image whose machines take so long to boot. They read that from a file that a user of their own could not.
function slowClass(d, boot_ms, changes = {}) {
  const image = path.join(d.dir, "image");
  fs.cpSync(path.join(d.bin, "tests/fakes/qemu/image"), image, { recursive: true });
  fs.writeFileSync(path.join(image, "faults"), `slow-start ${boot_ms}\n`);
  const base = d.fakeQemuClass(changes);
  return { ...base, qemu: { ...base.qemu, image, boot_timeout: "20s" } };
}

test("a_boot_three_times_as_long_as_the_lease_runs_its_job_once", async (t) => {
  const d = new Deployment({ config: { worker: { visibility_timeout: "2s", vm_uids: "" },
    reaper: { interval: "300ms", relaunch_after: "2s", startup_timeout: "30s" } } });
  t.after(() => d.stop());
  d.options.classes = [slowClass(d, 6000)];
  await d.startAll();
  await d.startWorker(); // which would take the message when its lease runs out
  await d.queueJobs({ command: "echo one" });
  const [job] = await d.untilJobsEnd(1);
  assert.equal(job.conclusion, "success");
  await d.untilQuiet();
  const truth = assertSound(d);
  assert.equal(truth.registered.size, 1, "one launch was enough");
});

test("messages_of_a_killed_worker_run_again_without_a_reaper", async (t) => {
  const lease_ms = 3000; // a tenth of the default
  const d = new Deployment({ config: { worker: { visibility_timeout: `${lease_ms}ms`, vm_uids: "" }, reaper: { relaunch_after: "10m", startup_timeout: "30s" } } });
  t.after(() => d.stop());
  d.options.classes = [slowClass(d, 2000)];
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  await d.queueJobs({ count: 4, command: "echo one" });
  await until("four are being launched", () => d.vms().filter((vm) => vm.state === "registered").length === 4, { every_ms: 50 });
  await d.worker.stop("SIGKILL");
  d.killMachines(); // else some would come up and run a job: their payload is handed over by now
  const killed = Date.now();
  await d.startWorker();
  const launched = () => d.worker.events.filter((e) => e.msg === "vm_launched");
  await until("all four are launched again", () => launched().length === 4, { seconds: 60 });
  t.diagnostic(`the last began ${launched().map((e) => Date.parse(e.ts) - e.launch_ms - killed)} ms after the kill; the lease is ${lease_ms} ms`);
  assert.ok(d.worker.events.some((e) => e.msg === "launch_taken_over"), "the rows of the dead worker were ended");
  const jobs = await d.untilJobsEnd(4);
  assert.ok(jobs.every((j) => j.conclusion === "success"));
  await d.startReaper();
  await d.untilQuiet();
  assertSound(d);
});

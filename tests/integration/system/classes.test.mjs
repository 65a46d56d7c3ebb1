// Classes that come and go by SIGHUP, without a restart.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { Deployment } from "../lib/deployment.mjs";
import { until } from "../../lib/wait.mjs";
import { assertSound } from "../lib/sound.mjs";

const launchedBy = (d, name) => d.worker.events.filter((e) => e.msg === "vm_launched" && e.class === name).length;

async function reload(d, classes) {
  d.options.classes = classes;
  d.writeConfig();
  for (const p of [d.ingress, d.worker, d.reaper]) {
    const before = p.events.filter((e) => e.msg === "config_reloaded").length;
    p.process.kill("SIGHUP");
    await until("the configuration is read again", () => p.events.filter((e) => e.msg === "config_reloaded").length > before);
  }
}

test("a_class_is_renamed_while_its_job_runs_and_its_lane_is_retired", async (t) => {
  const d = new Deployment({ classes: [] });
  const small = d.fakeQemuClass();
  const tiny = d.fakeQemuClass({ name: "tiny" });
  const arm = d.fakeQemuClass({ name: "arm", labels: ["arm"], required_labels: [], max_vms: 1 });
  d.options.classes = [small, arm];
  t.after(() => d.stop());
  await d.startAll();
  const [running] = await d.queueJobs({ command: "sleep 15" });
  await d.queueJobs({ labels: ["arm"], command: "sleep 15", count: 2 }); // one waits in its lane
  await until("two jobs run", () => d.ctl("vms").filter((vm) => vm.state === "busy").length === 2);

  await reload(d, [tiny, { ...arm, max_vms: 0 }]);
  await d.worker.waitFor((e) => e.msg === "class_added" && e.class === "tiny");
  await d.queueJobs({});
  await until("a VM of the new class", () => launchedBy(d, "tiny") === 1);
  const gone = d.ctl("status").classes.find((c) => c.class === "small");
  assert.equal(gone.configured, false);
  assert.equal(gone.slots_used, 1);
  assert.notEqual((await d.job(running.id)).state, "completed");

  // A changed class launches with its new settings beside VMs of the old ones.
  const larger = { ...tiny, qemu: { ...tiny.qemu, memory: "96MiB" } };
  await reload(d, [larger, { ...arm, max_vms: 0 }]);
  await d.worker.waitFor((e) => e.msg === "class_changed" && e.class === "tiny");
  await d.queueJobs({});
  await until("a VM of the changed class", () => launchedBy(d, "tiny") === 2);

  const retired = d.ctl("class", "retire", "arm");
  assert.equal(retired.dead, 1, JSON.stringify(retired)); // no other class has its labels
  await reload(d, [larger, { ...arm, max_vms: 0 }, { ...tiny, name: "arm2", labels: ["arm"], required_labels: [] }]);
  await d.worker.waitFor((e) => e.msg === "class_added" && e.class === "arm2");
  d.ctl("dlq", "redrive", "all");
  const again = d.ctl("class", "retire", "arm");
  assert.equal(again.routed, 1, JSON.stringify(again));
  await d.untilJobsEnd(5);
  await d.untilQuiet();
  assert.equal(launchedBy(d, "arm"), 1);
  assert.equal(launchedBy(d, "arm2"), 1);
  assertSound(d);
});

test("a_class_whose_image_is_missing_stops_itself_alone_also_at_the_start_until_a_reload", async (t) => {
  const d = new Deployment({ classes: [] });
  const small = d.fakeQemuClass();
  const image = path.join(d.dir, "image-to-come");
  const late = d.fakeQemuClass({ name: "late", labels: ["late"], required_labels: [], qemu: { image } });
  d.options.classes = [small, late];
  t.after(() => d.stop());
  await d.startAll();
  for (const p of [d.worker, d.reaper]) {
    const line = await p.waitFor("class_not_opened");
    assert.deepEqual([line.class, line.level], ["late", "error"]);
    assert.match(line.error, /image-to-come/);
    const { admin_port: port } = p.events.find((e) => e.msg === "started");
    assert.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200, "the other classes are served");
  }
  const served = () => d.ctl("workers").filter((w) => w.program === "mayfly-worker").map((w) => w.classes);
  assert.doesNotMatch(JSON.stringify(served()), /late/);
  const [waits] = await d.queueJobs({ labels: ["late"] });
  await d.queueJobs({});
  await d.untilJobsEnd(1);
  assert.equal(launchedBy(d, "small"), 1);
  assert.equal(launchedBy(d, "late"), 0);
  assert.equal((await d.job(waits.id)).state, "queued");
  fs.symlinkSync(small.qemu.image, image);
  await reload(d, [small, late]);
  await d.worker.waitFor((e) => e.msg === "class_added" && e.class === "late");
  await d.untilJobsEnd(2);
  await d.untilQuiet();
  assert.equal(launchedBy(d, "late"), 1);
  assertSound(d, ["class_not_opened"]);
});

test("a_program_of_which_no_class_can_be_opened_does_not_start", async (t) => {
  const d = new Deployment({ classes: [] });
  d.options.classes = [d.fakeQemuClass({ qemu: { image: "/nowhere" } })];
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  const worker = d.start("mayfly-worker");
  assert.match((await worker.waitFor("startup_failed")).error, /class small cannot launch VMs: .*\/nowhere/);
});

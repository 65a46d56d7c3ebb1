// `mayflyctl why` with the real programs: the reasons that an operator meets most, their exit codes, and the timeline of a job that waited.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";

async function start(t, options = {}, changes = { max_vms: 1 }) {
  const d = new Deployment(options);
  d.options.classes = [d.fakeQemuClass(changes)];
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  return d;
}

// What it says, and its exit code, which a script reads.
function why(d, what) {
  const run = spawnSync(d.program("mayflyctl"), ["--config", d.configFile, "--json", "why", String(what)], { encoding: "utf8" });
  return { ...JSON.parse(run.stdout || run.stderr), code: run.status };
}

const urlOf = (job) => `https://github.com/acme/app/actions/runs/${job.run_id}/job/${job.id}`;

async function untilReason(d, id, reason) {
  await until(`${id} is ${reason}`, () => why(d, id).reason === reason, { seconds: 30 }).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(why(d, id))}`);
  });
}

// The stores are a worker's to make.
async function startAndStopWorker(d) {
  const worker = await d.startWorker();
  await worker.stop();
}

test("a_job_that_no_worker_takes_names_the_missing_worker_then_the_full_class_and_its_end", async (t) => {
  const d = await start(t);
  await startAndStopWorker(d);
  const [first] = await d.queueJobs({ command: "sleep 6" });
  await until("its delivery arrived", () => why(d, first.id).known);
  const alone = why(d, first.id);
  assert.deepEqual([alone.reason, alone.code, alone.timeline[0].what], ["no_live_worker", 4, "received"]);
  assert.match(alone.sentence, /no worker is alive.*mayflyctl --config \S+mayfly\.yaml workers/);
  await d.startWorker();
  await d.startReaper();
  await untilReason(d, first.id, "running");
  assert.equal(why(d, first.id).code, 0);
  const [second] = await d.queueJobs();
  await untilReason(d, second.id, "class_cap");
  const full = why(d, second.id);
  assert.equal(full.code, 3);
  assert.match(full.sentence, /class small is full: 1 of 1 VMs/);
  await d.untilJobsEnd(2);
  await untilReason(d, second.id, "finished");
  const over = why(d, second.id);
  const what = over.timeline.map((line) => line.what);
  assert.equal(what[0], "received");
  assert.ok(what.indexOf("waited") > 0 && what.indexOf("waited") < what.indexOf("reserved"), what.join(" "));
  assert.match(over.timeline.find((line) => line.what === "waited").detail, /^\d+\.\d s for a slot of class small/);
  assert.ok(over.waited_ms > 1000, `${over.waited_ms}`);
  assert.equal(over.code, 0);
  assert.equal(over.workflow, "CI"); // as the delivery said
  assert.deepEqual(d.ctl("jobs", "--state", "ended").jobs.map((job) => job.workflow), ["CI", "CI"]);
  const cost = () => d.ctl("cost", "--by", "workflow", "--since", "1d").rows.map((row) => [row.repository, row.workflow, row.vms]);
  await until("both VMs are gone, and their workflow has them", () => JSON.stringify(cost()) === '[["acme/app","CI",2]]', { seconds: 30 });
});

test("a_job_with_a_label_too_many_is_found_at_github_and_told_the_nearest_class", async (t) => {
  const d = await start(t);
  await startAndStopWorker(d);
  const [job] = await d.queueJobs({ labels: ["self-hosted", "microvm", "gpu"] });
  const by = why(d, urlOf(job));
  assert.deepEqual([by.reason, by.code, by.known], ["labels_not_matched", 4, false]);
  assert.match(by.sentence, /the nearest class, small, does not have the label "gpu"/);
  assert.equal(why(d, `https://github.com/acme/app/actions/runs/${job.run_id}`).jobs[0].reason, "labels_not_matched");
  assert.deepEqual([why(d, 4711).reason, why(d, 4711).code], ["unknown_job", 5]);
});

test("a_paused_class_and_a_class_that_was_removed_need_a_person", async (t) => {
  const d = await start(t);
  await d.startWorker();
  d.ctl("pause", "small", "--reason", "image 41");
  await d.worker.waitFor("class_paused");
  const [job] = await d.queueJobs();
  await untilReason(d, job.id, "class_paused");
  assert.match(why(d, job.id).sentence, /image 41.*resume small/);
  d.options.classes = [d.fakeQemuClass({ name: "other", labels: ["other"], required_labels: [] })];
  d.writeConfig();
  assert.deepEqual([why(d, job.id).reason, why(d, job.id).code], ["class_not_configured", 4]);
});

test("a_runner_that_github_refuses_opens_a_circuit_that_is_named", async (t) => {
  const d = await start(t, {}, { max_vms: 5 });
  await d.fake("POST", "/_fake/faults", [{ operation: "generate-jitconfig", status: 503 }]);
  await d.startWorker();
  const [job] = await d.queueJobs({ count: 5 });
  let stopped;
  await until("a circuit is open", () => (stopped = why(d, job.id)).reason === "circuit_open", { seconds: 60 });
  assert.equal(stopped.code, 3);
  assert.match(stopped.sentence, /503/);
});

test("the_console_of_a_vm_that_died_is_in_its_jobs_timeline", async (t) => {
  const d = await start(t);
  await d.startWorker();
  await d.startReaper();
  const [job] = await d.queueJobs({ command: "sleep 60" });
  await untilReason(d, job.id, "running");
  const { vm } = d.ctl("vms").find((one) => one.job === job.id);
  const { qemu } = JSON.parse(fs.readFileSync(path.join(d.stateDir, "test.small", vm, "process.json"), "utf8"));
  process.kill(qemu.pid, "SIGKILL");
  const kept = () => why(d, job.id).timeline.filter((line) => line.what === "console");
  await until("its console is in the timeline", () => kept().length > 0, { seconds: 30 });
  assert.ok(kept().every((line) => line.vm === vm));
  assert.match(kept().map((line) => line.detail).join("\n"), /Running job/);
  const text = d.ctlText("why", String(job.id));
  assert.match(text, / console +mf-\S+: \n {6}\| /);
  // A VM that ended as it should leaves none.
  const [good] = await d.queueJobs({ command: "echo hello" });
  await until("it is over", () => why(d, good.id).reason === "finished", { seconds: 60 });
  await until("its VM is gone", () => why(d, good.id).timeline.some((line) => line.what === "gone"), { seconds: 30 });
  assert.deepEqual(why(d, good.id).timeline.filter((line) => line.what === "console" && line.vm !== vm), []);
});

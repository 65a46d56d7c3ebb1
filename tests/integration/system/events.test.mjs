// Events out, with the real programs: the file's records of a job from queued to completed, and of its VM to gone.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const read = (file) => fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));

test("records_of_a_job_and_its_vm_tell_the_whole_way", async (t) => {
  const d = new Deployment({ config: { events: { file: "events.jsonl" } } }); // beside the configuration
  t.after(() => d.stop());
  const file = path.join(d.dir, "events.jsonl");
  await d.startAll();
  const [{ id }] = await d.queueJobs();
  await d.untilJobsEnd(1);
  await d.untilQuiet();
  const ofKind = (kind) => read(file).filter((r) => r.kind === kind && r.job_id === id);
  await until("the VM's last record", () => fs.existsSync(file) && ofKind("vm").some((r) => r.to === "gone"));

  const jobs = ofKind("job");
  assert.deepEqual(jobs.map((r) => [r.from, r.to]), [[undefined, "waiting"], ["waiting", "running"], ["running", "done"]]);
  const vms = ofKind("vm");
  assert.deepEqual(vms.map((r) => r.to), ["reserved", "registered", "launched", "busy", "ending", "gone"]);
  for (let i = 1; i < vms.length; i++) assert.equal(vms[i].from, vms[i - 1].to);

  const done = jobs.at(-1), gone = vms.at(-1);
  assert.equal(done.conclusion, "success");
  assert.equal(done.runner, gone.vm);
  assert.equal(done.class, "small");
  assert.ok(done.wait_ms >= 0 && done.run_ms >= 0, JSON.stringify(done));
  assert.equal(gone.provider, "qemu");
  assert.equal(gone.launched_for, id);
  assert.ok(gone.slot_ms >= gone.busy_ms, JSON.stringify(gone));
  const all = read(file);
  assert.ok(all.every((r) => r.schema === 1 && r.deployment === "test" && !Number.isNaN(Date.parse(r.time))));
  const worker = all.filter((r) => r.program === "mayfly-worker");
  assert.deepEqual(worker.map((r) => r.seq).sort((a, b) => a - b), worker.map((_, i) => i + 1), "no gap");
  assert.ok(!fs.readFileSync(file, "utf8").includes(d.token), "nothing secret");
  assertSound(d);
});

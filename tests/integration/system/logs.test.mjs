// One job's way through the logs of the three programs, found by its number alone.
import test from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const hasJq = spawnSync("jq", ["--version"]).status === 0;

// What `jq 'select(.job_id == N)'` finds in the files of all three programs, in the order of time.
async function trace(d, id) {
  const here = () => d.programs.flatMap((p) => p.events.filter((e) => e.job_id === id));
  if (hasJq) {
    const files = ["mayfly-ingress", "mayfly-worker", "mayfly-reaper"].map((name) => path.join(d.dir, `${name}.log`));
    const found = () => execFileSync("jq", ["-c", `select(.job_id == ${id})`, ...files], { encoding: "utf8" }).split("\n").filter(Boolean);
    const sorted = (lines) => lines.map((line) => JSON.stringify(line)).sort().join("\n");
    await until("jq finds the same lines", () => sorted(found().map((line) => JSON.parse(line))) === sorted(here())); // a file is written later than read
  }
  return here().sort((a, b) => a.ts.localeCompare(b.ts));
}

test("one_job_is_traced_through_three_programs_by_its_id", async (t) => {
  const d = new Deployment({ config: { reaper: { relaunch_after: "10m" } } }); // one launch each, however slow the machine is
  t.after(() => d.stop());
  await d.startAll();
  const jobs = await d.queueJobs({ count: 3 });
  const [ignored] = await d.queueJobs({ labels: ["self-hosted", "microwm"] });
  await d.untilJobsEnd(3);
  await d.untilQuiet();
  await d.ingress.waitFor("job_ignored");
  // A line comes some milliseconds after what it tells of.
  const isFinished = ({ id }) => d.programs.some((p) => p.events.some((e) => e.msg === "job_finished" && e.job_id === id));
  await until("each job's last line", () => jobs.every(isFinished));
  assert.ok(d.programs.flatMap((p) => p.events).every((e) => e.job_id === undefined || Number.isInteger(e.job_id)), "each job_id is a number");
  for (const { id } of jobs) {
    const lines = await trace(d, id);
    const one = (msg) => {
      const found = lines.filter((e) => e.msg === msg && e.level === "info");
      assert.equal(found.length, 1, `one line ${msg} of ${id}: ${JSON.stringify(lines)}`);
      return found[0];
    };
    const [accepted, launched, started, finished] = ["job_accepted", "vm_launched", "job_started", "job_finished"].map(one);
    for (const line of [accepted, launched, started, finished]) assert.match(line.delivery_id, /^[0-9a-zA-Z-]{8,}$/, line.msg);
    assert.equal(launched.delivery_id, accepted.delivery_id, "the launch names the delivery that caused it");
    for (const line of [launched, started, finished]) assert.match(line.vm, /-test-small-/, line.msg);
    assert.equal(finished.vm, started.vm);
    assert.equal(finished.conclusion, "success");
    assert.deepEqual([accepted.program, launched.program], ["mayfly-ingress", "mayfly-worker"]);
    for (const line of [accepted, launched, started, finished]) assert.equal(line.class, "small");
  }
  const [line] = await trace(d, ignored.id);
  assert.deepEqual([line.msg, line.reason, line.nearest_class, line.label], ["job_ignored", "labels_not_matched", "small", "microwm"]);
  assert.match(line.delivery_id, /^[0-9a-zA-Z-]{8,}$/);
  await d.fake("POST", `/_fake/jobs/${ignored.id}/cancel`);
  await d.reaper.stop();
  assertSound(d);
});

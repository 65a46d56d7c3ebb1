// Two releases in one deployment: the next one writes records of format 2, which this one cannot read.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const count = async (d, state) => (await d.jobs()).filter((j) => j.state === state).length;
const newer = (program) => program.events.filter((e) => e.msg === "newer_version" && e.message_id);

function finishUpgrade(d) {
  const run = spawnSync(d.program("mayflyctl"), ["--config", d.configFile, "upgrade", "finish"], { encoding: "utf8" });
  return { code: run.status, text: run.stdout + run.stderr };
}

async function swap(d, start, old, next) {
  if (old) assert.deepEqual(await old.stop(), { code: 0, signal: null }, old.tail());
  d.next = next;
  await d[start]();
}

test("a_release_is_exchanged_in_the_middle_of_a_run_forwards_and_back", async (t) => {
  const d = new Deployment({ config: { reaper: { relaunch_after: "1m" } } });
  t.after(() => d.stop());
  await d.startAll();
  const oldWorker = d.worker;
  await d.queueJobs({ count: 4 });

  // The ingress first, and too early: what it writes waits for a worker that can read it, and nothing is given up.
  d.writeConfig({ ingress: { record_format: 2 } });
  await swap(d, "startIngress", d.ingress, true);
  await d.queueJobs({ count: 6 });
  await until("the old worker leaves what it cannot read", () => newer(oldWorker).length >= 6);
  d.next = true;
  const refused = finishUpgrade(d);
  assert.equal(refused.code, 1, refused.text);
  assert.match(refused.text, /cannot read format 2 yet: .*mayfly-worker\/.*reads formats 1 to 1/);
  assert.match(refused.text, /mayfly-reaper\//);
  d.next = false;
  assert.match(finishUpgrade(d).text, /format 1 now/);

  // Beside a worker of the next release all of them run. What the old one returns is away for half of its age.
  d.next = true;
  const nextWorker = await d.startWorker();
  await d.untilJobsEnd(10, { seconds: 240 });
  assert.deepEqual(await oldWorker.stop(), { code: 0, signal: null });
  await swap(d, "startReaper", d.reaper, true);
  const finished = await until("the upgrade can be finished", () => { const r = finishUpgrade(d); return r.code === 0 && r; });
  assert.match(finished.text, /format 2 now .*set ingress\.record_format to 2/);
  await d.queueJobs({ count: 4 });
  await d.untilJobsEnd(14);

  // And back: the old worker leaves the new records, and takes the old ones that stand behind them.
  assert.deepEqual(await nextWorker.stop(), { code: 0, signal: null });
  await d.queueJobs({ count: 3 });
  d.writeConfig({ ingress: { record_format: 1 } });
  await swap(d, "startIngress", d.ingress, false);
  const back = await d.startWorker();
  await until("it leaves the three", () => newer(back).length >= 3);
  await d.queueJobs({ count: 5 });
  await until("five of eight have ended", async () => await count(d, "completed") >= 19);
  d.next = true;
  await d.startWorker();
  await d.untilJobsEnd(22, { seconds: 240 });
  await d.untilQuiet();
  const truth = assertSound(d, ["newer_version"]);
  assert.equal(truth.finished.size, 22);
  assert.equal(d.ctl("status").dead, 0);
});

// The figures of a pool of idle VMs, from logs that are made up; and that a runner which GitHub dropped fails it.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { Idle } from "./lib/idle.mjs";

const GITHUB = [
  { ts_ms: 1000, event: "job_created", job: 1 }, { ts_ms: 1040, event: "job_started", job: 1 }, { ts_ms: 4040, event: "job_finished", job: 1 },
  { ts_ms: 2000, event: "job_created", job: 2 }, { ts_ms: 13000, event: "job_started", job: 2 }, { ts_ms: 15000, event: "job_finished", job: 2 },
  { ts_ms: 16000, event: "request", auth: "pat" },
];
const PROVIDER = [{ event: "vm_ended", lived_ms: 9000 }, { event: "vm_ended", lived_ms: 21000 }];

async function judged(t, count, github) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-idle-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const write = (name, events) => { fs.writeFileSync(path.join(dir, name), events.map((e) => `${JSON.stringify(e)}\n`).join("")); return path.join(dir, name); };
  const idle = new Idle({ jobs: 2, organizations: ["acme"], githubLog: write("github", github), providerLog: write("provider", PROVIDER) }, count);
  Object.assign(idle, { beganMs: 0, endedMs: 20000 });
  return idle.verdict();
}

test("idle_vms_are_judged_by_waits_times_and_dropped_runners", async (t) => {
  const sound = await judged(t, 5, GITHUB);
  assert.deepEqual(sound, { failed: [], verdict: { min_idle: 5, queued_to_running_ms_p50: 11000, queued_to_running_ms_p95: 11000, vm_s: 30, job_s: 5, span_s: 20, github_calls: 1, dropped_idle: 0 } });
  const dropped = [...GITHUB, { ts_ms: 17000, event: "runner_removed", reason: "never-used" }];
  assert.deepEqual((await judged(t, 5, dropped)).failed, ["dropped_idle"]);
  assert.deepEqual((await judged(t, 0, dropped)).failed, []);
});

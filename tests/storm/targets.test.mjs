// The verdict on a target that is lost, and that of the bench with many targets, can fail: each of their numbers, from logs that are made up.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { judge } from "../bench/scale/verdict.mjs";
import { judgeTargets, targetsOf } from "./lib/targets.mjs";

const [A, B] = ["123456789012/us-east-1", "210987654321/us-east-1"];

function logs(t, files) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-verdict-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return Object.fromEntries(Object.entries(files).map(([name, events]) => {
    fs.writeFileSync(path.join(dir, name), events.map((e) => `${JSON.stringify(e)}\n`).join(""));
    return [name, path.join(dir, name)];
  }));
}

test("targets_are_two_accounts_by_turns", () => {
  const all = targetsOf(10);
  assert.equal(new Set(all.map(({ at }) => at)).size, 10);
  assert.equal(new Set(all.map(({ name }) => name)).size, 10);
  assert.deepEqual(all.slice(0, 2).map(({ at, role_arn: role }) => [at, role]), [[A, undefined], [B, "arn:aws:iam::210987654321:role/mayfly"]]);
  for (const { at, image } of all) assert.equal(image, `arn:aws:lambda:${at.split("/")[1]}:${at.split("/")[0]}:microvm-image:mayfly`);
});

// A is lost from 1000 to 5000; its circuit opens at 1200.
const launch = (ts_ms, microvm, target, target_alive, alive) => ({ ts_ms, event: "vm_requested", microvm, target, target_alive, alive });
const created = (ts_ms, job) => ({ ts_ms, event: "job_created", job });
const PROVIDER = [launch(500, "m-1", A, 1, 1), { ts_ms: 600, event: "vm_job", microvm: "m-1" }, launch(1500, "m-2", B, 1, 2), { ts_ms: 1600, event: "vm_job", microvm: "m-2" }, launch(6000, "m-3", A, 2, 3)];
const GITHUB = [created(400, 1), { ts_ms: 590, event: "job_started", job: 1 }, created(1300, 2), { ts_ms: 1600, event: "job_started", job: 2 }, created(5900, 3), { ts_ms: 6100, event: "job_started", job: 3 }];
const WHILE_AWAY = [created(1700, 4), { ts_ms: 4800, event: "job_started", job: 4 }];
const told = { launched_there_before: 1, launched_there_meanwhile: 0, launched_elsewhere: 1, launched_there_again: 1, target_alive_peak: 2, target_over_cap: 0, circuit_open_after_ms: 200, gaps: 1, gap_ms_p50: 200, gap_ms_p99: 200, gap_ms_max: 200, gap_ms_max_from_begin: 200 };

for (const { name, github = [], provider = [], expected } of [
  { name: "nothing", expected: {} },
  { name: "gap_ms_max", github: WHILE_AWAY, provider: [launch(4700, "m-4", B, 2, 3)], expected: { launched_elsewhere: 2, gaps: 2, gap_ms_p50: 3000, gap_ms_p99: 3000, gap_ms_max: 3000, gap_ms_max_from_begin: 3000 } },
  { name: "nothing_while_the_others_are_full", github: WHILE_AWAY, provider: [launch(1650, "m-4", B, 3, 3), { ts_ms: 1660, event: "vm_job", microvm: "m-4" }], expected: { launched_elsewhere: 2, target_alive_peak: 3 } },
  { name: "target_over_cap", provider: [launch(7000, "m-4", A, 4, 4)], expected: { launched_there_again: 2, target_alive_peak: 4, target_over_cap: 1 } },
  { name: "launched_there_meanwhile", provider: [launch(2000, "m-4", A, 2, 3)], expected: { launched_there_meanwhile: 1 } },
]) {
  test(`a_lost_target_is_judged_by_${name}`, async (t) => {
    const files = logs(t, { github: [...GITHUB, ...github], provider: [...PROVIDER, ...provider] });
    const found = await judgeTargets({ githubLog: files.github, providerLog: files.provider, condition: { target: A, from: 1000, to: 5000 }, targets: [A, B], cap: 10, maxVms: 3, openedAt: 1200 });
    assert.deepEqual(found, { ...told, ...expected });
  });
}

// --- the bench ---
const BENCH_GITHUB = [
  { ts_ms: 0, event: "job_created", job: 1, repository: "org-1/app" }, { ts_ms: 300, event: "runner_registered", runner: "r-1", scope: "org-1" }, { ts_ms: 900, event: "job_started", job: 1, runner: "r-1" },
  { ts_ms: 1000, event: "job_finished", job: 1, conclusion: "success" }, { ts_ms: 1000, event: "runner_removed", runner: "r-1" },
];
const BENCH_PROVIDER = [
  launch(350, "m-1", A, 1, 1), { ts_ms: 350, event: "request", operation: "RunMicrovm", error: null }, { ts_ms: 900, event: "vm_job", microvm: "m-1" },
  { ts_ms: 1100, event: "vm_state", microvm: "m-1", state: "TERMINATING", target: A, target_alive: 0, alive: 0 }, { ts_ms: 1200, event: "vm_ended", microvm: "m-1" },
];
const STATES = [{ memory_counted_peak_mib: 8192, memory_quota_mib: 16384 }, { memory_counted_peak_mib: 0, memory_quota_mib: 16384 }];
const SECOND = { ts_ms: 100, event: "job_created", job: 2, repository: "org-2/app" };

for (const { name, github = [], provider = [], states = STATES, jobs = 1, failed = [name] } of [
  { name: "nothing", failed: [] },
  { name: "lost", github: [SECOND], jobs: 2 },
  { name: "jobs", jobs: 2 },
  { name: "not_successful", github: [SECOND, { ts_ms: 200, event: "job_finished", job: 2, conclusion: "failure" }], jobs: 2 },
  { name: "run_twice", github: [{ ts_ms: 950, event: "job_started", job: 1, runner: "r-2" }] },
  { name: "ended_by_lost_runner", github: [{ ts_ms: 950, event: "job_lost", job: 1 }] },
  { name: "reused_vms", provider: [{ ts_ms: 950, event: "vm_job", microvm: "m-1" }] },
  { name: "vms_left", provider: [launch(400, "m-2", B, 1, 2)] },
  { name: "over_cap", provider: [launch(400, "m-2", B, 3, 4), { ts_ms: 500, event: "vm_ended", microvm: "m-2" }] },
  { name: "memory_over_quota", states: [{ memory_counted_peak_mib: 16385, memory_quota_mib: 16384 }, STATES[1]] },
  { name: "throttled_share", provider: [{ ts_ms: 400, event: "request", operation: "TerminateMicrovm", error: "ThrottlingException" }] },
]) {
  test(`the_bench_is_judged_by_${name}`, async (t) => {
    const files = logs(t, { github: [...BENCH_GITHUB, ...github], provider: [...BENCH_PROVIDER, ...provider] });
    assert.deepEqual((await judge({ githubLog: files.github, providerLog: files.provider, states, maxVms: 2, jobs })).failed, failed);
  });
}

test("the_bench_measures_waits_of_each_organization", async (t) => {
  const late = [SECOND, { ts_ms: 2100, event: "runner_registered", runner: "r-2", scope: "org-2" }, { ts_ms: 2900, event: "job_started", job: 2, runner: "r-2" }, { ts_ms: 3000, event: "job_finished", job: 2, conclusion: "success" }];
  const files = logs(t, { github: [...BENCH_GITHUB, ...late], provider: BENCH_PROVIDER });
  const { verdict } = await judge({ githubLog: files.github, providerLog: files.provider, states: STATES, maxVms: 2, jobs: 2 });
  assert.deepEqual([verdict.launchable_wait_s_max, verdict.wait_s_p50, verdict.wait_s_max], [2, 2.8, 2.8]);
});

// The verdict on conditions that last can fail: each of its numbers, from logs that are made up.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { judgeTrouble } from "./lib/trouble.mjs";

// One job that waits until the trouble (from 1 s to 2 s) is over, and one VM for it.
const GITHUB = [
  { ts_ms: 0, event: "job_created", job: 1, repository: "acme/a" },
  { ts_ms: 2100, event: "runner_registered", runner: "vm-1", runner_id: 1 },
  { ts_ms: 2200, event: "job_started", job: 1, runner: "vm-1" },
  { ts_ms: 2300, event: "job_finished", job: 1, runner: "vm-1" },
];
const PROVIDER = [
  { ts_ms: 2110, event: "vm_requested", microvm: "m-1" },
  { ts_ms: 2150, event: "vm_state", microvm: "m-1", state: "RUNNING", runner: "vm-1" },
  { ts_ms: 2160, event: "request", operation: "ListMicrovms", path: "/2025-09-09/microvms", error: null },
];
const CONDITION = { kind: "outage-aws", from: 1000, to: 2000, failed: 3, warnings: 0, starting: 0 };

async function judged(t, { github = [], provider = [], told = [], condition = {}, slotsHeld = 0 } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-verdict-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const write = (name, events) => {
    fs.writeFileSync(path.join(dir, name), events.map((e) => `${JSON.stringify(e)}\n`).join(""));
    return path.join(dir, name);
  };
  async function* lines() { yield* told; }
  const { verdict, failed } = await judgeTrouble({
    githubLog: write("github", [...GITHUB, ...github]), providerLog: write("provider", [...PROVIDER, ...provider]), programs: [{ lines }],
    conditions: [{ ...CONDITION, ...condition }], slotsHeld, cap: 1, rate: 50, factor: 10, slowness: 1, seconds: new Map([[1, 1]]),
  });
  return { verdict, failed };
}

test("trouble_that_cost_time_alone_is_good", async (t) => {
  const { verdict, failed } = await judged(t);
  assert.deepEqual(failed, []);
  assert.deepEqual([verdict.waiting_at_end, verdict.registrations, verdict.registrations_wasted, verdict.last_job_s], [1, 1, 0, 0.2]);
});

test("a_job_whose_webhook_left_no_trace_may_wait_for_the_search", async (t) => {
  const late = [{ ts_ms: 100, event: "job_created", job: 2, repository: "acme/a" }, { ts_ms: 60000, event: "job_started", job: 2, runner: "vm-9" }];
  for (const [condition, expected] of [[{ untraced: 0 }, ["last_job_s"]], [{ untraced: 20 }, []]]) {
    const { failed } = await judged(t, { github: late, condition });
    assert.deepEqual(failed, expected);
  }
});

const BAD = {
  dead_letters: { told: [{ msg: "message_dead_lettered", message_id: "7", reason: "register" }] },
  jobs_with_spent_attempts: { told: [{ msg: "launch_failed", job_id: 1, attempts: 0 }, { msg: "launch_failed", job_id: 1, attempts: 1 }] },
  never_run: { github: [{ ts_ms: 100, event: "job_created", job: 2, repository: "acme/a" }] },
  slots_held: { slotsHeld: 1 },
  slots_unknown: { slotsHeld: null },
  invalid_requests: { provider: [{ ts_ms: 2200, event: "request", operation: "GetMicrovm", path: "/2025-09-09/microvms/", error: "ResourceNotFoundException" }] },
  registrations_wasted: { github: [{ ts_ms: 1700, event: "runner_registered", runner: "vm-2", runner_id: 2 }] },
  last_job_s: { github: [{ ts_ms: 100, event: "job_created", job: 2, repository: "acme/a" }, { ts_ms: 32000, event: "job_started", job: 2, runner: "vm-9" }] },
  "not_happened_outage-aws": { condition: { failed: 0 } },
  healthy: { condition: { tenants: ["acme/a"] } },
  healthy_waiting: { condition: { from: -20000, to: 20000, tenants: ["acme/closed"] }, github: [{ ts_ms: 0, event: "job_created", job: 2, repository: "acme/a" }, { ts_ms: 20100, event: "job_started", job: 2, runner: "vm-9" }] },
};
for (const [number, changes] of Object.entries(BAD)) {
  test(`verdict_fails_by_${number}`, async (t) => {
    const { failed } = await judged(t, changes);
    assert.deepEqual(failed, [number]);
  });
}

test("registrations_in_flight_and_those_of_probes_may_be_wasted", async (t) => {
  const wasted = (runner, at) => ({ ts_ms: at, event: "runner_registered", runner, runner_id: at });
  const { verdict, failed } = await judged(t, { github: [wasted("vm-2", 1050), wasted("vm-3", 1800)], told: [{ msg: "circuit_half_open" }] });
  assert.deepEqual([failed, verdict.registrations_wasted, verdict.registrations_wasted_bound], [[], 2, 2]);
});

test("healthy_jobs_behind_a_backlog_run_as_many_as_the_cap_allows", async (t) => {
  const backlog = Array.from({ length: 10 }, (_, i) => ({ ts_ms: i, event: "job_created", job: 10 + i, repository: "acme/a" }));
  const runs = (count) => backlog.map((e, i) => ({ ts_ms: i < count ? 20000 + i : 30001 + i, event: "job_started", job: e.job, runner: `vm-${e.job}` }));
  for (const [started, waiting] of [[4, 0], [3, 1], [0, 4]]) {
    const { verdict } = await judged(t, { condition: { from: 10000, to: 30000, tenants: ["acme/closed"] }, github: [...backlog, ...runs(started)] });
    assert.deepEqual([verdict.healthy, verdict.healthy_waiting], [4, waiting]);
  }
});

test("time_that_the_stand_ins_took_is_allowed", async (t) => {
  const slow = [{ ts_ms: 2160, event: "vm_job", microvm: "m-1", job: 1, runner: "vm-1" }, { ts_ms: 8110, event: "vm_job_done", microvm: "m-1", job: 1 }];
  for (const [provider, overhead, allowed] of [[[], 2, 9], [slow, 5.9, 12.9]]) {
    const { verdict } = await judged(t, { provider });
    assert.deepEqual([verdict.vm_overhead_s, verdict.last_job_allowed_s], [overhead, allowed]);
  }
});

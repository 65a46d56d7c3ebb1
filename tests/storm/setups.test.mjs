// The verdicts on conditions that change who is there can fail: each of their numbers, from logs that are made up.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { judgeApart } from "./lib/apart.mjs";
import { SETUPS } from "./lib/setups.mjs";

function logs(t, files) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-verdict-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return Object.fromEntries(Object.entries(files).map(([name, events]) => {
    fs.writeFileSync(path.join(dir, name), events.map((e) => `${JSON.stringify(e)}\n`).join(""));
    return [name, path.join(dir, name)];
  }));
}

// Each deployment has a VM, a runner and a job, and ends its own.
const PROVIDER = [
  { event: "vm_requested", microvm: "m-1", image: "mayfly" }, { event: "vm_requested", microvm: "m-2", image: "mayfly-eu" },
  { event: "request", operation: "TerminateMicrovm", path: "/2025-09-09/microvms/m-1", key: "A" },
  { event: "request", operation: "TerminateMicrovm", path: "/2025-09-09/microvms/m-2", key: "B" },
];
const GITHUB = [
  { event: "job_created", job: 1, labels: ["self-hosted"] }, { event: "job_created", job: 2, labels: ["self-hosted", "eu"] },
  { event: "runner_registered", runner: "mf-0-storm-storm-1", runner_id: 11 }, { event: "runner_registered", runner: "mf-1-storm-eu-eu-2", runner_id: 12 },
  { event: "job_started", job: 1, runner: "mf-0-storm-storm-1" }, { event: "job_started", job: 2, runner: "mf-1-storm-eu-eu-2" },
  { event: "request", operation: "delete-runner", path: "/orgs/acme/actions/runners/11", auth: "installation" },
  { event: "request", operation: "delete-runner", path: "/orgs/acme/actions/runners/12", auth: "pat" },
];

const APART = {
  nothing: [[], []],
  touched_vms: [[{ event: "request", operation: "TerminateMicrovm", path: "/2025-09-09/microvms/m-1", key: "B" }], []],
  touched_runners: [[], [{ event: "request", operation: "delete-runner", path: "/orgs/acme/actions/runners/12", auth: "installation" }]],
  jobs_elsewhere: [[], [{ event: "job_created", job: 3, labels: ["self-hosted", "eu"] }, { event: "job_started", job: 3, runner: "mf-0-storm-storm-9" }]],
};
for (const [number, [provider, github]] of Object.entries(APART)) {
  test(`deployments_are_judged_by_${number}`, async (t) => {
    const files = logs(t, { provider: [...PROVIDER, ...provider], github: [...GITHUB, ...github], keys: [{ event: "key_issued", access_key_id: "B", role: "eu" }] });
    const told = await judgeApart({ githubLog: files.github, providerLog: files.provider, keysLog: files.keys, euKey: "none" });
    const expected = { vms: { storm: 1, eu: 1 }, touched_vms: 0, touched_runners: 0, jobs_elsewhere: 0 };
    assert.deepEqual(told, number === "nothing" ? expected : { ...expected, [number]: 1 });
  });
}

const HOSTS = { gone: new Set(["mf-1"]), freed_s: 36, running: 1, peak: 8, left: 0 };
const HOST = {
  nothing: [{}, []],
  lost_elsewhere: [{}, [{ event: "job_lost", job: 2, runner: "mf-2" }]],
  host_over_cap: [{ peak: 9 }, []],
  host_vms_left: [{ left: 1 }, []],
  host_slots_free_s: [{ freed_s: undefined }, []],
};
for (const [number, [hosts, github]] of Object.entries(HOST)) {
  test(`a_host_that_is_gone_is_judged_by_${number}`, async (t) => {
    const files = logs(t, { github: [{ event: "job_lost", job: 1, runner: "mf-1" }, ...github] });
    const { failed } = await SETUPS["host-gone"].verdict({ hosts: { ...HOSTS, ...hosts }, githubLog: files.github, scale: 10 });
    assert.deepEqual(failed, number === "nothing" ? [] : [number]);
  });
}

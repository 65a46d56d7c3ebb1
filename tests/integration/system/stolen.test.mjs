// Lost deliveries beside an idle fleet. GitHub gives a VM to any job of its scope and labels, so one that a job nobody knows
// of takes was launched for another, which then has neither VM nor message.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { Deployment, judge } from "../lib/deployment.mjs";

// The defaults, and nothing comes of waiting.
const patient = { interval: "10s", confirm_after: "1m", relaunch_after: "1h", stale_runner_scan_interval: "5m", vm_list_interval: "2m" };

async function start(t, reaper, most) {
  const d = new Deployment({ config: { reaper, limits: { max_vms: most } } });
  d.options.classes = [d.fakeQemuClass({ max_vms: most, idle_timeout: "2m", qemu: { boot_timeout: "60s" } })];
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  const { hook_id: id } = (await d.fake("POST", "/_fake/webhook-url", { url: `http://127.0.0.1:${d.ingressPort}/webhook`, secret: d.secret })).json;
  d.writeConfig({ github: { hook: { id, organization: "acme" } } });
  await d.startWorker();
  await d.startReaper();
  return d;
}

const seconds = (from, to) => (to - from) / 1000;

// When each job that runs was started, and the last `queued` that did not arrive.
function times(d) {
  const log = d.log();
  const started = log.filter((e) => e.event === "job_started");
  const lost = log.filter((e) => e.event === "webhook" && !(e.status >= 200 && e.status < 300));
  return { created: log.find((e) => e.event === "job_created").ts_ms, started, lost, queued: lost.filter((e) => e.action === "queued") };
}

test("with_a_tenth_of_all_webhooks_lost_200_jobs_start_within_a_minute", async (t) => {
  const d = await start(t, patient, 250);
  await d.fake("POST", "/_fake/faults", [{ webhook: "drop", probability: 0.1 }]);
  await d.queueJobs({ count: 200, command: "sleep 20" });
  await until("all have started", () => new Set(times(d).started.map((e) => e.job)).size === 200, { seconds: 600, every_ms: 500 });
  const { started, lost, queued, created } = times(d);
  const after = started.map((e) => seconds(queued.at(-1).ts_ms, e.ts_ms)).sort((a, b) => a - b);
  const launches = d.worker.events.filter((e) => e.msg === "vm_launched").length;
  t.diagnostic(`${lost.length} lost, ${queued.length} queued; starts after the last lost queued: ${after.slice(-40).map((s) => s.toFixed(0)).join(" ")}; `
    + `last ${seconds(created, started.at(-1).ts_ms).toFixed(0)} s after the first job; ${launches} launches`);
  assert.ok(after.at(-1) <= 60, `the last job started ${after.at(-1)} s after its loss was visible`);
  assert.ok(launches <= 205, `${launches} launches for 200 jobs`);
  await d.untilJobsEnd(200, { seconds: 120 });
  const truth = judge(d.log());
  assert.deepEqual(truth.ranTwice, []);
  assert.deepEqual(truth.sharedRunners, []);
});

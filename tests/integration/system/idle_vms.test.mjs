// A class that keeps idle VMs: a job starts on one of them, those that idle are replaced before GitHub drops them, and a reload ends it.
import test from "node:test";
import assert from "node:assert/strict";
import { Deployment } from "../lib/deployment.mjs";
import { until } from "../../lib/wait.mjs";
import { assertSound } from "../lib/sound.mjs";

const COUNT = 2;
const idleNow = (d) => d.ctl("vms").filter((vm) => vm.state === "launched").map((vm) => vm.vm).sort();
const events = (d, name) => d.log().filter((e) => e.event === name);

async function setIdle(d, min_idle) {
  d.options.classes = [{ ...d.fakeQemuClass(), ...(min_idle && { min_idle }) }];
  d.writeConfig();
  for (const p of [d.worker, d.reaper]) {
    const before = p.events.filter((e) => e.msg === "config_reloaded").length;
    p.process.kill("SIGHUP");
    await until("the configuration is read again", () => p.events.filter((e) => e.msg === "config_reloaded").length > before);
  }
}

test("idle_vms_wait_for_jobs_are_replaced_in_time_and_end_with_a_reload", async (t) => {
  const d = new Deployment({ fakeArgs: ["--jit-idle-s", "15"] });
  t.after(() => d.stop());
  d.options.classes = [{ ...d.fakeQemuClass(), idle_timeout: "12s", min_idle: { count: COUNT, scopes: ["acme"], replace_after: "4s" } }];
  await d.startAll();
  await until("the pool is full", async () => (await d.runners()).filter((r) => r.online).length === COUNT);
  const first = idleNow(d);
  assert.equal(first.length, COUNT);
  assert.deepEqual([d.ctl("status").classes[0].idle_wanted, d.ctl("classes")[0].vms_launched], [COUNT, COUNT]);
  assert.match(d.ctlText("classes"), /class small keeps 2 VMs idle, and has 2 without a job/);

  // It starts at once, on a VM that was there, and its own launch request fills the pool again.
  const [job] = await d.queueJobs({ command: "sleep 10" });
  const { runner } = await until("the job runs", () => events(d, "job_started").find((e) => e.job === job.id));
  const taken = idleNow(d);
  assert.equal(events(d, "runner_registered").find((e) => e.runner === runner).ts_ms < events(d, "job_created")[0].ts_ms, true, `${runner} was there before`);
  await until("the pool is full again", () => idleNow(d).filter((name) => name !== runner).length >= COUNT);

  // All who idle are replaced while it runs, and it is not touched.
  const old = [...first, ...taken].filter((name) => name !== runner);
  await until("those that idled are replaced", () => !idleNow(d).some((name) => old.includes(name)), { seconds: 60 });
  await until("the pool is full", () => idleNow(d).length >= COUNT);
  assert.equal((await until("the job has ended", async () => { const j = await d.job(job.id); return j.state === "completed" && j; }, { seconds: 60 })).conclusion, "success");
  const ended = d.reaper.events.filter((e) => e.msg === "vm_terminated" && e.reason === "idle: another one has replaced it");
  assert.ok(ended.length >= old.length - 1, JSON.stringify(ended));
  assert.ok(!ended.some((e) => e.vm === runner));

  const { admin_port: port } = d.reaper.events.find((e) => e.msg === "started");
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await until("the fleet's gauges", async () => /^mayfly_fleet_idle_wanted\{[^}]*class="small"[^}]*\} 2$/m.test(await metrics()));
  assert.match(await metrics(), /^mayfly_reaper_idle_vms_ended_total\{[^}]*class="small",reason="replaced"[^}]*\} [1-9]/m);
  assert.deepEqual(events(d, "runner_removed").filter((e) => e.reason === "never-used"), [], "GitHub dropped none");

  await setIdle(d, null);
  await d.untilQuiet({ seconds: 90 });
  assertSound(d);
});

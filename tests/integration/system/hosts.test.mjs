// Hosts with VMs of their own: drained, copied, and divided between a worker and a reaper that do not share a state_dir.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment, Program } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const INTERVAL = { heartbeat_interval: "500ms" };
const idIn = (d) => fs.readFileSync(path.join(d.stateDir, "host-id"), "utf8").trim();

test("drained_host_launches_nothing_until_it_is_undrained", async (t) => {
  const d = new Deployment({ config: INTERVAL });
  t.after(() => d.stop());
  await d.startAll();
  await until("both have a heartbeat", () => d.ctl("hosts")[0]?.programs === 2);
  const [host] = d.ctl("hosts");
  assert.deepEqual([host.host, host.state, d.ctl("hosts").length], [idIn(d), "up", 1]);
  assert.ok(d.ctl("workers").every((w) => w.host === host.host && w.classes === "small" && !w.waiting), JSON.stringify(d.ctl("workers")));
  d.ctl("host", "drain", host.host);
  await d.worker.waitFor("host_drained");
  const [job] = await d.queueJobs();
  await until("the job's request is on its lane", () => d.ctl("status").lanes.some((l) => l.lane === "launch.small" && l.ready === 1));
  assert.equal(d.ctl("hosts")[0].state, "drained");
  d.ctl("host", "undrain", host.name);
  await d.untilJobsEnd(1);
  const undrained = d.worker.events.findIndex((e) => e.msg === "host_undrained");
  const launched = d.worker.events.findIndex((e) => e.msg === "vm_launched");
  assert.ok(undrained >= 0 && undrained < launched, `undrained ${undrained}, launched ${launched}`);
  assert.equal((await d.job(job.id)).conclusion, "success");
  await d.untilQuiet();
  assertSound(d, []);
});

// Another process namespace stands for another container, or another machine with a copy of the disk.
function startCopy(d) {
  const copy = new Program("copy", "unshare", ["--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "unchanged", d.program("mayfly-worker"), "--config", d.configFile]);
  d.programs.push(copy);
  return copy;
}

test("copy_of_a_host_is_refused_while_the_host_runs_and_begins_when_it_is_gone", async (t) => {
  const d = new Deployment({ config: INTERVAL });
  t.after(() => d.stop());
  await d.startAll();
  const copy = startCopy(d);
  await copy.waitFor("host_id_in_use");
  const { error } = await copy.waitFor("startup_failed");
  assert.match(error, new RegExp(`host id ${idIn(d)} belongs to another mayfly-worker`));
  assert.equal((await copy.exited).code, 1);
  await d.worker.stop("SIGKILL");
  const next = startCopy(d);
  await next.waitFor("host_id_in_use");
  await next.waitFor("started");
  await d.queueJobs();
  await d.untilJobsEnd(1);
  await d.untilQuiet();
  assertSound(d, ["host_id_in_use", "startup_failed"]);
});

test("reaper_with_another_state_dir_reports_it_and_touches_no_vm_of_the_worker", async (t) => {
  const d = new Deployment({ config: INTERVAL });
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  const [job] = await d.queueJobs({ command: "sleep 3" });
  await d.worker.waitFor("vm_launched");
  d.writeConfig({ state_dir: path.join(d.dir, "other") });
  await d.startReaper();
  assert.equal((await d.reaper.waitFor("host_ids_differ")).other_host, idIn(d));
  await until("status says so", () => /until both have one state_dir/.test(JSON.stringify(d.ctl("status").notices)));
  await d.untilJobsEnd(1);
  assert.equal((await d.job(job.id)).conclusion, "success");
  await d.untilQuiet();
  assert.ok(!d.reaper.events.some((e) => e.msg === "vm_terminated" || e.msg === "vm_presumed_gone"), d.reaper.tail());
  assertSound(d, ["host_ids_differ"]);
});

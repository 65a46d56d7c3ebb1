// A host with room for two VMs, by what they may use and not by what they do: the other jobs wait, spend nothing, and say why.
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { until } from "../../lib/wait.mjs";
import { Deployment, judge } from "../lib/deployment.mjs";

test("full_host_has_jobs_wait_for_a_vm_to_end_and_spends_nothing", async () => {
  const deployment = new Deployment({ config: { circuit: { open_duration: "1s", max_open_duration: "2s" } } });
  const st = fs.statfsSync(deployment.dir);
  const unused = st.bavail * st.bsize;
  const disk = Math.floor(unused / 8);
  deployment.options.classes = [deployment.fakeQemuClass({ qemu: { disk_size: `${disk}B`, disk_overcommit: 1, reserved_disk: `${unused - Math.floor(disk * 2.5)}B` } })];
  try {
    await deployment.startAll();
    await deployment.queueJobs({ count: 6, command: "sleep 1" });
    await until("a job waits for the host", async () => {
      const waiting = (await deployment.jobs()).filter((job) => job.state === "queued");
      return waiting.some((job) => deployment.ctlText("why", String(job.id)).includes("host full"));
    }, { seconds: 30, every_ms: 100 });
    const jobs = await deployment.untilJobsEnd(6);
    assert.deepEqual(jobs.map((job) => job.conclusion), Array(6).fill("success"));
    const { maxOnline, registered } = judge(deployment.log());
    assert.ok(maxOnline <= 2);
    const launched = deployment.worker.events.filter((e) => e.msg === "vm_launched");
    assert.equal(registered.size, launched.length, "no runner is registered for a VM that cannot start");
    assert.equal(deployment.worker.events.filter((e) => e.msg === "launch_failed" && (e.action !== "wait" || !e.subject.startsWith("host:"))).length, 0);
    const { admin_port: port } = deployment.worker.events.find((e) => e.msg === "started");
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    assert.match(metrics, /mayfly_vm_capacity_limit_bytes\{class="small",resource="disk"\} [1-9]/);
    assert.ok(deployment.worker.events.some((e) => e.msg === "vms_share_store_disk" && e.store === "ledger"));
  } catch (error) {
    throw new Error(`${error.message}\n${deployment.tails()}`);
  } finally {
    await deployment.stop();
  }
});

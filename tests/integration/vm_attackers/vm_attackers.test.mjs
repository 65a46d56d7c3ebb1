// A job works while others beside it, as root in VMs of their own, use up all that they can: their disk, their memory, the console and
// the status port, processes, and time. Queue, ledger and VMs are on one file system of 850 MiB, on which four of the six VMs fit: the
// others wait. No process is in a control group here.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";

const box = process.argv[2];
const MIB = 1 << 20;
const attackMs = 90_000;

// None of them ends by itself, and each fills its disk.
const fill = "{ dd if=/dev/zero of=/fill bs=1M; sync; } &";
const attacks = {
  disk: "while :; do dd if=/dev/urandom of=/fill bs=1M conv=notrunc; sync; done",
  memory: "while :; do head -c 1g /dev/zero | tail | wc -c; done",
  ports: `for port in /dev/vport*; do dd if=/dev/zero of=$port bs=64k count=2400 & done
    dd if=/dev/zero bs=64k count=2400 | tr '\\0' 'x' > /dev/ttyS0; while :; do sleep 1; done`,
  processes: "bomb() { bomb | bomb & }; bomb; while :; do :; done",
  time: "for p in $(pidof mayfly-agent); do kill -STOP $p; done; trap '' TERM HUP INT; while :; do sleep 1; done",
};

const victim = `
  i=0; while [ $i -lt 120 ]; do i=$((i + 1)); head -c 500000 /dev/urandom > /data.$((i % 20)) || echo "WRITE FAILED $i"
    sync; md5sum /data.$((i % 20)) > /sum.$((i % 20)); sleep 0.5; done
  for n in $(seq 0 19); do md5sum -c /sum.$n >/dev/null || echo "WRONG DATA $n"; done; echo "victim ok"`;

function deploy() {
  const deployment = new Deployment({ dir: path.join(box, "deployment"), runnerUrl: "http://10.0.2.2:{PORT}",
    config: { limits: { max_vms: 10 }, reaper: { interval: "2s", relaunch_after: "10m", startup_timeout: "9m" } } });
  const qemu = { image: process.env.MAYFLY_TEST_IMAGE_ROOT, binary: "", accel: "auto", memory: "192MiB", restore: true, boot_timeout: "8m",
    confine: true, disk_size: "160MiB", memory_overcommit: 1, disk_overcommit: 1, reserved_disk: "64MiB" };
  const common = { max_vms: 10, idle_timeout: "5m", qemu };
  deployment.options.classes = [
    deployment.fakeQemuClass({ ...common, max_duration: "20m" }),
    deployment.fakeQemuClass({ ...common, name: "attack", labels: ["self-hosted", "attack"], required_labels: ["attack"], max_duration: `${attackMs / 1000}s` })];
  return deployment;
}

const unused = () => { const st = fs.statfsSync(box); return Math.floor((st.bavail * st.bsize) / MIB); };

async function areReady(deployment) {
  for (const program of [deployment.ingress, deployment.worker, deployment.reaper]) {
    const { admin_port: port } = program.events.find((e) => e.msg === "started");
    assert.equal(program.result, undefined, `${program.name} has ended`);
    assert.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200, program.name);
  }
}

async function runOne(deployment, name, command, seconds) {
  const [{ id }] = await deployment.queueJobs({ name, command });
  await until(`${name} has ended`, async () => (await deployment.job(id)).state === "completed", { seconds, every_ms: 200 });
  return deployment.job(id);
}

test("job_beside_attackers_ends_well_and_the_box_is_whole_again", async () => {
  const deployment = deploy();
  let least = Infinity;
  const timer = setInterval(() => { least = Math.min(least, unused()); }, 100);
  try {
    await deployment.startAll();
    assert.equal((await runOne(deployment, "first", "echo saved", 600)).conclusion, "success"); // makes the snapshot
    await deployment.untilQuiet();
    const before = unused();
    const [{ id }] = await deployment.queueJobs({ name: "victim", command: victim });
    for (const [name, command] of Object.entries(attacks)) await deployment.queueJobs({ name, command: `${fill}\n${command}`, labels: ["self-hosted", "attack"] });
    const started = () => deployment.log().filter((e) => e.event === "job_started").map((e) => e.job);
    await until("the host is full", async () => {
      const waiting = (await deployment.jobs()).filter((job) => !started().includes(job.id));
      return waiting.length > 0 && waiting.some((job) => deployment.ctlText("why", String(job.id)).includes("host full"));
    }, { seconds: 300, every_ms: 500 });
    await areReady(deployment);
    await until("the victim has ended", async () => (await deployment.job(id)).state === "completed", { seconds: 900, every_ms: 500 });
    const { conclusion, output } = await deployment.job(id);
    assert.equal(output.trim().split("\n").at(-1), "victim ok", output);
    assert.doesNotMatch(output, /FAILED|WRONG/);
    assert.equal(conclusion, "success");
    await areReady(deployment);
    await until("all attackers had their time", () => started().length >= 7, { seconds: 600, every_ms: 500 });
    // Their deadline ends them, whatever runs in them.
    await until("the attackers' VMs have ended", () => deployment.processes().length === 0, { seconds: 300, every_ms: 500 });
    await until("their disks are deleted", () => unused() >= before - 32, { seconds: 60, every_ms: 200 });
    const after = unused();
    console.log(`MiB free: ${before} before, at least ${least} meanwhile, ${after} after`);
    assert.ok(least >= 64, `${least} MiB were free: less than is reserved for the stores`);
    assert.ok(least < before - 100, `${least} MiB were free at least: nothing was attacked`);
    assert.equal(deployment.worker.events.filter((e) => e.msg === "vm_io_error").length, 0);
    for (const vm of fs.readdirSync(path.join(deployment.stateDir, "test.attack")).filter((name) => !name.startsWith("."))) {
      const dir = path.join(deployment.stateDir, "test.attack", vm);
      const size = (name) => (fs.existsSync(path.join(dir, name)) ? fs.statSync(path.join(dir, name)).size : 0);
      assert.ok(size("console.log") + size("console.log.1") <= MIB && size("status") <= 65536, dir);
    }
    assert.equal((await runOne(deployment, "last", "echo whole", 120)).conclusion, "success");
    await areReady(deployment);
  } catch (error) {
    throw new Error(`${error.message}\n${unused()} MiB free\n${deployment.tails()}`);
  } finally {
    clearInterval(timer);
    await deployment.stop();
  }
});

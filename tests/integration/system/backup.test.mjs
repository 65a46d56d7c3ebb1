// A backup of both SQLite files while the programs work, and the restore, as the documentation has it: no job is lost, doubled or ended at work.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { outage } from "../lib/outage.mjs";
import { assertSound } from "../lib/sound.mjs";

const hasty = { worker: { visibility_timeout: "3s" }, reaper: { interval: "300ms", lease_duration: "2s", relaunch_after: "1500ms", startup_timeout: "10s" } };

test("a_backup_is_restored_and_every_job_runs_once", async (t) => {
  const d = new Deployment({ config: { ...hasty, limits: { max_vms: 4 } } });
  t.after(() => d.stop());
  await d.startAll();
  const state = async (name) => (await d.jobs()).filter((job) => job.state === name).length;
  await d.queueJobs({ count: 4, command: "sleep 4" });
  await until("the cap is busy", async () => (await state("in_progress")) === 4);
  await d.queueJobs({ count: 8, command: "sleep 0.1" });
  await d.fake("GET", "/_fake/wait?webhooks_ok=16&timeout=20");
  const to = `${d.dir}/copy`;
  const copy = d.ctl("backup", to);
  for (const store of ["queue", "ledger"]) {
    assert.equal(copy[store].file, `${to}/${store}.db`);
    const stat = fs.statSync(copy[store].file);
    assert.equal(stat.size, copy[store].bytes);
    assert.equal(stat.mode & 0o777, 0o600);
  }
  assert.throws(() => d.ctlText("backup", to), /exists: a backup replaces no file/);
  assert.deepEqual(fs.readdirSync(to).sort(), ["ledger.db", "queue.db"], "nothing half-made is left");

  for (const program of [d.ingress, d.worker, d.reaper]) await program.stop("SIGKILL");
  for (const store of ["queue", "ledger"]) {
    for (const end of ["-wal", "-shm"]) fs.rmSync(`${d.dir}/${store}.db${end}`, { force: true });
    fs.copyFileSync(copy[store].file, `${d.dir}/${store}.db`);
  }
  await d.startIngress();
  await d.startWorker();
  await d.startReaper();
  const { reason } = await d.reaper.waitFor("recovery_started"); // young as the copy is
  assert.match(reason, /was restored/);
  await d.untilJobsEnd(12, { seconds: 90 });
  await d.untilQuiet({ seconds: 60 });
  const truth = assertSound(d, ["job_relaunched", "orphan_vms_adopted", "orphan_vm_terminated"]);
  assert.equal(truth.finished.size, 12);
  assert.deepEqual((await d.jobs()).filter((job) => job.conclusion !== "success"), []);
});

// A program makes the stores; mayflyctl does not.
async function makeStores(d) {
  await d.startReaper();
  await d.reaper.stop();
}

test("a_store_that_is_no_file_is_left_to_its_own_backup", async (t) => {
  const d = outage(t);
  await d.startGitHub();
  const url = await d.startRedis();
  d.writeConfig({ queue: url, ledger: url });
  await makeStores(d);
  assert.throws(() => d.ctlText("backup", `${d.dir}/none`), /neither queue nor ledger is an SQLite file/);
  assert.ok(!fs.existsSync(`${d.dir}/none`));
  d.writeConfig({ queue: url });
  await makeStores(d);
  const copy = d.ctl("backup", `${d.dir}/copy`);
  assert.equal(copy.queue.file, null);
  assert.deepEqual(fs.readdirSync(`${d.dir}/copy`), ["ledger.db"]);
});

test("an_answer_that_cannot_be_written_is_no_success", async (t) => {
  const d = new Deployment();
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await makeStores(d);
  const full = fs.openSync("/dev/full", "w");
  t.after(() => fs.closeSync(full));
  for (const command of [["status"], ["--json", "hosts"], ["dlq", "list"], ["--help"], ["--version"]]) {
    const run = spawnSync(d.program("mayflyctl"), ["--config", d.configFile, ...command], { stdio: ["ignore", full, "pipe"], encoding: "utf8" });
    assert.equal(run.status, 1, command.join(" "));
    assert.match(run.stderr, /standard output: No space left on device/);
  }
});

// The verdict that every system test ends with, from the stand-in's own log.
import assert from "node:assert/strict";
import { judge } from "./deployment.mjs";

// `expected`: the warnings and errors that this test provokes, by event; any other one fails it.
export function assertSound(d, expected = []) {
  const truth = judge(d.log());
  const over = new Set([...truth.finished.keys(), ...truth.cancelled]);
  assert.deepEqual(truth.created.filter((job) => !over.has(job)), [], "jobs lost");
  assert.deepEqual(truth.ranTwice, [], "jobs that ran twice");
  assert.deepEqual(truth.sharedRunners, [], "VMs that ran more than one job");
  assert.deepEqual(truth.runnersLeft, [], "registrations left");
  assert.deepEqual(truth.invalid, [], "requests that GitHub would not take");
  assert.deepEqual(d.vms(), [], "slots held");
  assert.deepEqual(d.processes(), [], "processes left");
  const reports = d.programs.flatMap((p) => p.events.filter((e) => e.msg === "text" && /Sanitizer|runtime error|internal error/.test(e.text)));
  assert.deepEqual(reports, [], "what the sanitizers or assertions say");
  // A deployment of the tests is one folder, stores and VMs, of whoever runs them, its fleet may be smaller than a class, and without an App its new
  // ledger has no delivery log.
  // Its limits are seconds, so that a VM which boots longer than one on a busy machine is taken for idle, or for stuck; neither warning ends anything.
  const ofEach = ["vms_share_store_disk", "recovery_without_log", "vms_share_user", "config_warning", "job_stuck_with_idle_runners", "launch_stuck", ...expected];
  // A lease of so few seconds is lost by whoever the machine does not run for as long, which is what leases are for.
  if (d.options.config?.reaper?.lease_duration) ofEach.push("lease_lost");
  const isUnexpected = (e) => ["warn", "error"].includes(e.level) && !ofEach.includes(e.msg);
  assert.deepEqual(d.programs.flatMap((p) => p.events.filter(isUnexpected).map((e) => `${p.name}: ${JSON.stringify(e)}`)), [], "warnings");
  return truth;
}

// A job that cannot be helped gets a terminal answer at GitHub, where reaper.give_up is on; and nobody else's run is touched.
import test from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const CLOSED = "Closed";

// An App with those permissions; the class's runner group admits acme/app, and not acme/shut.
async function start(t, permissions) {
  const d = new Deployment({ config: {
    github: { token: "", runner_group: CLOSED },
    reaper: { interval: "200ms", give_up: true, give_up_after: "4s", startup_timeout: "3s" } } });
  t.after(() => d.stop());
  const { privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = path.join(d.dir, "app.pem");
  fs.writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  d.options.fakeArgs = ["--app-id", "4711", "--app-key", key, "--repo", "acme/app", "--repo", "acme/shut"];
  d.options.classes = [d.fakeQemuClass({ idle_timeout: "8s", qemu: { boot_timeout: "2500ms" } })];
  await d.startGitHub();
  const all = { actions: "write", administration: "write", checks: "write", metadata: "read", organization_hooks: "write", organization_self_hosted_runners: "write" };
  await d.fake("POST", "/_fake/config", {
    permissions: { ...all, ...permissions }, groups: [{ name: CLOSED, visibility: "selected", repositories: ["acme/app"] }] });
  d.writeConfig({ github: { app: { id: "4711", private_key: `file:${key}` } } });
  await d.startIngress();
  await d.fake("POST", "/_fake/webhook-url", { url: `http://127.0.0.1:${d.ingressPort}/webhook`, secret: d.secret });
  await d.startWorker();
  await d.startReaper();
  return d;
}

const given_up = (d) => d.reaper.events.filter((e) => e.msg === "job_given_up");
const checks = async (d) => (await d.fake("GET", "/_fake/check-runs")).json;

test("job_that_waits_too_long_has_a_check_run_and_its_run_ends", async (t) => {
  const d = await start(t, {});
  const [stuck] = await d.queueJobs({ repo: "acme/shut" });
  await until("the stuck job is cancelled, while others run", async () => {
    if ((await d.jobs()).every((job) => job.id === stuck.id || job.state === "completed")) await d.queueJobs({ repo: "acme/app" });
    return (await d.job(stuck.id)).state === "completed";
  }, { seconds: 60 });
  await until("the others have run", async () => (await d.jobs()).every((job) => job.state === "completed"), { seconds: 60 });
  const [check, ...more] = await checks(d);
  assert.deepEqual(more, []);
  assert.deepEqual([check.repo, check.external_id, check.conclusion], ["acme/shut", `mayfly-job-${stuck.id}`, "failure"]);
  assert.match(check.output.summary, /waited \d+ s for a runner/);
  assert.deepEqual(d.log().filter((e) => e.event === "run_cancelled").map((e) => e.run), [stuck.run_id]);
  assert.deepEqual(given_up(d).map((e) => e.job_id), [stuck.id]);
  await until("the ledger knows", () => d.ctl("why", String(stuck.id)).state === "cancelled");
  const told = d.ctl("why", String(stuck.id)).timeline.map((line) => line.what);
  assert.ok(told.includes("given_up") && told.includes("run_cancelled"), `${told}`);
  await d.untilQuiet();
  assertSound(d, ["job_given_up", "run_cancelled"]);
});

test("without_the_permission_it_is_said_and_all_else_goes_on", async (t) => {
  const d = await start(t, { actions: "read", checks: "read" });
  const [stuck] = await d.queueJobs({ repo: "acme/shut" });
  await until("it is said, while others run", async () => {
    if ((await d.jobs()).every((job) => job.id === stuck.id || job.state === "completed")) await d.queueJobs({ repo: "acme/app" });
    return d.reaper.events.some((e) => e.msg === "job_give_up_failed" && e.job_id === stuck.id);
  }, { seconds: 60 });
  const others = await d.queueJobs({ repo: "acme/app", count: 2 });
  await until("the others have run", async () => (await d.jobs()).filter((job) => others.some((o) => o.id === job.id)).every((job) => job.state === "completed"), { seconds: 60 });
  assert.equal((await d.job(stuck.id)).state, "queued");
  assert.deepEqual(await checks(d), []);
  assert.deepEqual(d.ctl("circuits").circuits, []);
});

// The second ways, with the real programs: deliveries that GitHub could not deliver, reapers that are two, or frozen, and
// a class whose launches are refused.
import test from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { sleep, until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const hasty = {
  worker: { visibility_timeout: "3s", terminate_grace_period: "500ms" },
  reaper: { interval: "300ms", lease_duration: "2s", relaunch_after: "1500ms", startup_timeout: "10s", terminate_timeout: "1500ms", stale_runner_scan_interval: "500ms",
    deliveries: { interval: "200ms", overlap: "5s" } },
};

// Everything but the ingress. GitHub delivers to `url`; the hook is the organization's, and the reaper may read its log.
async function startWithoutIngress(t, url, options = {}) {
  const d = new Deployment({ ...options, config: { ...hasty, ...(options.config ?? {}) } });
  t.after(() => d.stop());
  await d.startGitHub();
  const { hook_id: id } = (await d.fake("POST", "/_fake/webhook-url", { url, secret: d.secret })).json;
  d.writeConfig(options.app ? {} : { github: { hook: { id, organization: "acme" } } });
  await d.startWorker();
  await d.startReaper();
  return d;
}

async function finish(d, count, expected = []) {
  await d.untilJobsEnd(count, { seconds: 240 });
  await d.untilQuiet({ seconds: 240 });
  return assertSound(d, expected);
}

// A port where nobody listens.
async function deadUrl() {
  const server = http.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}/webhook`;
}

// A load balancer without anybody behind it.
async function unavailable(t) {
  const server = http.createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(503, { "retry-after": "1" }).end());
  }).listen(0, "127.0.0.1");
  t.after(() => { server.closeAllConnections(); server.close(); });
  await new Promise((resolve) => server.once("listening", resolve));
  return `http://127.0.0.1:${server.address().port}/webhook`;
}

const recoveredBy = (...reapers) => reapers.flatMap((r) => r.events.filter((e) => e.msg === "delivery_recovered").map((e) => e.delivery_id));
// Recovered, or found to be of a job that a machine launched for another had taken meanwhile.
const dealtWithBy = (...reapers) => [...recoveredBy(...reapers),
  ...reapers.flatMap((r) => r.events.filter((e) => e.msg === "delivery_stale").map((e) => e.delivery_id))];
const failedQueued = (d) => d.log().filter((e) => e.event === "webhook" && e.action === "queued" && !(e.status >= 200 && e.status < 300)).map((e) => e.guid);

function assertOnce(list, what) {
  const twice = list.filter((item, i) => list.indexOf(item) !== i);
  assert.deepEqual(twice, [], `${what} more than once`);
}

test("jobs_queued_while_the_ingress_is_down_are_recovered_from_the_log", async (t) => {
  const d = await startWithoutIngress(t, await deadUrl());
  await d.queueJobs({ count: 8 });
  const truth = await finish(d, 8);
  assert.equal(truth.finished.size, 8);
  const recovered = recoveredBy(d.reaper);
  assertOnce(recovered, "recovered");
  for (const guid of failedQueued(d)) assert.ok(dealtWithBy(d.reaper).includes(guid), `${guid} was recovered`);
  assert.equal(d.log().filter((e) => e.event === "webhook" && e.redelivery).length, 0, "nothing had to be delivered again");
});

test("deliveries_answered_503_are_recovered_and_later_ones_come_by_themselves", async (t) => {
  const d = await startWithoutIngress(t, await unavailable(t));
  await d.queueJobs({ count: 5 });
  await until("all are recovered", () => {
    const dealtWith = dealtWithBy(d.reaper);
    return failedQueued(d).length === 5 && failedQueued(d).every((guid) => dealtWith.includes(guid));
  });
  await d.startIngress();
  await d.queueJobs({ count: 5 });
  await finish(d, 10);
  const recovered = recoveredBy(d.reaper);
  assertOnce(recovered, "recovered");
  const delivered = d.log().filter((e) => e.event === "webhook" && e.status === 202).map((e) => e.guid);
  assert.deepEqual(recovered.filter((guid) => delivered.includes(guid)), [], "what was delivered needs nothing");
});

test("an_app_recovers_from_its_own_log", async (t) => {
  const dir = fs.mkdtempSync(path.join(process.env.TMPDIR ?? "/tmp", "mayfly-app-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const { privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = path.join(dir, "app.pem");
  fs.writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const d = await startWithoutIngress(t, await deadUrl(), {
    app: true, fakeArgs: ["--app-id", "4711", "--app-key", key],
    config: { github: { token: "", app: { id: "4711", private_key: `file:${key}` } } } });
  await d.queueJobs({ count: 3 });
  await finish(d, 3);
  assertOnce(recoveredBy(d.reaper), "recovered");
  assert.ok(d.log().some((e) => e.event === "request" && e.operation === "list-deliveries" && e.auth === "app"));
});

test("a_payload_that_github_refuses_is_delivered_again_instead", async (t) => {
  const d = await startWithoutIngress(t, await unavailable(t));
  await d.fake("POST", "/_fake/faults", [{ operation: "get-delivery", status: 403, body: { message: "Resource not accessible" }, times: 100 }]);
  await d.queueJobs();
  await until("it has failed", () => failedQueued(d).length > 0);
  await d.startIngress();
  await finish(d, 1, ["job_list_refused"]); // said when the delivery is there before the new ledger's recovery reads the log
  assert.deepEqual(recoveredBy(d.reaper), []);
  assert.ok(d.log().some((e) => e.event === "webhook" && e.redelivery && e.status === 202));
});

test("two_reapers_recover_each_delivery_once_each_at_most", async (t) => {
  const d = await startWithoutIngress(t, await deadUrl(), { config: { limits: { max_vms: 6 } } });
  const first = d.reaper;
  const second = await d.startReaper();
  for (let i = 0; i < 4; i++) {
    await d.queueJobs({ count: 5 });
    await sleep(150); // over several sweeps
  }
  // The leader goes in the middle: the other one goes on a margin before where the ledger says. What the leader had dealt with
  // within that margin only the leader knew, and a delivery that comes twice is as good as one.
  await first.waitFor("delivery_recovered");
  await first.stop("SIGKILL");
  // No event of a job's start or end comes in time here, and a job that is recovered twice has two requests: some VMs find no job.
  await finish(d, 20, ["class_gets_no_jobs"]);
  for (const reaper of [first, second]) assertOnce(recoveredBy(reaper), "recovered");
  const dealtWith = dealtWithBy(first, second);
  const untold = failedQueued(d).filter((guid) => !dealtWith.includes(guid));
  assert.deepEqual(untold, [], "neither recovered nor outdated");
});

test("two_reapers_alive_do_no_harm", async (t) => {
  const fakeArgs = ["--pickup-timeout-s", "2", "--offline-after-s", "3"];
  const d = await startWithoutIngress(t, await unavailable(t), { fakeArgs, config: { limits: { max_vms: 4 } } });
  await d.startIngress();
  const first = d.reaper;
  const second = await d.startReaper();
  await d.fake("POST", "/_fake/faults", [
    { operation: "runner-token", preset: "registration-gone", times: 2 }, { operation: "runner-message", delay_ms: 3000, times: 1 },
    { webhook: "drop", action: "queued", times: 2 }, { webhook: "drop", action: "completed", times: 3, recorded: false }]);
  await d.queueJobs({ count: 12, command: "sleep 0.1" });
  await d.worker.waitFor("vm_launched");
  d.killMachines(1);
  await finish(d, 12, ["launch_failed"]); // the machine that is killed may be booting
  const reaped = [first, second].flatMap((r) => r.events.filter((e) => e.msg === "vm_terminated").map((e) => e.vm));
  assertOnce(reaped, "ended");
  assertOnce(recoveredBy(first, second), "recovered");
});

test("a_frozen_leader_that_wakes_up_does_not_act_on_its_old_lease", async (t) => {
  const d = new Deployment({ config: { ...hasty, reaper: { ...hasty.reaper, deadline_grace_period: "0s" },
    limits: { ...hasty.limits, terminate_rate: { per_second: 0.4, burst: 1 } } } });
  d.options.classes = [d.fakeQemuClass({ max_duration: "4s" })];
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  const jobs = await d.queueJobs({ count: 6, command: "sleep 30" });
  await until("all run", async () => (await d.jobs()).filter((j) => j.state === "in_progress").length === 6);
  await until("all are past their deadline", () => {
    const vms = d.vms();
    return vms.length === 6 && vms.every((vm) => Date.parse(vm.deadline) < Date.now());
  }, { every_ms: 200 });
  const leader = await d.startReaper(); // which has six to end in its first sweep
  const heir = await d.startReaper();
  await leader.waitFor("vm_terminated");
  await sleep(300); // in the middle of the 2.5 s that it waits before it ends the next one
  leader.process.kill("SIGSTOP");
  await until("the other one has ended the rest", () => d.vms().length === 0);
  const before = leader.events.length;
  leader.process.kill("SIGCONT");
  await leader.waitFor("lease_lost");
  const ended = (r) => r.events.filter((e) => e.msg === "vm_terminated").map((e) => e.vm);
  assert.ok(ended(heir).length > 0);
  assert.deepEqual(leader.events.slice(before).filter((e) => e.msg === "vm_terminated"), []);
  assertOnce([...ended(leader), ...ended(heir)], "ended");
  for (const { id } of jobs) await d.fake("POST", `/_fake/jobs/${id}/lose`);
  // It is as good a reaper as before: it takes over again when the heir goes.
  await heir.stop();
  await d.queueJobs({ command: "echo on" });
  await finish(d, 7);
});

test("a_class_whose_registrations_are_refused_stops_waits_and_starts_again", async (t) => {
  const d = new Deployment({ config: { ...hasty, worker: { launch_threads: 1 },
    circuit: { failure_threshold: 3, open_duration: "1500ms" } } });
  t.after(() => d.stop());
  await d.startAll();
  await d.startWorker();
  const workers = d.programs.filter((p) => p.name === "mayfly-worker");
  const said = (event) => workers.flatMap((w) => w.events.filter((e) => e.msg === event));
  // Three refusals in one worker stop the class for both, and at least one probe is refused too.
  await d.fake("POST", "/_fake/faults", [{ operation: "generate-jitconfig", status: 422, body: { message: "Invalid input" }, times: 7 }]);
  await d.queueJobs({ count: 12 });
  await until("its labels are in trouble", () => said("circuit_opened").length > 0);
  await until("status shows the open circuit", () => d.ctl("status").circuits.some((c) => /^labels:/.test(c.subject) && /Invalid input/.test(c.why)), { seconds: 5 });
  await until("it is started again", () => said("circuit_closed").length > 0);
  assert.deepEqual(d.ctl("dlq", "list"), []);
  await finish(d, 12, ["launch_failed", "circuit_opened"]);
  assert.equal(said("circuit_opened").length, 1, "said once by the whole fleet");
  assert.ok(said("circuit_reopened").length >= 1);
});

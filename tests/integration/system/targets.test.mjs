// A class that launches at two accounts and regions: one breaks and jobs go to the other, which is drained later; what the commands say of it.
import test from "node:test";
import assert from "node:assert/strict";
import { outage } from "../lib/outage.mjs";
import { assertSound } from "../lib/sound.mjs";
import { until } from "../../lib/wait.mjs";

const REALM = ["--realm", "targets", "--key", "AKIDTEST:secret"];
const [OWN, OTHER] = ["123456789012", "210987654321"];
const image = (region, account) => `arn:aws:lambda:${region}:${account}:microvm-image:mayfly`;
const TARGETS = [
  { name: "one", image: image("us-east-1", OWN), max_vms: 4, launch_rate: { per_second: 100, burst: 100 } },
  { name: "two", image: image("us-east-2", OTHER), max_vms: 4, launch_rate: { per_second: 100, burst: 100 }, role_arn: `arn:aws:iam::${OTHER}:role/mayfly` },
];

async function start(t) {
  const d = outage(t);
  await d.startGitHub();
  await d.startLambda("--target", `${OWN}/us-east-1`, "--target", `${OTHER}/us-east-2`, ...REALM);
  const sts = await d.standIn("aws", ...REALM);
  d.options.env.AWS_ENDPOINT_URL_STS = sts;
  const [small] = d.options.classes;
  small.lambda = { endpoint: d.lambdaUrl, timeout: "5s" }; // a busy machine's slowness is no lost answer
  small.targets = TARGETS;
  await d.startPrograms();
  return d;
}

const target = (d, name) => d.ctl("targets").targets.find((one) => one.target === name);

async function metric(d, series) {
  const { admin_port: port } = d.reaper.events.find((e) => e.msg === "started");
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return page.split("\n").find((line) => line.startsWith(`${series} `))?.split(" ").at(-1);
}

// The weight of target one, by SIGHUP.
async function weigh(d, weight) {
  d.options.classes[0].targets = [{ ...TARGETS[0], weight }, TARGETS[1]];
  d.writeConfig();
  for (const program of [d.worker, d.reaper]) {
    const before = program.events.filter((e) => e.msg === "config_reloaded").length;
    program.process.kill("SIGHUP");
    await until("the configuration is read again", () => program.events.filter((e) => e.msg === "config_reloaded").length > before);
  }
}

const launchedAt = (d, name) => d.said("vm_launched").filter((e) => e.target === name).length;

test("jobs_of_a_broken_target_go_to_the_other_and_the_commands_say_so_and_weight_0_drains_it", async (t) => {
  const d = await start(t);
  await d.queueJobs({ count: 4, command: "sleep 1" });
  await until("VMs at both targets", () => ["one", "two"].every((name) => launchedAt(d, name) > 0));
  assert.deepEqual([...new Set(d.ctl("vms").map((vm) => vm.target))].sort(), ["one", "two"]);
  assert.deepEqual(["one", "two"].map((name) => target(d, name).account), [OWN, OTHER]);
  await d.untilJobsEnd(4);

  // One has no capacity: a launch that finds that out goes on at two, and the circuit says why.
  await d.call(d.lambdaUrl, "POST", "/faults", [{ name: "gone", operation: "RunMicrovm", target: `${OWN}/us-east-1`, preset: "capacity" }]);
  const moved = await d.queueJobs({ count: 4, command: "sleep 0.2" });
  await until("the circuit of target one is open", () => target(d, "one").state === "stopped");
  await d.untilJobsEnd(8);
  const elsewhere = moved.map((job) => d.ctl("why", String(job.id))).filter((why) => why.timeline.some((line) => line.what === "elsewhere"));
  assert.ok(elsewhere.length > 0, "no job was tried at target one first");
  const line = elsewhere[0].timeline.find(({ what }) => what === "elsewhere");
  assert.match(line.detail, /^tried at small@two: at small@one run failed \(about target:lambda\/us-east-1\/123456789012\): /);
  assert.equal(elsewhere[0].target, "two");

  // Two fills up.
  const waiting = await d.queueJobs({ count: 5, command: "sleep 1.5" });
  await until("target two is full", () => target(d, "two").vms === 4);
  const why = () => waiting.map((job) => d.ctl("why", String(job.id))).find(({ reason }) => reason === "target_cap");
  await until("a job waits for a target", () => why() !== undefined);
  const status = d.ctl("status").targets;
  assert.deepEqual(status.map((one) => [one.target, one.state]), [["one", "stopped"], ["two", "open"]]);
  assert.equal(status[0].circuits[0].subject, "target:lambda/us-east-1/123456789012");
  assert.match(d.ctlText("targets"), /^one +stopped +123456789012 +us-east-1 .*\n +stopped since .*: target:lambda\/us-east-1/m);
  await until("the metrics show it", async () => (await metric(d, 'mayfly_target_stopped{target="one"}')) === "1");
  assert.equal(await metric(d, 'mayfly_target_vms_max{target="two"}'), "4");

  // It comes back, and is drained.
  await d.call(d.lambdaUrl, "DELETE", "/faults?name=gone");
  const launched = launchedAt(d, "one");
  let jobs = 13;
  await until("target one is used again", async () => {
    if (launchedAt(d, "one") > launched && target(d, "one").state === "open") return true;
    jobs += (await d.queueJobs({})).length; // only a launch shows that there is capacity again
    return false;
  });
  await d.untilJobsEnd(jobs);
  await weigh(d, 0);
  assert.equal(target(d, "one").state, "drained");
  const before = launchedAt(d, "one");
  await d.queueJobs({ count: 3 });
  await d.untilJobsEnd(jobs + 3);
  assert.equal(launchedAt(d, "one"), before);
  await d.untilQuiet();
  assertSound(d, ["launch_failed", "circuit_opened", "circuit_reopened"]);
});

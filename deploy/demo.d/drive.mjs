// The demo's driver: starts everything, queues jobs, prints progress, checks the result by the stand-in's log.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Deployment, judge } from "../../tests/integration/lib/deployment.mjs";
import { until } from "../../tests/lib/wait.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const args = process.argv.slice(2);
const keep = args.includes("--keep");
const count = Math.max(3, Number(args.find((a) => /^\d+$/.test(a)) ?? 5));
const cap = 2;
const started = Date.now();
const seconds = () => Math.round((Date.now() - started) / 1000);
const say = (text) => console.log(`[${String(seconds()).padStart(4)}s] ${text}`);

const deployment = new Deployment({
  bin: path.join(root, "build/release"),
  keep,
  runnerUrl: "http://10.0.2.2:{PORT}", // this host's loopback, as a VM sees it
  config: {
    deployment: "demo",
    limits: { max_vms: cap },
    // Without KVM the first boot may take minutes.
    reaper: { interval: "2s", relaunch_after: "30s", startup_timeout: "10m" },
  },
});
deployment.options.classes = [deployment.fakeQemuClass({
  max_vms: cap, max_duration: "10m", idle_timeout: "20s",
  qemu: { image: path.join(root, "build/demo-image"), binary: "", accel: "auto", memory: "256MiB", restore: true, boot_timeout: "5m", confine: true,
    allow: ["127.0.0.1:{PORT}"] }, // the stand-in for GitHub, and nothing else of this host
})];

// Each job runs commands in its VM; the file `mark` shows whether a job sees another's files.
const command = (n) => `
  if [ -e /var/tmp/mark ] || [ -e /mark ]; then echo "NOT CLEAN: $(cat /var/tmp/mark /mark 2>/dev/null)"; exit 1; fi
  mkdir -p /var/tmp && echo "job ${n} was here" > /var/tmp/mark
  sleep 3
  echo "job ${n} on $(hostname): Linux $(uname -r), $(awk '/MemTotal/ {print int($2/1024)}' /proc/meminfo) MiB, up $(cut -d' ' -f1 /proc/uptime) s, $(seq 1 1000 | sha256sum | cut -c1-12)"`;

function follow(seen) {
  for (const e of deployment.log().slice(seen.count)) {
    seen.count++;
    if (e.event === "job_created") say(`job ${e.job} queued`);
    if (e.event === "runner_registered") say(`  VM ${e.runner} launched, its one-job runner registered`);
    if (e.event === "job_started") say(`  job ${e.job} runs on ${e.runner}`);
    if (e.event === "job_finished") say(`  job ${e.job} ended: ${e.conclusion}`);
    if (e.event === "job_cancelled") say(`job ${e.job} cancelled while ${e.was}`);
  }
}

async function main() {
  await deployment.startAll();
  say(`all programs run: ingress on port ${deployment.ingressPort}, logs in ${deployment.dir}; booting and saving the first VM`);
  const jobs = [];
  for (let n = 1; n <= count; n++) jobs.push((await deployment.queueJobs({ command: command(n), name: `demo ${n}` }))[0]);
  await deployment.fake("POST", `/_fake/jobs/${jobs[1].id}/deliver?same_guid=1`);
  say(`job ${jobs[1].id} delivered twice`);
  await deployment.fake("POST", `/_fake/jobs/${jobs[count - 1].id}/cancel`);

  const seen = { count: 0 };
  await until("all jobs have ended", async () => {
    follow(seen);
    return (await deployment.jobs()).every((j) => j.state === "completed");
  }, { seconds: 240 + 30 * count, every_ms: 200 });
  await until("no VM and no registration is left", async () => {
    follow(seen);
    return deployment.vms().length === 0 && deployment.processes().length === 0 && (await deployment.runners()).length === 0;
  }, { seconds: 120, every_ms: 200 });
  for (const { id } of jobs) {
    const job = await deployment.job(id);
    if (job.output) say(`output of ${id}: ${job.output.trim()}`);
  }
  say(`why job ${jobs[0].id} waited and ran (mayflyctl why ${jobs[0].id}):`);
  console.log(deployment.ctlText("why", String(jobs[0].id)));
  return verdict(await deployment.jobs());
}

function verdict(jobs) {
  const truth = judge(deployment.log());
  const ended = (conclusion) => jobs.filter((j) => j.conclusion === conclusion).length;
  const launched = deployment.worker.events.filter((e) => e.msg === "vm_launched").length;
  const left = { vms: deployment.vms().length + deployment.processes().length, runners: truth.runnersLeft.length };
  const problems = [];
  if (ended("success") !== count - 1) problems.push(`${ended("success")} of ${count - 1} jobs succeeded`);
  if (ended("cancelled") !== 1) problems.push("the cancelled job is not cancelled");
  if (truth.ranTwice.length) problems.push(`jobs ran twice: ${truth.ranTwice}`);
  if (truth.sharedRunners.length) problems.push(`VMs ran more than one job: ${truth.sharedRunners}`);
  if (truth.maxOnline > cap) problems.push(`${truth.maxOnline} VMs at once, the cap is ${cap}`);
  if (left.vms || left.runners) problems.push("VMs or registrations are left");
  console.log(`demo: jobs=${count} completed=${ended("success")} cancelled=${ended("cancelled")} vms_launched=${launched} ` +
    `vms_left=${left.vms} runners_left=${left.runners} max_concurrent=${truth.maxOnline} seconds=${seconds()}`);
  for (const problem of problems) console.error(`demo: FAILED: ${problem}`);
  return problems.length === 0 ? 0 : 1;
}

let code = 1;
try {
  code = await main();
} catch (error) {
  console.error(`demo: FAILED: ${error.message}`);
  for (const p of deployment.programs) console.error(`--- ${p.name}\n${p.tail(8)}`);
  if (!keep) deployment.options.keep = true;
  console.error(`demo: the logs are in ${deployment.dir}`);
}
await deployment.stop();
process.exit(code);

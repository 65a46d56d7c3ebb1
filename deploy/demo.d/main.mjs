// The demo, behind the packages: main.mjs JOBS [--stay]. Builds, starts everything, does to the fleet what a day would bring, and checks what
// came of it by the log of the stand-in for GitHub, which knows what ran where.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Deployment } from "../../tests/integration/lib/deployment.mjs";
import { until } from "../../tests/lib/wait.mjs";
import { build, stopBuilding } from "./build.mjs";
import { checks, summary } from "./checks.mjs";
import { Fleet } from "./fleet.mjs";
import { Screen } from "./screen.mjs";
import { startConsole, stay } from "./stay.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const count = Number(process.argv[2]);
const cap = 2;
const stays = process.argv[3] === "--stay";
const tested = process.env.MAYFLY_BUILD; // the tests bring a build, and its stand-in for QEMU
const screen = new Screen(process.stdout, Number(process.env.MAYFLY_DEMO_STARTED ?? Date.now()));
let deployment;
let ending = false;

// Ctrl-C, a terminal that is closed, a pipe that nobody reads any more.
async function end(code, text) {
  if (ending) return;
  ending = true;
  if (text) { screen.paint([]); screen.say(text); }
  await stopBuilding();
  deployment?.abandon();
  deployment?.remove();
  process.exit(code);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => end(128 + os.constants.signals[signal], `${signal}: ending the programs and VMs, removing their files`));
}
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => end(128 + os.constants.signals.SIGPIPE));

function deploy({ bin, image }) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-demo-"));
  deployment = new Deployment({
    bin, dir,
    runnerUrl: tested ? undefined : "http://10.0.2.2:{PORT}", // this host's loopback, as a VM sees it
    config: {
      deployment: "demo",
      limits: { max_vms: cap },
      worker: { visibility_timeout: "20s" },
      // Without KVM the first boot may take minutes.
      reaper: { interval: "2s", relaunch_after: "30s", startup_timeout: "10m" },
    },
  });
  const qemu = { image, binary: "", accel: "auto", memory: "256MiB", restore: true, boot_timeout: "5m", confine: true,
    allow: ["127.0.0.1:{PORT}"] }; // the stand-in for GitHub, and nothing else of this host
  deployment.options.classes = [deployment.fakeQemuClass({ max_vms: cap, max_duration: "10m", idle_timeout: "20s", ...(tested ? {} : { qemu }) })];
}

// Each job runs commands in its VM; the file `mark` shows whether a job sees another's files.
const command = (n) => `
  if [ -e /var/tmp/mark ] || [ -e /mark ]; then echo "NOT CLEAN: $(cat /var/tmp/mark /mark 2>/dev/null)"; exit 1; fi
  mkdir -p /var/tmp && echo "job ${n} was here" > /var/tmp/mark
  sleep 3
  echo "job ${n} on $(hostname): Linux $(uname -r), $(awk '/MemTotal/ {print int($2/1024)}' /proc/meminfo) MiB, up $(cut -d' ' -f1 /proc/uptime) s, $(seq 1 1000 | sha256sum | cut -c1-12)"`;
const testCommand = (n) => `sleep 1; echo "job ${n}"`; // stand-ins for VMs share this host's files
const queue = async (n) => (await deployment.queueJobs({ command: (tested ? testCommand : command)(n), name: `demo ${n}` }))[0].id;

// What is done, and what it shows.
function step(what, shows) { screen.say(`${what}. ${shows}`, "bold"); }

async function start() {
  await deployment.startAll();
  screen.say(`  they run; configuration and logs are in ${deployment.dir}`);
  if (stays) screen.say(`  watch them in a browser: ${await startConsole(deployment)}`);
}

async function scenario(fleet) {
  const wait = (what, check, seconds = 120 + 30 * count) => until(what, async () => { fleet.follow(); return check(); }, { seconds, every_ms: 200 });
  step(`${count} jobs, at most ${cap} VMs`, "A webhook is answered when its job is on disk; a VM has its slot before it exists");
  // A stand-in for a VM would boot before job 1 is cancelled.
  if (tested) await deployment.fake("POST", "/_fake/faults", [{ operation: "runner-session", times: cap, delay_ms: 1500 }]);
  const ids = [await queue(1), await queue(2)];
  await wait("the first two VMs boot", () => fleet.vms.size >= cap || fleet.ended > 0);
  ids.push(await queue(3));
  fleet.follow();
  step("Job 1 is cancelled while its VM boots", "It is not wasted: another job gets it");
  await deployment.fake("POST", `/_fake/jobs/${ids[0]}/cancel`);
  for (let n = 4; n <= count; n++) ids.push(await queue(n));
  fleet.follow();
  step("The webhook of job 2 arrives twice", "GitHub delivers at least once: the ingress knows the delivery's id");
  await deployment.fake("POST", `/_fake/jobs/${ids[1]}/deliver?same_guid=1`);
  step(`Job ${count} is cancelled before it has a VM`, "None is launched for it");
  await deployment.fake("POST", `/_fake/jobs/${ids[count - 1]}/cancel`);
  // No launch and no event is in a worker's hands: those would wait for their lease to expire.
  const calm = () => {
    const vms = deployment.vms();
    return vms.length > 0 && vms.every((vm) => vm.state === "busy") && fleet.all("running").length === vms.length;
  };
  await wait("VMs run jobs", () => calm() || fleet.ended === count);
  if (!tested) screen.say(`  the VMs are QEMU's, ${usesKvm() ? "with KVM" : "without KVM, which this user or machine does not have: the CPU is emulated, and all is slower"}`);
  const during = fleet.all("running").map((job) => job.id);
  if (during.length) {
    step(`mayfly-worker is killed while ${fleet.numbers(during, "runs", "run")}`, "VMs go on; a new worker has all it needs in ledger and queue");
    await deployment.worker.stop("SIGKILL");
    await deployment.startWorker();
  }
  await wait("all jobs have ended", () => fleet.ended === count);
  await wait("no VM and no registration is left", async () => (await left()).every((n) => n === 0), 120);
  return { ids, during };
}

// QEMU's own command line says it.
const usesKvm = () => deployment.processes().some((pid) => /-accel\0kvm/.test(fs.readFileSync(`/proc/${pid}/cmdline`, "utf8")));

const left = async () => [deployment.vms().length, deployment.processes().length, (await deployment.runners()).length];

async function main() {
  deploy(tested ? { bin: tested } : await build(screen, root));
  screen.say("4/5 start: the stand-in for GitHub, mayfly-ingress, mayfly-worker, mayfly-reaper");
  await start();
  screen.say("5/5 jobs");
  const fleet = new Fleet(deployment, screen);
  const done = await scenario(fleet);
  screen.paint([]);
  const jobs = await deployment.jobs();
  for (const { id, output } of jobs) if (output) screen.say(`output of job ${fleet.number(id)}: ${output.trim()}`);
  screen.say(`what mayflyctl why ${done.ids[1]} says of job 2:`);
  screen.print(deployment.ctlText("why", String(done.ids[1])));
  const result = { count, cap, fleet, jobs, ...done, left: await left(), log: deployment.log() };
  const failed = checks(result).filter(([ok, text]) => {
    screen.print(`  ${ok ? screen.style("green", "ok  ") : screen.style("red", "FAIL")}  ${text}`);
    return !ok;
  });
  screen.print(summary(result, Math.round((Date.now() - screen.startedMs) / 1000)));
  if (failed.length) throw new Error(`${failed.length} of the checks above`);
  if (stays) await stay(deployment, screen, fleet, root);
  else screen.print("Look around and run jobs of your own: deploy/demo --stay, which has a console in the browser, too. Run GitHub's jobs: README.md, \"Three ways on\".");
}

try {
  await main();
  await deployment.stop();
} catch (error) {
  if (ending) await new Promise(() => {});
  await stopBuilding();
  screen.paint([]);
  console.error(`demo: FAILED: ${error.message}`);
  if (deployment) {
    console.error(deployment.tails());
    console.error(`demo: the logs are in ${deployment.dir}`);
    deployment.options.keep = true;
    await deployment.stop();
  }
  process.exitCode = 1;
}

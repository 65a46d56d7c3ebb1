// People's shells in a real VM: through the agent, the port, the supervisor and mayflyctl.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { spawn } from "../../lib/child.mjs";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const image = process.env.MAYFLY_TEST_IMAGE ?? process.env.MAYFLY_TEST_IMAGE_ROOT;

// One deployment: the snapshot that VMs are restored from is what takes long.
let d;
const wanted = { skip: image ? false : "no image" };

before(async () => {
  if (!image) return;
  d = new Deployment({
    dir: fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-shell-")), runnerUrl: "http://10.0.2.2:{PORT}",
    config: { limits: { max_vms: 2 }, reaper: { relaunch_after: "5m", startup_timeout: "10m" } } });
  d.options.classes = [d.fakeQemuClass({
    max_vms: 2, max_duration: "10m", idle_timeout: "60s", shell: true, hold_on_failure: "5m",
    qemu: { image, binary: "", accel: "auto", memory: "256MiB", restore: true, boot_timeout: "5m", confine: true, allow: ["127.0.0.1:{PORT}"] } })];
  await d.startAll();
});

after(async () => d?.stop());

// What the programs said, if a test fails.
async function shown(body) {
  try { await body(); } catch (error) { throw new Error(`${error.message}\n${d.tails()}`); }
}

// mayflyctl shell VM, with its standard input left open unless a text is given.
function open(vm, text) {
  const run = watched(spawn(d.program("mayflyctl"), ["--config", d.configFile, "shell", vm], { stdio: ["pipe", "pipe", "pipe"] }));
  if (text !== undefined) run.child.stdin.end(text);
  return run;
}

function watched(child) {
  const run = { child, out: "", err: "" };
  child.stdout.on("data", (data) => { run.out += data; });
  child.stderr.on("data", (data) => { run.err += data; });
  child.stdin.on("error", () => {});
  run.ended = new Promise((done) => child.on("close", (code, signal) => done(code ?? signal)));
  return run;
}

const logged = (name) => d.worker.events.filter((e) => e.msg === name);
const timeline = (job) => d.ctl("why", String(job)).timeline.map((e) => `${e.what}: ${e.detail}`);

async function runningVm(command) {
  const [{ id }] = await d.queueJobs({ command });
  const vm = await until("a VM is busy", () => d.vms().find((v) => v.job === id && v.state === "busy"), { seconds: 400, every_ms: 200 });
  return { id, vm: vm.vm };
}

test("shell_in_a_vm_whose_job_runs", wanted, () => shown(async () => {
  const { id, vm } = await runningVm("while [ ! -e /tmp/go ]; do sleep 0.2; done; echo gone on");
  const answer = open(vm, "echo $((6*7)); id -u; exit 5\n");
  assert.equal(await answer.ended, 5, answer.err);
  assert.deepEqual(answer.out.split("\n"), ["42", "0", ""]);

  // One at a time; who has it is said. A shell ends with its operator's connection.
  const first = open(vm);
  first.child.stdin.write("echo here; sleep 100000; echo never\n");
  await until("the first shell is open", () => first.out.includes("here"), { seconds: 30 });
  const second = open(vm, "echo no\n");
  assert.equal(await second.ended, 1);
  assert.match(second.err, /one at a time: \S+@\S+ \(uid \d+\) has had/);
  first.child.kill("SIGKILL");
  const third = open(vm, "ps | grep -c '[s]leep 100000'\n");
  const lines = await third.ended.then(() => third.out);
  assert.equal(lines, "0\n", third.err);

  // A stranger that floods stops when nobody reads; more input than anybody reads is no trouble.
  const flood = open(vm, "yes\n");
  flood.child.stdout.pause();
  await until("the flood has begun", () => flood.child.stdout.readableLength > 0, { seconds: 30 });
  const big = open(vm, "x");
  assert.equal(await big.ended, 1, big.err);
  flood.child.kill("SIGTERM");
  assert.equal(await flood.ended, 143);
  const bytes = open(vm, `cat > /tmp/big << 'END'\n${"0123456789abcdef\n".repeat(20000)}END\nwc -c < /tmp/big\n`);
  assert.equal(await bytes.ended, 0, bytes.err);
  assert.equal(bytes.out.trim(), String(17 * 20000));

  // On a terminal, which script gives it: raw, so that Ctrl-C is the VM's; ~. ends it.
  const typed = watched(spawn("script", ["-qec", `${d.program("mayflyctl")} --config ${d.configFile} shell ${vm}`, "/dev/null"], { stdio: ["pipe", "pipe", "pipe"] }));
  await until("there is a prompt", () => typed.out.includes("# "), { seconds: 30 });
  typed.child.stdin.write("tty; sleep 1000\r");
  await until("it has a terminal", () => /\/dev\/pts\/\d/.test(typed.out), { seconds: 30 });
  typed.child.stdin.write("\x03echo $((6*7))\r");
  await until("Ctrl-C has reached the VM", () => /^42\r$/m.test(typed.out), { seconds: 30 });
  typed.child.stdin.write("~.");
  assert.equal(await typed.ended, 0, typed.out);
  assert.match(typed.out, /The shell is closed\./);

  const last = open(vm, "touch /tmp/go; sleep 1000\n");
  assert.ok([1, 137].includes(await last.ended), last.err); // with the VM, or killed right before
  await d.untilJobsEnd(1);
  const gone = open(vm, "");
  assert.equal(await gone.ended, 1);
  assert.match(gone.err, /has ended/);
  await until("the log says who it was", () => logged("vm_shell_closed").reduce((n, e) => n + e.count, 0) >= 7, { seconds: 30 });
  assert.equal(logged("vm_shell_opened").reduce((n, e) => n + e.count, 0), 7);
  assert.deepEqual([logged("vm_shell_opened")[0].job_id, logged("vm_shell_opened")[0].state], [id, "busy"]);
  assert.match(logged("vm_shell_opened")[0].who, /^\S+@\S+ \(uid \d+\)/);
  const said = timeline(id);
  assert.ok(said.some((l) => /^shell_opened: \S+@\S+ \(uid \d+\)/.test(l)), said.join("\n"));
  assert.ok(said.some((l) => /^shell_closed: .*, after \d+ s/.test(l)), said.join("\n"));
  await d.untilQuiet();
}));

test("vm_of_a_failed_job_is_held", wanted, () => shown(async () => {
  // One that is held answers, and ends when it is asked to.
  const [{ id }] = await d.queueJobs({ command: "echo evidence > /tmp/evidence; exit 3" });
  const held = await until("a VM is held", () => d.vms().find((v) => v.job === id && v.held_until), { seconds: 400, every_ms: 200 });
  assert.match(d.ctlText("vms"), new RegExp(`${held.vm} +held `));
  const left = Date.parse(held.held_until) - Date.now();
  assert.ok(left > 60e3 && left <= 300e3, held.held_until);
  await until("the log says so", () => logged("vm_held").length === 1, { seconds: 30 });
  const look = open(held.vm, "cat /tmp/evidence\n");
  assert.equal(await look.ended, 0, look.err);
  assert.equal(look.out, "evidence\n");
  // It is left alone by sweeps and scans, whose limits are seconds here, and gets no other job.
  const [{ id: second }] = await d.queueJobs({ command: "true" });
  await d.untilJobsEnd(3, { seconds: 400 });
  await until("the VM of the job that succeeded has ended", () => d.vms().every((v) => v.job !== second), { seconds: 60 });
  assert.deepEqual(d.vms().map((v) => [v.vm, v.state]), [[held.vm, "ending"]]);
  assert.match(d.ctl("vm", "terminate", held.vm).did, /is marked to end/);
  await d.untilQuiet();
  const said = timeline(id);
  assert.ok(said.some((l) => /^ending: job completed: failure; held until \d{4}-/.test(l)), said.join("\n"));
  assert.ok(said.some((l) => /^ending: requested with mayflyctl vm terminate/.test(l)), said.join("\n"));
  assert.ok(!timeline(second).some((l) => /held until/.test(l)));

  // A hold that is over ends by itself, long before anybody else would end the VM.
  d.writeConfig({ classes: d.config.classes.map((c) => ({ ...c, hold_on_failure: "2s" })) });
  d.worker.process.kill("SIGHUP");
  await d.worker.waitFor("config_reloaded");
  const [{ id: third }] = await d.queueJobs({ command: "exit 1" });
  await d.untilJobsEnd(4, { seconds: 400 });
  await d.untilQuiet();
  assert.ok(timeline(third).some((l) => /held until/.test(l)));
  assertSound(d, []);
}));

// The demo as a person meets it: arguments, a terminal, a pipe, Ctrl-C. With the programs of this build and stand-ins for VMs; packages, build and
// image are left out.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { spawn } from "../../lib/child.mjs";
import { until } from "../../lib/wait.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../../..");
const demo = path.join(root, "deploy/demo");
const bin = process.env.MAYFLY_BUILD ?? path.join(root, "build/dev");

// A folder for temporary files that nobody else has: what is in it, and who works or was started with it, is the demo's.
function place(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-demo-test-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}
const environment = (dir, more = {}) => ({ ...process.env, MAYFLY_BUILD: bin, TMPDIR: dir, TERM: "xterm", NO_COLOR: "", ...more });

function processesOf(dir) {
  const belongs = (pid) => {
    const read = (what) => { try { return what(); } catch { return ""; } }; // it has ended
    return read(() => fs.readFileSync(`/proc/${pid}/environ`, "utf8")).includes(dir) || read(() => fs.readFileSync(`/proc/${pid}/cmdline`, "utf8")).includes(dir)
      || read(() => fs.readlinkSync(`/proc/${pid}/cwd`)).startsWith(dir);
  };
  return fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name) && belongs(name));
}
function assertNothingLeft(dir) {
  assert.deepEqual(processesOf(dir), []);
  assert.deepEqual(fs.readdirSync(dir), []);
}

// Its output is a pipe.
function start(dir, args, env) {
  const child = spawn(demo, args, { env: environment(dir, env), stdio: ["ignore", "pipe", "pipe"] });
  const run = { child, text: "", errors: "" };
  child.stdout.on("data", (data) => { run.text += data; });
  child.stderr.on("data", (data) => { run.errors += data; });
  run.ended = new Promise((resolve) => { child.on("exit", (code, signal) => resolve(code ?? signal)); });
  run.says = (text) => until(`the demo says "${text}"`, () => {
    if (child.exitCode !== null) throw new Error(`it has ended: ${run.text}${run.errors}`);
    return run.text.includes(text);
  });
  return run;
}

function onTerminal(dir, steps, args, env) {
  const child = spawn("python3", [path.join(here, "terminal.py"), JSON.stringify(steps), demo, ...args], { env: environment(dir, env), stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data) => { text += data; });
  return new Promise((resolve) => { child.on("close", () => resolve(JSON.parse(text))); });
}

// Several demos at a time, since each waits most of its time.
const runs = [];
const at = (name, run) => { runs.push([name, run]); };

test("demo_arguments", (t) => {
  const dir = place(t);
  const run = (...args) => spawnSync(demo, args, { encoding: "utf8", env: environment(dir), timeout: 20000 });
  for (const [args, words] of [[["--sty"], /"--sty" is neither/], [["4"], /from 5 to 100/], [["101"], /from 5 to 100/], [["99999999999999999999"], /from 5 to 100/],
    [["5", "6"], /second number/], [[""], /neither/], [["5x"], /neither/], [["--stay", "-5"], /"-5" is neither/]]) {
    const { status, stdout, stderr } = run(...args);
    assert.equal(status, 2, args.join(" "));
    assert.match(stderr, words);
    assert.match(stderr, /--help/);
    assert.equal(stdout, "");
  }
  assert.match(run("--stay", "-h").stdout, /^usage: deploy\/demo \[JOBS\] \[--stay\]/);
  assertNothingLeft(dir);
});

test("demo_without_apt_says_what_it_is_for", (t) => {
  const dir = place(t);
  const tools = path.join(dir, "bin");
  fs.mkdirSync(tools);
  for (const tool of ["env", "bash", "dirname"]) fs.symlinkSync(spawnSync("which", [tool], { encoding: "utf8" }).stdout.trim(), path.join(tools, tool));
  const { status, stderr } = spawnSync(demo, [], { encoding: "utf8", env: { PATH: tools } });
  assert.equal(status, 1);
  assert.match(stderr, /Debian 12 or 13/);
});

at("demo_in_a_pipe_is_plain_stays_and_leaves_nothing_after_an_interrupt", async (t) => {
  const dir = place(t);
  const run = start(dir, ["5", "--stay"]);
  await run.says("Everything runs on");
  assert.ok(!/\x1b|FAIL/.test(run.text), run.text);
  assert.match(run.text, /VM \w+ is launched: in [\d.]+ s/);
  assert.ok(run.text.match(/^ {2}ok /gm).length >= 7, run.text);
  if (/job 1 is cancelled at GitHub while it is queued/.test(run.text)) assert.match(run.text, /that VM was launched for job 1/);
  const [line] = run.text.match(/^demo: .*$/m);
  assert.match(line, /^demo: jobs=5 completed=3 cancelled=2 vms_launched=[34] vms_left=0 runners_left=0 max_concurrent=[12] seconds=\d+$/);
  const shown = fs.readFileSync(path.join(root, "README.md"), "utf8").match(/demo: jobs=.*$/m)[0];
  assert.deepEqual(shown.match(/\w+=/g), line.match(/\w+=/g), "README.md shows another last line");
  const [, config] = run.text.match(/^ {2}configuration {2}(\S+)/m);
  const [, mayflyctl] = run.text.match(/alias mayflyctl='(\S+) --config \S+'/);
  const status = spawnSync(mayflyctl, ["--config", config, "status"], { encoding: "utf8" });
  assert.equal(status.status, 0, status.stderr);
  const [, page] = run.text.match(/^ {2}console {8}(\S+)/m);
  assert.match(await (await fetch(page)).text(), /<title>/i);
  const [, body, url] = run.text.match(/curl -d '(.*)' (http:\S+)/);
  await fetch(url, { method: "POST", body: body.replace("uname -a", "echo $((6 * 7))") });
  await run.says("job 6: 42");
  process.kill(run.child.pid, "SIGINT"); // to it alone, as a terminal would not
  assert.equal(await run.ended, 130);
  assert.match(run.text, /SIGINT: ending/);
  assertNothingLeft(dir);
});

at("demo_on_a_terminal_has_a_table_and_runs_what_is_typed_until_ctrl_c", async (t) => {
  const dir = place(t);
  const { output, status, not_seen: notSeen } = await onTerminal(dir, [["a job> ", "echo $((6 * 7)\x15echo $((7 * 8))x\x7f\r"], ["job 7: 56", "\x03"]], ["--stay"]);
  assert.deepEqual(notSeen, [], output);
  assert.equal(status, 130);
  assert.match(output, /\x1b\[\d+A\x1b\[J/);
  assert.match(output, /\x1b\[1m {2}job {3}state/);
  assert.match(output, /\x1b\[36m {2}3 {5}running {5}\w{12}/);
  assertNothingLeft(dir);
});

at("demo_without_color_and_ctrl_c_while_it_starts", async (t) => {
  const dir = place(t);
  const { output, status } = await onTerminal(dir, [["4/5", "\x03"]], [], { NO_COLOR: "1" });
  assert.equal(status, 130);
  assert.ok(!/\x1b\[\d+m/.test(output), output);
  assertNothingLeft(dir);
});

// `deploy/demo | head -1`, and readers that end later.
for (const line of ["Mayfly", "VM .* is launched"]) {
  at(`demo_whose_reader_ends_at_"${line}"_leaves_nothing`, async (t) => {
    const dir = place(t);
    const shell = spawn("bash", ["-c", `set -o pipefail; "$1" | grep -m 1 -q "$2"`, "-", demo, line], { env: environment(dir), stdio: "ignore" });
    const code = await new Promise((resolve) => { shell.on("exit", resolve); });
    assert.equal(code, 141);
    assertNothingLeft(dir);
  });
}

test("demo", { concurrency: 2, timeout: 200000 }, async (t) => {
  await Promise.all(runs.map(([name, run]) => t.test(name, { timeout: 100000 }, run)));
});

// `mayflyctl status`, and --watch, by the real program on a pseudo-terminal and without one.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { config, ctl, dir, makeStores, mayflyctl, plainEnv, writeConfig } from "./setup.mjs";

writeConfig();
makeStores();
const pty = fileURLToPath(new URL("on_terminal.py", import.meta.url));
// Runs mayflyctl on a pseudo-terminal of that size; `keys` are typed when the first frame is there. Returns { output, status, echo }.
function onTerminal(args, { columns = 60, rows = 20, env = {}, keys = "", signal = "" } = {}) {
  const r = spawnSync("python3", [pty, String(columns), String(rows), keys, signal, mayflyctl, "--config", config, ...args],
    { encoding: "utf8", timeout: 60000, env: { ...plainEnv, ...env } });
  assert.equal(r.status, 0, r.stderr);
  return JSON.parse(r.stdout);
}
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;
const lines = (text) => text.replace(ESCAPES, "").split(/\r?\n/);

test("lines_are_as_wide_as_the_terminal_and_end_in_an_ellipsis", () => {
  const plain = ctl(["--config", config, "status"]).stdout;
  assert.ok(lines(plain).some((l) => l.length > 90));
  assert.ok(!/[\u001b…]/.test(plain));
  const narrow = lines(onTerminal(["status"]).output);
  assert.ok(narrow.every((l) => [...l].length <= 60), narrow.join("\n"));
  assert.ok(narrow.some((l) => l.endsWith("…") && [...l].length === 60));
  assert.ok(lines(onTerminal(["status"], { columns: 200 }).output).every((l) => !l.includes("…")));
  assert.ok(lines(ctl(["--config", config, "status"], { env: { COLUMNS: "40" } }).stdout).every((l) => [...l].length <= 40));
});

test("colour_is_on_terminals_alone_and_can_be_turned_off", () => {
  const color = (env) => onTerminal(["status"], { env }).output.includes("\u001b[");
  assert.equal(color({}), true);
  assert.equal(color({ NO_COLOR: "1" }), false);
  assert.equal(color({ TERM: "dumb" }), false);
});

test("slots_of_each_class_are_a_bar_and_empty_lanes_are_left_out", () => {
  const text = ctl(["--config", config, "status"]).stdout;
  assert.match(text, /^small +\[\.{8}\] +0\/8 /m);
  assert.ok(!text.includes("LANE"));
  assert.match(text, /^deployment box: 0 of 10 slots in use, 0 dead letters, 0 workers, 0 reapers$/m);
  const answer = JSON.parse(ctl(["--config", config, "status", "--json"]).stdout);
  assert.equal(answer.workers, 0);
  assert.equal(answer.classes[0].longest_wait_ms, 0);
});

test("watch_ends_at_q_and_at_control_c_and_leaves_the_terminal_as_it_was", () => {
  for (const how of [{ keys: "q" }, { keys: "\u0003" }]) {
    const r = onTerminal(["status", "--watch=100ms"], how);
    assert.equal(r.status, 0, JSON.stringify(r));
    assert.equal(r.modes_kept, true);
    assert.match(r.output, /every 100ms; q ends/);
    assert.ok(!r.output.includes("\nq"));
  }
});

test("watch_draws_no_more_lines_than_the_terminal_has", () => {
  const r = onTerminal(["status", "--watch=100ms"], { rows: 4, keys: "q" });
  const frame = lines(r.output.split("\u001b[H")[1]);
  assert.ok(frame.length <= 4, frame.join("\n"));
  assert.match(r.output, /\(\d+ more lines\)/);
});

test("watch_with_json_is_one_line_each_time_and_survives_an_outage", async (t) => {
  const own = path.join(dir, "watched.yaml");
  const store = fs.mkdtempSync(path.join(dir, "watched-"));
  writeConfig({ queue: `sqlite://${store}/queue.db`, ledger: `sqlite://${store}/ledger.db` }, own);
  for (const name of ["queue.db", "ledger.db"]) fs.copyFileSync(path.join(dir, name), path.join(store, name));
  const watch = spawn(mayflyctl, ["--config", own, "status", "--watch=100ms", "--json"], { env: plainEnv, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(watch, "exit");
  t.after(() => watch.kill("SIGKILL"));
  const answers = createInterface({ input: watch.stdout })[Symbol.asyncIterator]();
  const next = async (wanted) => {
    for (;;) {
      const { value, done } = await answers.next();
      assert.ok(!done, "it ended");
      const answer = JSON.parse(value);
      if (wanted(answer)) return answer;
    }
  };
  assert.equal((await next((a) => a.deployment)).deployment, "box");
  fs.renameSync(store, `${store}.away`);
  const away = await next((a) => a.error);
  const still = await next((a) => a.error);
  assert.match(away.since, /^20\d\d-/);
  assert.equal(still.since, away.since);
  assert.ok(["queue", "ledger"].includes(away.subject) && away.action.length > 5);
  fs.renameSync(`${store}.away`, store);
  assert.equal((await next((a) => !a.error)).deployment, "box");
  watch.kill("SIGINT");
  assert.deepEqual(await ended, [0, null]);
});

test("watch_of_what_never_was_is_an_error", () => {
  const own = path.join(dir, "never.yaml");
  writeConfig({ queue: `sqlite://${dir}/never/queue.db` }, own);
  const r = ctl(["--config", own, "status", "--watch"]);
  assert.equal(r.status, 1);
  assert.match(r.stderr, /there is no queue file/);
  assert.equal(ctl(["--config", config, "status", "--watch=2"]).status, 2);
});

test("watch_ends_when_nobody_can_read_it", () => {
  const full = fs.openSync("/dev/full", "w");
  const r = ctl(["--config", config, "status", "--watch=100ms", "--json"], { stdio: ["ignore", full, "pipe"] });
  fs.closeSync(full);
  assert.equal(r.status, 1);
  assert.match(r.stderr, /cannot write the whole answer/);
});

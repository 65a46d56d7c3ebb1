// The command line of the real mayflyctl: where its configuration comes from, help, exit codes, errors for people and for scripts.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { spawnSync } from "node:child_process";
import { bin, config, ctl, dir, makeStores, mayflyctl, plainEnv, root, writeConfig } from "./setup.mjs";

const DEFAULT = "/etc/mayfly/mayfly.yaml";
const daemons = ["ingress/mayfly-ingress", "worker/mayfly-worker", "reaper/mayfly-reaper"].map((p) => path.join(bin, p));
const run = (program, args, env = {}) => spawnSync(program, args, { encoding: "utf8", env: { ...plainEnv, ...env } });
writeConfig();
makeStores();

test("the_configuration_is_the_option_then_the_variable_then_the_default_file", () => {
  const other = path.join(dir, "other.yaml");
  writeConfig({ deployment: "other" }, other);
  const deployment = (args, env) => JSON.parse(ctl(["status", "--json", ...args], { env }).stdout).deployment;
  assert.equal(deployment(["--config", config]), "box");
  assert.equal(deployment([`--config=${other}`]), "other");
  assert.equal(deployment([], { MAYFLY_CONFIG: fs.readFileSync(other, "utf8") }), "other");
  assert.equal(deployment(["--config", config], { MAYFLY_CONFIG: fs.readFileSync(other, "utf8") }), "box");
});

// In a namespace of its own /etc is empty, but for what the test writes.
test("the_default_file_is_read_by_all_programs", (t) => {
  const inside = (command) => spawnSync("unshare", ["-rm", "sh", "-c", `mount -t tmpfs none /etc && mkdir /etc/mayfly && cp "$CONFIG" ${DEFAULT} && ${command}`],
    { encoding: "utf8", env: { ...plainEnv, CONFIG: config, CTL: mayflyctl } });
  if (inside("true").status !== 0) return t.skip("no mount namespaces here");
  const status = inside('"$CTL" status --json');
  assert.equal(status.status, 0, status.stderr);
  assert.equal(JSON.parse(status.stdout).deployment, "box");
  for (const daemon of daemons) {
    const checked = inside(`"${daemon}" --check-config`);
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  }
});

test("without_a_configuration_the_error_names_what_was_tried", (t) => {
  if (fs.existsSync(DEFAULT)) return t.skip(`${DEFAULT} exists here`);
  for (const [program, args] of [[mayflyctl, ["status"]], ...daemons.map((d) => [d, ["--check-config"]])]) {
    const r = run(program, args);
    assert.equal(r.status, 1);
    assert.match(r.stderr, /--config is not given, MAYFLY_CONFIG is not set, and there is no \/etc\/mayfly\/mayfly\.yaml/);
  }
});

test("help_is_printed_on_stdout_for_every_command_of_the_page", () => {
  const overview = ctl(["--help"]);
  assert.equal(overview.status, 0);
  assert.equal(ctl(["-h"]).stdout, overview.stdout);
  const page = fs.readFileSync(path.join(root, "deploy/docs/commands.md"), "utf8");
  const usages = [...page.matchAll(/^\| `([a-z][^`]*)` \|/gm)].map((m) => m[1].replaceAll("\\|", "|"));
  assert.ok(usages.length > 15);
  for (const usage of usages) {
    const words = usage.split(" ").filter((w) => /^[a-z-]+$/.test(w));
    const named = overview.stdout.includes(`\n  ${words.join(" ")}`);
    assert.ok(named, usage);
    for (const args of [["help", ...words], [...words, "--help"], ["-h", ...words]]) {
      const r = ctl(args);
      assert.equal(r.status, 0, r.stderr);
      assert.ok(r.stdout.replaceAll("\n       ", " ").includes(`usage: mayflyctl ${usage}\n`), `${args}: ${r.stdout}`);
      for (const part of ["Options:", "Exit codes:", "Example:"]) assert.ok(r.stdout.includes(part));
    }
  }
});

test("the_daemons_take_the_same_forms_of_options", () => {
  for (const daemon of daemons) {
    assert.equal(run(daemon, ["-h"]).stdout, run(daemon, ["--help"]).stdout);
    assert.match(run(daemon, ["-h"]).stdout, /\/etc\/mayfly\/mayfly\.yaml/);
    assert.equal(run(daemon, [`--config=${config}`, "--check-config"]).status, 0);
  }
});

test("durations_are_read_as_people_write_them", () => {
  for (const since of ["90s", "1h30m", "1.5h", "2d"]) assert.equal(ctl(["--config", config, "recover", "--since", since]).status, 0, since);
  const r = ctl(["--config", config, "recover", "--since=2 days"]);
  assert.equal(r.status, 2);
  assert.match(r.stderr, /--since has an unknown unit: write a number and its unit \(ms, s, m, h or d\), such as 2h, 1\.5h or 1h30m, from 1s to 3d/);
});

test("scripts_print_their_help_and_do_nothing_else", () => {
  for (const [script, args, words] of [["tests/run", ["--help"], /tests\/run all/], ["tests/run", ["storm", "--list"], /tests\/run storm/]]) {
    const r = spawnSync(path.join(root, script), args, { encoding: "utf8", timeout: 20000 });
    assert.equal(r.status, 0, r.stderr);
    assert.match(r.stdout, words);
    assert.ok(!/installing/.test(r.stdout));
  }
});

test("a_wrong_line_is_exit_code_2_and_nothing_on_stdout", () => {
  const cases = [
    [["statsu"], /no command "statsu": did you mean status\?/],
    [[], /no command on the line/],
    [["why"], /why needs JOB/],
    [["dlq"], /not a whole command: write one of dlq list/],
    [["help", "wyh"], /did you mean why\?/],
    [["vms", "--jsn"], /no option --jsn: did you mean --json\?/],
    [["--config", config, "recover", "--since", "2"], /--since has no unit/],
    [["--config", config, "dlq", "list", "some"], /takes nothing, or the word all/],
  ];
  for (const [args, words] of cases) {
    const r = ctl(args);
    assert.equal(r.status, 2, args.join(" "));
    assert.equal(r.stdout, "");
    assert.match(r.stderr, words);
    const json = ctl([...args, "--json"]);
    assert.equal(json.status, 2);
    assert.equal(json.stdout, "");
    const error = JSON.parse(json.stderr);
    assert.match(error.error, words);
    assert.equal(error.error_class, "usage");
    assert.deepEqual(Object.keys(error), ["error", "error_class", "subject", "action"]);
  }
});

test("a_run_that_nobody_knows_is_exit_code_5", () => {
  const file = path.join(dir, "run.yaml");
  writeConfig({ github: { token: "ghp_" + "a".repeat(36), webhook_secrets: ["a-long-secret"], api_url: "http://127.0.0.1:1" } }, file);
  const r = ctl(["--config", file, "why", "https://github.com/acme/app/actions/runs/9"]);
  assert.equal(r.status, 5, r.stderr);
  assert.match(r.stderr, /run 9: none of its jobs waits or runs here/);
});

test("a_failure_is_exit_code_1_and_says_whose_trouble_it_is", () => {
  const away = path.join(dir, "away.yaml");
  writeConfig({ queue: "redis://127.0.0.1:1/0" }, away);
  const invalid = path.join(dir, "invalid.yaml");
  writeConfig({ queues: "x" }, invalid);
  const cases = [
    [["--config", config, "vm", "terminate", "nosuch"], "not_found", "command", /no VM nosuch/],
    [["--config", away, "status"], "retry", "queue", /127\.0\.0\.1/],
    [["--config", invalid, "status"], "permanent", "configuration", /queues: unknown key: did you mean queue\?/],
    [["--config", path.join(dir, "absent.yaml"), "status"], "permanent", "configuration", /absent\.yaml/],
  ];
  for (const [args, errorClass, subject, words] of cases) {
    const r = ctl(args);
    assert.equal(r.status, 1, args.join(" "));
    assert.match(r.stderr, words);
    const json = ctl([...args, "--json"]);
    assert.equal(json.status, 1);
    assert.equal(json.stdout, "");
    const error = JSON.parse(json.stderr);
    assert.equal(error.error_class, errorClass, json.stderr);
    assert.equal(error.subject, subject, json.stderr);
    assert.match(error.error, words);
    assert.ok(error.action.length > 5);
  }
});

test("an_answer_that_cannot_be_written_is_a_failure", () => {
  for (const args of [["status"], ["status", "--json"], ["--help"], ["--version"]]) {
    const full = fs.openSync("/dev/full", "w");
    const r = ctl(["--config", config, ...args], { stdio: ["ignore", full, "pipe"] });
    fs.closeSync(full);
    assert.equal(r.status, 1, args.join(" "));
    assert.match(r.stderr, /cannot write the whole answer/);
  }
});

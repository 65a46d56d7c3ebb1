// The completion of the shells, by a real bash (and zsh, where there is one) that sources what mayflyctl prints.
import test from "node:test";
import assert from "node:assert/strict";
import path from "node:path";
import { spawnSync } from "node:child_process";
import { config, ctl, dir, makeStores, mayflyctl, plainEnv, writeConfig } from "./setup.mjs";

writeConfig({ classes: ["small", "smaller", "large"].map((name) => ({ name, labels: [name], provider: "qemu", qemu: { image: "/i" } })) });
makeStores();
const env = { ...plainEnv, PATH: `${path.dirname(mayflyctl)}:${process.env.PATH}` };

// What Tab offers at the end of the line; bash splits at "=" itself.
function bash(...words) {
  const script = `source <(mayflyctl completion bash); COMP_WORDS=(mayflyctl "$@"); COMP_CWORD=$#; _mayflyctl mayflyctl; printf '%s\\n' "\${COMPREPLY[@]}"; complete -p mayflyctl`;
  const r = spawnSync("bash", ["-c", script, "bash", ...words], { encoding: "utf8", env });
  assert.equal(r.status, 0, r.stderr);
  const lines = r.stdout.trim().split("\n");
  assert.equal(lines.pop(), "complete -F _mayflyctl mayflyctl");
  return lines.filter((l) => l !== "");
}

test("bash_completes_commands_and_options_from_the_table", () => {
  assert.deepEqual(bash("sta"), ["status"]);
  assert.ok(["help", "status", "why", "dlq", "host", "completion"].every((w) => bash("").includes(w)));
  assert.equal(new Set(bash("")).size, bash("").length);
  assert.deepEqual(bash("dlq", "re"), ["redrive"]);
  assert.deepEqual(bash("help", "dlq", "re"), ["redrive"]);
  assert.deepEqual(bash("--js"), ["--json"]);
  assert.deepEqual(bash("vm", "terminate", "--fo"), ["--force"]);
  assert.deepEqual(bash("vms", "--fo"), []);
  assert.deepEqual(bash("completion", ""), ["bash", "zsh"]);
  assert.deepEqual(bash("status", ""), []);
  assert.deepEqual(bash("recover", "--since", ""), []);
});

test("bash_completes_names_of_this_deployment", () => {
  assert.deepEqual(bash("--config", config, "class", "retire", "sm"), ["small", "smaller"]);
  assert.deepEqual(bash("--config", "=", config, "pause", "la"), ["large"]);
  assert.deepEqual(bash("pause", "--config", config, "l"), ["large"]);
  assert.deepEqual(bash("--config", config, "dlq", "redrive", ""), ["all"]);
  assert.deepEqual(bash("--config", config, "vm", "terminate", ""), []);
  assert.deepEqual(bash("--config", path.join(dir, "absent.yaml"), "class", "retire", ""), []);
});

test("files_are_completed_by_the_shell_itself", () => {
  for (const words of [["--config", ""], ["--config", "="], ["--config", "=", "/e"], ["backup", ""]]) {
    const r = ctl(["completion", "words", "--", ...words]);
    assert.equal(r.stdout, ":file\n", words.join(" "));
  }
});

test("zsh_completes_too", (t) => {
  if (spawnSync("zsh", ["--version"]).status !== 0) return t.skip("no zsh here");
  const script = `compdef() { :; }; compadd() { shift; print -l -- "\${(@P)1}"; }; source <(mayflyctl completion zsh); words=(mayflyctl "$@"); CURRENT=$(($# + 1)); _mayflyctl`;
  const zsh = (...words) => spawnSync("zsh", ["-c", script, "zsh", ...words], { encoding: "utf8", env }).stdout.trim().split("\n");
  assert.deepEqual(zsh("dlq", "re"), ["redrive"]);
  assert.deepEqual(zsh("--config", config, "class", "retire", "sm"), ["small", "smaller"]);
});

test("another_shell_is_an_error_that_names_the_known", () => {
  const r = ctl(["completion", "fish"]);
  assert.equal(r.status, 2);
  assert.match(r.stderr, /no completion for "fish": write bash or zsh/);
});

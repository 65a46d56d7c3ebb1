// The examples of the README and of every page of the documentation: a YAML block that is a configuration passes --check-config, JSON is JSON,
// commands and options exist, and so does what is named in backticks: settings, metrics, log events, fields, functions.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const bin = process.env.MAYFLY_BUILD ?? path.join(root, "build/dev");
const read = (name) => fs.readFileSync(path.join(root, name), "utf8");
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-docs-"));
process.on("exit", () => fs.rmSync(dir, { recursive: true, force: true }));

// Files of the project below these folders, without what is built or installed.
function* files(folder) {
  for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory() && !["node_modules", "build"].includes(entry.name)) yield* files(name);
    else if (entry.isFile()) yield name;
  }
}
const sources = ["common", "deploy", "ingress", "worker", "reaper", ".github"].flatMap((folder) => [...files(folder)]).concat("README.md", "CMakeLists.txt");
const GENERATED = ["commands", "config-reference", "log-events", "metrics"].map((name) => `deploy/docs/${name}.md`);
const pages = sources.filter((name) => name.endsWith(".md") && !GENERATED.includes(name));

// [line, language, text] of each block between fences, and of each that is indented by four blanks.
function blocks(text) {
  const found = [];
  for (const m of text.matchAll(/^```(\w*)\n([^]*?)^```$/gm)) found.push([text.slice(0, m.index).split("\n").length, m[1], m[2]]);
  for (const m of text.matchAll(/(?:^|\n\n)((?: {4}.*\n)+)/g)) found.push([text.slice(0, m.index).split("\n").length, "", m[1].replace(/^ {4}/gm, "")]);
  return found;
}
const inline = (text) => [...text.replace(/^```[^]*?^```$/gm, (m) => m.replace(/[^\n]/g, "")).matchAll(/(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)/g)]
  .map((m) => [text.slice(0, m.index).split("\n").length, m[1].replace(/\s*\n\s*/g, " ")]);

// --- configurations ---
const reference = read("deploy/docs/config-reference.md");
const settings = new Set([...reference.matchAll(/^\| `([^`]+)` \|/gm)].map((m) => m[1]));
const TOP = new Set([...settings].map((s) => s.split(/[.[]/)[0]));
const DEFAULTS = {
  queue: "queue: sqlite:///var/lib/mayfly/queue.db\n", ledger: "ledger: sqlite:///var/lib/mayfly/ledger.db\n",
  github: "github: {token: ghp_0123456789, webhook_secrets: [a-long-secret]}\n",
  classes: "classes: [{name: small, labels: [self-hosted, small], required_labels: [small], provider: qemu, qemu: {image: /i}}]\n",
};
const topKeys = (text) => [...text.matchAll(/^([A-Za-z_]\w*):/gm)].map((m) => m[1]);
const isConfiguration = (text) => topKeys(text).length > 0 && topKeys(text).every((key) => TOP.has(key));

// What the page leaves out, and what is no file here.
function complete(text) {
  let whole = text.replace(/, …\}/g, ", provider: qemu, qemu: {image: /i}}").replaceAll("…", "x").replace(/(private_key: "?)(?:file|credential):[^\s"',}\]]+/g, "$1env:STUB_KEY").replace(/(?:file|credential):[^\s"',}\]]+/g, "env:STUB");
  if (/^github:/m.test(whole) && !/token:|apps?:/.test(whole)) whole = whole.replace(/^github:\n/m, "github:\n  token: ghp_0123456789\n");
  if (/^github:/m.test(whole) && !/webhook_secrets/.test(whole)) whole = whole.replace(/^github:\n/m, "github:\n  webhook_secrets: [a-long-secret]\n");
  for (const [key, line] of Object.entries(DEFAULTS)) if (!topKeys(whole).includes(key)) whole += line;
  return whole;
}

const KEY = execFileSync("openssl", ["genrsa", "2048"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
function check(where, text) {
  fs.writeFileSync(path.join(dir, "page.yaml"), complete(text));
  for (const program of ["ingress", "worker", "reaper"]) {
    const { status, stdout, stderr } = spawnSync(path.join(bin, program, `mayfly-${program}`), ["--check-config", "--config", path.join(dir, "page.yaml")], { encoding: "utf8", env: { ...process.env, STUB: "Stub: a-long-secret", STUB_KEY: KEY }, timeout: 20000 });
    assert.equal(status, 0, `${where}: ${stdout}${stderr}\n${complete(text)}`);
  }
}

const configurations = pages.flatMap((page) => blocks(read(page)).filter(([, language, text]) => language === "yaml" && isConfiguration(text)).map(([line, , text]) => [`${page}:${line}`, text]));
configurations.push(["deploy/systemd/mayfly.yaml.example", read("deploy/systemd/mayfly.yaml.example")]);
for (const [where, text] of configurations) test(`configuration ${where}`, () => check(where, text));
test("there are configurations, and one with a mistake is found", () => {
  assert.ok(configurations.length >= 8, `${configurations.length}`);
  assert.throws(() => check("here", "queue: sqlite:///q.db\nlimits: {max_vm: 3}\n"), /max_vm: unknown key/);
});

test("blocks that are named json are JSON", () => {
  for (const page of pages) for (const [line, language, text] of blocks(read(page))) if (language === "json") assert.doesNotThrow(() => JSON.parse(text), `${page}:${line}`);
});

// --- commands ---
const help = (...args) => spawnSync(path.join(bin, "deploy/ctl/mayflyctl"), args, { encoding: "utf8" });
const COMMANDS = [...help("--help").stdout.matchAll(/^ {2}([a-z]+(?: [a-z]+)?)(?: [A-Z[a-z|]|\s{2})/gm)].map((m) => m[1]);
const daemonHelp = spawnSync(path.join(bin, "worker/mayfly-worker"), ["--help"], { encoding: "utf8" }).stdout;
const optionsOf = (text) => new Set([...text.matchAll(/(?<![\w-])(--?[a-z][a-z-]*)/g)].map((m) => m[1]));

// Why the command is none; "" if it is one.
function wrong(words) {
  const [program, ...rest] = words;
  const options = rest.filter((w) => /^--?[a-z]/.test(w)).map((w) => w.replace(/=.*/, ""));
  if (program !== "mayflyctl") return options.filter((o) => !optionsOf(daemonHelp).has(o)).map((o) => `${program} has no option ${o}`).join();
  const taken = rest.filter((w, i) => !w.startsWith("-") && !(rest[i - 1] === "--config"));
  if (taken[0] === "help") taken.shift();
  if (taken.length === 0 || !/^[a-z]/.test(taken[0])) return options.filter((o) => !optionsOf(help("--help").stdout).has(o)).join();
  const command = [taken.slice(0, 2).join(" "), taken[0]].find((name) => COMMANDS.includes(name));
  if (command === undefined) return COMMANDS.some((name) => name.startsWith(`${taken[0]} `)) && taken.length === 1 ? "" : `mayflyctl has no command ${taken.join(" ")}`;
  const known = optionsOf(help("help", ...command.split(" ")).stdout);
  return options.filter((o) => !known.has(o)).map((o) => `mayflyctl ${command} has no option ${o}`).join();
}
const words = (text) => text.replace(/"[^"]*"|'[^']*'/g, "TEXT").split(/[|;&>]|\s#/)[0].trim().split(/\s+/);
const commandsIn = (page) => [...inline(read(page)), ...blocks(read(page)).flatMap(([line, , text]) => text.split("\n").map((l, i) => [line + i, l.replace(/^\$ /, "")]))]
  .map(([line, text]) => [`${page}:${line}`, text.replace(/^(?:sudo |docker \S+ \S+ )/, "").replace(/^\S*\/(?=mayfly)/, "")])
  .filter(([, text]) => /^(mayflyctl|mayfly-(?:ingress|worker|reaper))( |$)/.test(text));

test("commands and options that the pages name exist", () => {
  const all = pages.flatMap(commandsIn);
  assert.ok(all.length > 40, `${all.length}`);
  assert.deepEqual(all.map(([where, text]) => [where, text, wrong(words(text))]).filter(([, , why]) => why !== ""), []);
  assert.match(wrong(words("mayflyctl dlq kick 3")), /no command/);
  assert.match(wrong(words("mayflyctl why 3 --loud")), /no option --loud/);
});

// --- names in backticks ---
const metrics = new Set([...read("deploy/docs/metrics.md").matchAll(/^\| `(\w+)` \|/gm)].map((m) => m[1]));
test("metrics that the pages name exist", () => {
  const named = pages.flatMap((page) => inline(read(page)).flatMap(([line, text]) => [...text.matchAll(/\bmayfly_[a-z_]+[a-z]\b/g)].map((m) => [`${page}:${line}`, m[0].replace(/_(bucket|sum|count)$/, "")])));
  assert.ok(named.length > 20);
  const targets = new Set([...files("."), "CMakeLists.txt"].filter((name) => name.endsWith("CMakeLists.txt")).flatMap((name) => read(name).match(/\bmayfly_\w+/g) ?? []));
  assert.deepEqual(named.filter(([, name]) => !metrics.has(name) && !targets.has(name) && ![...metrics].some((known) => known.startsWith(`${name}_`))), []);
});

// The pages of the Terraform module name its inputs alike.
test("settings that the pages name exist", () => {
  const all = [...settings];
  const exists = (name) => all.some((s) => { const plain = s.replaceAll("[]", ""); const n = name.replaceAll("[]", ""); return plain === n || plain.startsWith(`${n}.`) || plain === `classes.${n}` || plain.startsWith(`classes.${n}.`); });
  const named = pages.filter((page) => !page.startsWith("deploy/terraform/")).flatMap((page) => inline(read(page)).filter(([, text]) => /^[a-z_]+(?:\[\])?(?:\.[a-z_]+(?:\[\])?)+$/.test(text) && TOP.has(text.split(/[.[]/)[0])).map(([line, text]) => [`${page}:${line}`, text]));
  assert.ok(named.length > 60, `${named.length}`);
  assert.deepEqual(named.filter(([, name]) => !exists(name) && !/\.(c|h|md|yaml|db|json|mjs|sh)$/.test(name)), []);
});

// Names of other projects, and a pattern of names of this one.
const FOREIGN = ["pull_request_target", "subject_condition_result"];
test("words with underscores in backticks occur in the product", () => {
  const product = new Set(sources.filter((name) => !name.endsWith(".md")).concat([...files("tests")].filter((name) => /\.(mjs|c|h|py|txt|json)$/.test(name) && !name.includes("integration/docs")))
    .flatMap((name) => read(name).match(/\w+/g) ?? []));
  const named = pages.filter((page) => !page.endsWith("CHANGELOG.md")).flatMap((page) => inline(read(page)).filter(([, text]) => /^[a-z]+(?:_[a-z0-9]+)+$/.test(text)).map(([line, text]) => [`${page}:${line}`, text]));
  assert.ok(named.length > 100, `${named.length}`);
  assert.deepEqual(named.filter(([, name]) => !product.has(name) && !FOREIGN.includes(name)), []);
});

// The alerts of deploy/prometheus by promtool: each fires when it should, and alone; each does not in its near misses. Each has a page in
// deploy/docs/runbooks, and no page is left over. Every series that rules, dashboard and pages name is in the table of metrics.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { RULES, RUNBOOKS, alertNames, metricNames, missing, root, scaled, tableOfMetrics } from "../../lib/rules.mjs";
import { CASES, HEALTHY } from "./cases.mjs";

const text = fs.readFileSync(RULES, "utf8");
const alerts = alertNames(text);
const skip = missing("promtool") ?? false;

function promtool(t, args, files = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-rules-"));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(dir, name), content);
  const { status, stdout, stderr } = spawnSync("promtool", args, { cwd: dir, encoding: "utf8" });
  return { status, output: stdout + stderr };
}

// Series of a healthy fleet, with those of the case in their place; exactly the expected alerts fire at that minute.
function unitTest({ series = {}, without = [], at, fires = [] }) {
  const all = { ...HEALTHY, ...series };
  for (const name of without) for (const key of Object.keys(all)) if (key.startsWith(name)) delete all[key];
  return {
    interval: "1m",
    input_series: Object.entries(all).map(([key, values]) => ({ series: key, values })),
    promql_expr_test: [{ expr: 'ALERTS{alertstate="firing"}', eval_time: at, exp_samples: fires.map((labels) => ({ labels: `ALERTS{alertstate="firing",${labels}}`, value: 1 })) }],
  };
}

test("rules_are_accepted_by_promtool", { skip }, (t) => {
  const { status, output } = promtool(t, ["check", "rules", "--lint-fatal", RULES]);
  assert.equal(status, 0, output);
});

test("example_configuration_is_accepted_and_names_the_rules", { skip }, (t) => {
  const { status, output } = promtool(t, ["check", "config", path.join(root, "deploy/prometheus/prometheus.yml")]);
  assert.equal(status, 0, output);
  assert.match(output, /SUCCESS: \d+ rules found/);
});

const named = (alert, kind, cases) => Object.entries(cases).map(([what, one]) => ({ name: `${alert} ${kind}: ${what}`, ...unitTest({ ...one, fires: kind === "fires" ? one.fires : [] }) }));
const unitTests = Object.entries(CASES).flatMap(([alert, { fires, quiet }]) => [...named(alert, "fires", fires), ...named(alert, "does not fire", quiet)]);
const casesFile = (rules, tests = unitTests) => JSON.stringify({ rule_files: [rules], evaluation_interval: "1m", tests });

test("alerts_fire_when_they_should_and_not_in_near_misses", { skip }, (t) => {
  const { status, output } = promtool(t, ["test", "rules", "cases.yml"], { "cases.yml": casesFile(RULES) });
  assert.equal(status, 0, output);
});

// The cases can fail: those of rules whose `for` or thresholds are changed. Not in the quick form.
if (!process.env.MAYFLY_QUICK) test("cases_notice_a_missing_for_or_threshold", { skip }, (t) => {
  const failing = (kind, names, changed) => {
    const tests = unitTests.filter(({ name }) => names.some((alert) => name.startsWith(`${alert} ${kind}: `)));
    return promtool(t, ["test", "rules", "cases.yml"], { "cases.yml": casesFile("rules.yml", tests), "rules.yml": changed }).output;
  };
  const lasting = text.split(/^ *- alert: /m).slice(1).filter((rule) => /^ +for: /m.test(rule)).map((rule) => rule.split("\n")[0]);
  const withoutFor = failing("does not fire", lasting, text.replace(/^ +for: .*\n/gm, ""));
  for (const name of lasting) assert.match(withoutFor, new RegExp(`got: .*alertname="${name}"`), `${name} without its for`);
  const compared = ["MayflyReaperStopped", "MayflyIngressRefusing", "MayflyJobsNotLaunched", "MayflyEventsLate", "MayflyQuotaNearlyUsed", "MayflyJobScanLate"];
  const deaf = failing("fires", compared, text.replace(/(> )(\(\d+ \* |0\.)/g, "$1 100 * $2"));
  for (const name of compared) assert.match(deaf, new RegExp(`exp: .*alertname="${name}"`), `${name} with another threshold`);
});

test("each_alert_has_cases_that_fire_and_near_misses", () => {
  assert.deepEqual(Object.keys(CASES).sort(), [...alerts].sort());
  for (const [alert, { fires, quiet }] of Object.entries(CASES)) {
    assert.ok(Object.keys(fires).length > 0 && Object.keys(quiet).length > 0, alert);
    for (const [what, one] of Object.entries(fires)) assert.ok(one.fires.some((labels) => labels.includes(`alertname="${alert}"`)), `${alert}: ${what}`);
  }
});

test("each_alert_says_what_to_do_and_has_its_page", () => {
  for (const rule of text.split(/^ *- alert: /m).slice(1)) {
    const [name] = rule.split("\n");
    assert.match(rule, /labels: \{severity: (critical|warning)\}/, name);
    for (const key of ["summary", "description"]) assert.match(rule, new RegExp(`^ +${key}: \\S`, "m"), `${name}: ${key}`);
    assert.match(rule, new RegExp(`^ +runbook_url: deploy/docs/runbooks/${name}\\.md$`, "m"), name);
  }
  const pages = fs.readdirSync(RUNBOOKS).filter((name) => name !== "README.md").map((name) => name.replace(/\.md$/, ""));
  assert.deepEqual(pages.sort(), [...alerts].sort());
  const index = fs.readFileSync(path.join(RUNBOOKS, "README.md"), "utf8");
  for (const name of alerts) {
    assert.ok(index.includes(`[${name}](${name}.md)`), `README.md has no ${name}`);
    const page = fs.readFileSync(path.join(RUNBOOKS, `${name}.md`), "utf8");
    assert.ok(page.startsWith(`# ${name}\n`), name);
    const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    assert.deepEqual(headings, ["What it means", "How to see it", "What to do", "When it ends"], name);
  }
});

// A histogram's series have a suffix.
const isSeries = (name, table) => /^process_/.test(name) || table.has(name) || table.get(name.replace(/_(bucket|sum|count)$/, ""))?.type === "HISTOGRAM";
const NAMING = [RULES, path.join(root, "deploy/prometheus/prometheus.yml"), path.join(root, "deploy/docs/operations.md"),
  ...fs.readdirSync(RUNBOOKS).map((name) => path.join(RUNBOOKS, name)), ...fs.readdirSync(path.join(root, "deploy/grafana")).map((name) => path.join(root, "deploy/grafana", name))];

test("every_series_that_is_named_is_in_the_table_of_metrics", () => {
  const table = tableOfMetrics();
  for (const file of NAMING) {
    const named = metricNames(fs.readFileSync(file, "utf8").replace(/mayfly_\w*\*/g, ""));
    assert.deepEqual(named.filter((name) => !isSeries(name, table)), [], path.relative(root, file));
  }
});

// The labels by which rules and dashboard select or group are those that the series have.
test("every_selector_has_labels_of_its_series", () => {
  const table = tableOfMetrics();
  for (const file of NAMING) {
    for (const [, name, labels] of fs.readFileSync(file, "utf8").matchAll(/\b(mayfly_\w+)\{([^}]*)\}/g)) {
      const row = table.get(name) ?? table.get(name.replace(/_(bucket|sum|count)$/, ""));
      for (const [, label] of labels.matchAll(/(\w+)\s*[=!]~?\s*\\?"/g)) {
        assert.ok(["deployment", "job", "instance", "le"].includes(label) || row?.labels.includes(label), `${path.relative(root, file)}: ${name} has no label ${label}`);
      }
    }
  }
});

// Log events, settings and commands of the pages exist too.
test("what_pages_name_exists", () => {
  const read = (folder, match) => fs.readdirSync(path.join(root, folder)).filter((name) => match.test(name)).map((name) => fs.readFileSync(path.join(root, folder, name), "utf8")).join("\n");
  const events = new Set([...read("common/program", /^log_events.*\.c$/).matchAll(/^ {4}\{"(\w+)"/gm)].map(([, name]) => name));
  const reference = fs.readFileSync(path.join(root, "deploy/docs/config-reference.md"), "utf8");
  const commands = fs.readFileSync(path.join(root, "deploy/docs/commands.md"), "utf8");
  const series = fs.readFileSync(path.join(root, "common/base/metrics_table.c"), "utf8"); // and values of their labels
  assert.ok(events.size > 50);
  for (const name of fs.readdirSync(RUNBOOKS)) {
    const page = fs.readFileSync(path.join(RUNBOOKS, name), "utf8");
    for (const [, word] of page.matchAll(/`(?!mayfly_|process_)([a-z]+(?:_[a-z]+)+)`/g)) {
      assert.ok(events.has(word) || reference.includes(`\`${word}\``) || reference.includes(`.${word}`) || series.includes(`\`${word}\``), `${name}: ${word} is neither a log event nor a setting`);
    }
    for (const [, setting] of page.matchAll(/`((?:ingress|worker|reaper|limits|github|retry|circuit|events|qemu|lambda)\.[a-z_.]+)`/g)) {
      assert.ok(reference.includes(setting), `${name}: there is no setting ${setting}`);
    }
    for (const [, verb] of page.matchAll(/mayflyctl ([a-z]+)/g)) assert.ok(commands.includes(`\`${verb}`) || commands.includes(` ${verb}`), `${name}: there is no command ${verb}`);
  }
});

test("scaled_rules_have_no_time_left_as_it_was", { skip }, (t) => {
  const fast = scaled(text, 10);
  assert.doesNotMatch(fast.replace(/^ *#.*$/gm, ""), /(for: |\[)\d+[mhd]\b|\* (60|3600|86400)\)/);
  assert.match(fast, /for: 12000ms/);
  assert.match(fast, /> \(30\)/);
  const { status, output } = promtool(t, ["check", "rules", "fast.yml"], { "fast.yml": fast });
  assert.equal(status, 0, output);
  // Series in seconds are compared with such times alone.
  for (const [, number] of text.matchAll(/(?:_seconds\)?|time\(\)[^\n]*?) [<>] (\S+)/g)) assert.match(number, /^\(\d*$|^0\)$/, number);
});

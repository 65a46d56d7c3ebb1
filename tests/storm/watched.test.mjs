// What judges the alerts of storms can fail, and README.md names alerts that exist, for every condition.
import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";
import { MAY_BE_EMPTY, panelsOf } from "../lib/dashboard.mjs";
import { alertNames, metricNames, RULES, tableOfMetrics } from "../lib/rules.mjs";
import { Lasting } from "./lib/lasting.mjs";
import { alertsOf, judgeAlerts } from "./lib/watched.mjs";
import { SETUPS } from "./lib/setups.mjs";

const TABLE = alertsOf("| `short` | MayflyOne (100 s), MayflyTwo (300 s), MayflyThree (may) |\n| `still` | none |\n");

for (const { name, fired, conditions, unexpected = [], lacking = [] } of [
  { name: "what has to fire fires", fired: ["MayflyOne", "MayflyTwo"], conditions: [{ kind: "short", seconds: 400 }] },
  { name: "what may fire", fired: ["MayflyOne", "MayflyTwo", "MayflyThree"], conditions: [{ kind: "short", seconds: 50 }] },
  { name: "what is not due yet", fired: ["MayflyOne"], conditions: [{ kind: "short", seconds: 200 }] },
  { name: "what is missing", fired: ["MayflyOne"], conditions: [{ kind: "short", seconds: 300 }], lacking: ["MayflyTwo"] },
  { name: "what is not named", fired: ["MayflyOne", "MayflyTwo", "MayflyNine"], conditions: [{ kind: "short", seconds: 400 }], unexpected: ["MayflyNine"] },
  { name: "anything, of a condition that fires none", fired: ["MayflyOne"], conditions: [{ kind: "still", seconds: 400 }], unexpected: ["MayflyOne"] },
  { name: "several conditions", fired: ["MayflyTwo"], conditions: [{ kind: "short", seconds: 400 }, { kind: "still", seconds: 400 }] },
]) {
  test(`alerts_are_judged: ${name}`, () => {
    assert.deepEqual(judgeAlerts(Object.fromEntries(fired.map((alert) => [alert, []])), conditions, TABLE), { unexpected, lacking });
  });
}

test("readme_names_the_alerts_of_each_condition", () => {
  const table = alertsOf();
  const known = alertNames(fs.readFileSync(RULES, "utf8"));
  const kinds = ["outage-github", "outage-aws", "outage-ledger", "outage-queue", "brownout-dynamodb", "brownout-redis", "failover-loss", "lag", "tenant-refused", "permission-lost",
    "ledger-lost", "store-emptied", "store-restored", "vanish", ...Object.keys(SETUPS)];
  for (const option of Object.keys(Lasting.OPTIONS)) assert.ok(kinds.some((kind) => kind === option || kind.startsWith(`${option}-`)) || ["how", "without", "untraced", "previous", "mixed", "seconds", "scale"].includes(option), option);
  assert.deepEqual([...table.keys()].sort(), kinds.sort());
  for (const [kind, rows] of table) for (const { alert } of rows) assert.ok(known.includes(alert), `${kind}: ${alert}`);
});

test("dashboard_has_panels_with_known_series", () => {
  const panels = panelsOf();
  const table = tableOfMetrics();
  assert.ok(panels.length > 40);
  for (const { title, expression } of panels) {
    for (const name of metricNames(expression)) {
      const bare = name.replace(/_(bucket|sum|count)$/, "");
      assert.ok(/^process_/.test(name) || table.has(name) || table.get(bare)?.type === "HISTOGRAM", `${title}: ${name}`);
    }
  }
  for (const title of Object.keys(MAY_BE_EMPTY)) assert.ok(panels.some((panel) => panel.title === title), title);
});

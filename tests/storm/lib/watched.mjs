// What an operator's Prometheus sees of a storm: which alerts fire, and whether each panel of the dashboard shows something.
import fs from "node:fs";
import path from "node:path";
import { sleep, until } from "../../lib/wait.mjs";
import { panelsOf } from "../../lib/dashboard.mjs";
import { Prometheus } from "../../lib/prometheus.mjs";
import { missing, root } from "../../lib/rules.mjs";

const README = path.join(root, "tests/storm/README.md");

// README.md's table: kind -> [{alert, after}], where a condition that lasts for at least `after` seconds, unscaled, has to fire it; Infinity: it may.
export function alertsOf(text = fs.readFileSync(README, "utf8")) {
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \| ((?:Mayfly\w+|none)[^|]*) \|$/gm)];
  return new Map(rows.map(([, kind, alerts]) => [kind, [...alerts.matchAll(/(Mayfly\w+) \((?:(\d+) s|may)\)/g)].map(([, alert, after]) => ({ alert, after: Number(after ?? Infinity) }))]));
}

// What of the alerts that fired is wrong, and missing. Several conditions follow one another in `--mixed`: there each may hide another's alert.
// Launches leave a target that does not answer to the others before its circuit opens, minutes later: the alert may fire.
const isMet = (kind, how) => kind === "target-gone" && how === "hang";

export function judgeAlerts(fired, conditions, table = alertsOf()) {
  const named = conditions.flatMap(({ kind, how, seconds }) => (table.get(kind) ?? []).map((row) => ({ ...row, due: seconds >= row.after && !isMet(kind, how) })));
  const unexpected = Object.keys(fired).filter((alert) => !named.some((row) => row.alert === alert));
  const lacking = conditions.length > 1 ? [] : named.filter(({ alert, due }) => due && !fired[alert]).map(({ alert }) => alert);
  return { unexpected: unexpected.sort(), lacking: lacking.sort() };
}

export class Watched {
  constructor(storm, { dashboard }) {
    Object.assign(this, { storm, dashboard, skipped: missing("prometheus"), details: {} });
    this.prometheus = this.skipped ? null : new Prometheus({ dir: storm.dir, factor: storm.scale });
    if (this.skipped) console.error(`storm: skipped: alerts and dashboard: ${this.skipped}`);
  }

  async start() {
    await this.prometheus?.start();
    if (this.prometheus) this.storm.all.push(this.prometheus.program);
  }

  watch({ name, kind, adminPort }, deployment) { this.prometheus?.watch(name, adminPort, { job: `mayfly-${kind}`, deployment }); }

  // All programs are scraped, before anything happens to them.
  async ready() {
    const { prometheus } = this;
    if (!prometheus) return;
    const scraped = async () => (await prometheus.ask("query", { query: "up == 1" })).length >= prometheus.targets.length;
    await until("Prometheus scrapes all programs", scraped, { seconds: 60, every_ms: 200 });
    this.from = Date.now();
  }

  // While everything runs.
  async measure() {
    if (!this.prometheus) return;
    await sleep(2 * this.prometheus.intervalMs); // what is over is scraped once more
    const to = Date.now();
    // What the start of so many programs at once, or a machine with other work, did before is not the condition's.
    const begun = Math.min(...(this.storm.lasting?.conditions ?? []).map((c) => c.from ?? this.from), to);
    this.fired = await this.prometheus.fired(this.storm.lasting ? begun : this.from, to);
    if (this.dashboard) this.panels = await this.panelsShown(to);
  }

  async panelsShown(to) {
    const empty = [];
    const wrong = [];
    const panels = panelsOf();
    for (const { title, expression, mayBeEmpty } of panels) {
      try {
        const series = await this.prometheus.range(expression, this.from, to);
        if (!mayBeEmpty && !series.some(({ values }) => values.some(([, value]) => value !== "NaN"))) empty.push(`${title}: ${expression}`);
      } catch (error) { wrong.push(`${title}: ${error.message}`); }
    }
    return { panels: panels.length, empty, wrong };
  }

  verdict() {
    if (!this.prometheus) return { verdict: { watched: `skipped: ${this.skipped}` }, failed: [], details: {} };
    const conditions = this.storm.lasting?.conditions.map((c) => ({ kind: c.kind, seconds: (c.ms * this.storm.scale) / 1000 })) ?? [];
    const { unexpected, lacking } = conditions.length ? judgeAlerts(this.fired ?? {}, conditions) : { unexpected: [], lacking: [] };
    const verdict = { alerts: Object.keys(this.fired ?? {}).sort(), ...(this.panels && { panels: this.panels.panels, panels_empty: this.panels.empty.length, panels_wrong: this.panels.wrong.length }) };
    const failed = [...unexpected.map((alert) => `unexpected_${alert}`), ...lacking.map((alert) => `missing_${alert}`), ...["panels_empty", "panels_wrong"].filter((key) => verdict[key] > 0)];
    if (!this.fired) failed.push("alerts_unknown");
    return { verdict, failed, details: { fired: this.fired, ...(this.panels && { panels_empty: this.panels.empty, panels_wrong: this.panels.wrong }) } };
  }

  stop() { return this.prometheus?.stop(); }
}

// What `mayflyctl cost` says: an estimate, beside what GitHub's own runners cost.
import { get } from "./api.mjs";
import { card, clock, duration, el, empty, name, number, plain, show } from "./dom.mjs";

const BY = ["repository", "class", "day"];
const SINCE = ["1d", "7d", "30d", "90d"];
const ROWS_MAX = 500;

const money = (value, currency) => (typeof value !== "number" ? "–" : value > 0 && value < 0.01 ? "< 0.01" : value.toLocaleString("en", { style: "currency", currency: currency ?? "USD" }));
const hours = (seconds) => `${((seconds ?? 0) / 3600).toLocaleString("en", { maximumFractionDigits: seconds < 36000 ? 2 : 0 })} h`;

const tile = (title, value, note) => el("div.tile", null, el("span.label", null, title), el("span.value", null, value), el("span.note", { title: note }, note));

function tiles({ total: t, currency }) {
  return el("div.tiles", null,
    tile("Cost, estimated", money(t.cost, currency), t.unpriced_vm_seconds ? `${hours(t.unpriced_vm_seconds)} of VMs have no price` : `of ${hours(t.vm_seconds)} of VMs`),
    tile("GitHub's own runners", money(t.github_cost, currency), `${number(t.job_minutes)} started minutes`),
    tile("VMs", number(t.vms), `${number(t.jobs)} jobs`),
    tile("vCPU time", hours(t.vcpu_seconds), ""),
    tile("Memory time", `${number(Math.round(t.gb_seconds / 3600))} GB h`, ""),
    tile("Wait, on average", t.jobs ? duration((1000 * t.queue_seconds) / t.jobs) : "–", "of a job in the queue"));
}

// A bar beside the money, since people compare.
function row(r, by, top, currency) {
  const bar = el("i.busy");
  bar.style.width = `${top > 0 ? (100 * (r.cost ?? 0)) / top : 0}%`;
  return el("tr", null, el("th", { scope: "row" }, name(r[by] || "none")), el("td.end.mono", null, number(r.jobs)), el("td.end.mono", null, number(r.vms)), el("td.end.mono", null, hours(r.vm_seconds)),
    el("td.end.mono", null, hours(r.vcpu_seconds)), el("td.bar", null, el("div.slots", null, bar)), el("td.end.mono", null, money(r.cost, currency)), el("td.end.mono.dim", null, money(r.github_cost, currency)));
}

function table({ rows, by, currency }) {
  const top = Math.max(0, ...rows.map((r) => r.cost ?? 0));
  const more = rows.length > ROWS_MAX ? `the first ${number(ROWS_MAX)} of ${number(rows.length)}` : null;
  return card(`By ${by}`, more, el("div.scroll", null, el("table", null,
    el("thead", null, el("tr", null, el("th", null, by), ["Jobs", "VMs", "VM time", "vCPU time"].map((h) => el("th.end", null, h)), el("th"), el("th.end", null, "Cost"), el("th.end", null, "GitHub's own"))),
    el("tbody", null, rows.slice(0, ROWS_MAX).map((r) => row(r, by, top, currency))))));
}

export class Cost {
  constructor(parameters) {
    this.title = "Cost";
    this.by = BY.includes(parameters.get("by")) ? parameters.get("by") : "repository";
    this.since = SINCE.includes(parameters.get("since")) ? parameters.get("since") : "30d";
    this.body = el("div", null, empty("…"));
    const href = (by, since) => `#/cost?by=${by}&since=${since}`;
    const choices = (list, now, make) => el("span.choices", null, list.map((x) => el(`a${x === now ? ".on" : ""}`, { href: make(x) }, x)));
    this.element = el("div.plain", null, el("div.filters", null, choices(BY, this.by, (x) => href(x, this.since)), choices(SINCE, this.since, (x) => href(this.by, x))), this.body);
    this.load();
  }

  async load() {
    try {
      const answer = await get("cost", { by: this.by, since: this.since });
      show(this.body, tiles(answer), answer.rows.length ? table(answer) : empty("No VM ended in that time."),
        card("Of this estimate", answer.counted_until ? `counted until ${clock(answer.counted_until)}` : null, el("ul.notes", null, answer.notes.map((n) => el("li", null, plain(n))))));
    } catch (error) { show(this.body, empty(error.message)); }
  }
}

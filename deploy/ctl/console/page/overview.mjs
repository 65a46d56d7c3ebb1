// The fleet at a glance, from the stream's snapshots.
import { age, card, chip, duration, el, empty, jobLink, millis, name, now, number, plain, show, time } from "./dom.mjs";

const KEPT = 900; // snapshots of the chart: a quarter of an hour at one a second
const history = [];

// Where the stores' clock was set back, what was later than now is forgotten: it would be drawn beyond the chart.
export function remember(snapshot, kept = history) {
  const { classes, fleet } = snapshot.status;
  const sum = (key) => classes.reduce((n, c) => n + c[key], 0);
  while (kept.length && kept.at(-1).at > millis(snapshot.status.at)) kept.pop();
  kept.push({ at: millis(snapshot.status.at), waiting: sum("jobs_waiting"), running: sum("jobs_running"), used: fleet.slots_used, slots: fleet.slots });
  if (kept.length > KEPT) kept.shift();
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, ...children) {
  const e = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// --- tiles ---

const tile = (title, value, tone, note, href) => el(href ? "a.tile" : "div.tile", { href }, el("span.label", null, title), el(`span.value${tone ? `.${tone}` : ""}`, null, value), el("span.note", null, note ?? ""));

function tiles({ status }) {
  const last = history.at(-1);
  const longest = Math.max(0, ...status.classes.map((c) => c.longest_wait_ms));
  const open = status.circuits.length;
  const { slots_used: used, slots } = status.fleet;
  return el("div.tiles", null,
    tile("Jobs waiting", number(last.waiting), last.waiting ? "warn" : "", longest ? `the longest for ${duration(longest)}` : "none", "#/jobs?state=waiting"),
    tile("Jobs running", number(last.running), last.running ? "good" : "", "", "#/jobs?state=running"),
    tile("VMs", `${number(used)} / ${number(slots)}`, used >= slots && slots ? "warn" : "", slots ? `${Math.round((100 * used) / slots)} % of the slots` : "no slots", "#/vms"),
    tile("Open circuits", number(open), open ? "bad" : "", open ? "their jobs wait" : "no trouble known", "#/trouble"),
    tile("Dead letters", `${status.estimated && status.dead ? "≈ " : ""}${number(status.dead)}`, status.dead ? "bad" : "", status.dead ? "a person has to look" : "none", "#/trouble"),
    tile("Programs", `${number(status.workers)} + ${number(status.reapers)}`, status.workers && status.reapers ? "" : "bad", "workers + reapers", "#/hosts"));
}

// --- the chart ---

// The last minute, or as many of those since the page was opened as there are, up to 15.
const SPANS = [1, 2, 5, 15];
function chart() {
  const w = 600;
  const h = 96;
  const end = history.at(-1).at;
  const minutes = SPANS.find((n) => end - history[0].at <= n * 60000) ?? SPANS.at(-1);
  const span = minutes * 60000;
  const points = history.filter((p) => p.at >= end - span);
  const top = Math.max(4, ...points.map((p) => Math.max(p.waiting, p.running)));
  const x = (p) => (w * (1 - (end - p.at) / span)).toFixed(1);
  const y = (n) => (h - 3 - (n / top) * (h - 12)).toFixed(1);
  const line = (key) => points.map((p, i) => `${i ? "L" : "M"}${x(p)},${y(p[key])}`).join("");
  const area = (key) => `${line(key)}L${w},${h}L${x(points[0])},${h}Z`;
  const picture = svg("svg", { viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", class: "chart", role: "img", "aria-label": `waiting and running jobs of the last ${minutes} min, up to ${top}` },
    ...[0.25, 0.5, 0.75].map((part) => svg("line", { x1: 0, x2: w, y1: h * part, y2: h * part, class: "grid" })),
    svg("path", { d: area("running"), class: "area running" }), svg("path", { d: line("running"), class: "line running" }),
    svg("path", { d: area("waiting"), class: "area waiting" }), svg("path", { d: line("waiting"), class: "line waiting" }));
  return el("div.charted", null, el("span.top", null, number(top)), picture, el("span.from", null, `${minutes} min ago`), el("span.to", null, "now"));
}

// --- classes ---

// A cell a slot where there is room for them, else shares of one bar.
function slots(c) {
  const all = Math.max(c.slots, c.slots_used, 1);
  const parts = [["busy", c.vms_busy], ["starting", c.vms_starting], ["ending", c.vms_ending]];
  const bar = el(`div.slots${all <= 40 ? ".cells" : ""}`, { role: "img", "aria-label": `${c.vms_busy} busy, ${c.vms_starting} starting or idle, ${c.vms_ending} ending, of ${c.slots} slots` });
  let used = 0;
  for (const [kind, n] of parts) {
    if (all <= 40) bar.append(...Array.from({ length: n }, () => el(`i.${kind}`)));
    else if (n) { const part = el(`i.${kind}`); part.style.width = `${Math.max(0.6, (100 * n) / all)}%`; bar.append(part); }
    used += n;
  }
  if (all <= 40) bar.append(...Array.from({ length: Math.max(0, all - used) }, () => el("i")));
  return bar;
}

function classState(c) {
  if (!c.configured) return chip("not configured", "warn");
  if (c.paused) return el("span", { title: `since ${c.paused.since} by ${plain(c.paused.by)}: ${plain(c.paused.reason)}` }, chip("paused", "warn"), c.paused.reason ? name(c.paused.reason, "small") : null);
  return c.slots === 0 ? chip("retired", "dim") : null;
}

function classRow(c, snapshot) {
  const of = snapshot.status.balance.filter((b) => b.class === c.class);
  const demand = of.reduce((n, b) => n + b.demand, 0);
  const supply = of.reduce((n, b) => n + b.supply, 0);
  const latency = snapshot.latency.find((l) => l.class === c.class);
  return el("tr", null,
    el("th", { scope: "row" }, el("a", { href: `#/jobs?class=${encodeURIComponent(c.class)}` }, name(c.class)), classState(c)),
    el("td.bar", null, slots(c)),
    el("td.end.mono", null, `${number(c.slots_used)}/${number(c.slots)}`),
    el(`td.end.mono${demand > supply ? ".warn" : ""}`, { title: "jobs that wait for a runner, and VMs that start or idle" }, `${number(demand)} : ${number(supply)}`),
    el("td.end.mono", null, number(c.jobs_running)),
    el("td.end.mono", null, c.longest_wait_ms ? duration(c.longest_wait_ms) : "–"),
    el("td.end.mono", { title: latency ? `of ${latency.jobs} jobs` : "no job has run lately" }, latency ? `${duration(latency.median_ms)} · ${duration(latency.p90_ms)}` : "–"));
}

function classes(snapshot) {
  const list = snapshot.status.classes;
  if (!list.length) return card("Classes", null, empty("the configuration has no class"));
  return card("Classes", el("span.legend", null, el("i.busy"), "busy ", el("i.starting"), "starting or idle ", el("i.ending"), "ending ", el("i"), "free"),
    el("div.scroll", null, el("table", null,
      el("thead", null, el("tr", null, el("th", null, "Class"), el("th", null, "Slots"), el("th.end", null, "Used"), el("th.end", null, "Demand : supply"), el("th.end", null, "Running"), el("th.end", null, "Longest wait"), el("th.end", { title: "from receipt to running: median and 90 % of the newest jobs" }, "Launch latency p50 · p90"))),
      el("tbody", null, list.map((c) => classRow(c, snapshot))))));
}

// --- jobs that wait ---

export function cause(of) {
  if (!of) return el("span.dim", null, "…");
  const tone = of.outcome === "needs_a_person" ? "bad" : of.outcome === "waits" ? "warn" : "dim";
  return el("span.cause", null, chip(of.reason.replaceAll("_", " "), tone), el("span.given", { title: plain(of.sentence) }, plain(of.sentence)));
}

function waiting(snapshot) {
  const total = history.at(-1).waiting;
  const jobs = snapshot.waiting;
  const more = total > jobs.length ? el("a", { href: "#/jobs?state=waiting" }, `all ${number(total)}`) : null;
  if (!jobs.length) return card("Waiting jobs", null, empty("No job waits."));
  return card("Waiting jobs", more, el("ul.waiting", null, jobs.map((j) => el("li", null,
    el("span.who", null, jobLink(j.job, name(j.name || String(j.job))), el("small", null, name(j.repository), " · ", name(j.class))),
    el("span.since", null, age(j.waiting_since)),
    cause(j.cause)))));
}

// --- what an operator should know ---

export function troubles(status) {
  return [
    ...status.circuits.map((c) => el("li.bad", null, el("b", null, name(c.subject)), ` is in trouble for ${duration(now() - millis(c.open_since))}: `, el("span", null, plain(c.why)))),
    ...status.notices.map((n) => el("li.warn", null, plain(n))),
  ];
}

export class Overview {
  constructor() { this.element = el("div.overview"); this.title = "Overview"; }

  update(snapshot) {
    const list = troubles(snapshot.status);
    show(this.element,
      list.length ? el("ul.troubles", null, list.slice(0, 6), list.length > 6 ? el("li", null, el("a", { href: "#/trouble" }, `${list.length - 6} more`)) : null) : null,
      tiles(snapshot),
      el("div.columns", null,
        el("div.main", null, classes(snapshot), waiting(snapshot)),
        el("div.side", null,
          card("Jobs", el("span.legend", null, el("i.line.waiting"), "waiting ", el("i.line.running"), "running"), chart()),
          card("Demand and supply", null, balance(snapshot.status.balance)),
          card("Lanes of the queue", snapshot.status.estimated ? "estimated" : null, lanes(snapshot.status.lanes)))));
    this.element.dataset.at = time(snapshot.status.at);
  }
}

function balance(list) {
  const some = list.filter((b) => b.demand || b.supply).slice(0, 12);
  if (!some.length) return empty("No job waits, and no VM starts or idles.");
  const top = Math.max(...some.flatMap((b) => [b.demand, b.supply]));
  const bar = (kind, n) => { const i = el(`i.${kind}`); i.style.width = `${(100 * n) / top}%`; return el("span.measure", null, i, el("b.mono", null, number(n))); };
  return el("ul.balance", null, some.map((b) => el("li", null, el("span.of", null, name(b.class), el("small", null, name(b.scope))), el("span.bars", null, bar("demand", b.demand), bar("supply", b.supply)))),
    el("li.legend", null, el("i.demand"), "jobs that wait ", el("i.supply"), "VMs that start or idle"));
}

function lanes(list) {
  const some = list.filter((l) => l.ready || l.leased || l.delayed || l.dead);
  if (!some.length) return empty("All lanes are empty.");
  return el("div.scroll", null, el("table.small", null, el("thead", null, el("tr", null, el("th", null, "Lane"), el("th.end", null, "Ready"), el("th.end", null, "Leased"), el("th.end", null, "Delayed"), el("th.end", null, "Dead"))),
    el("tbody", null, some.map((l) => el("tr", null, el("th", { scope: "row" }, name(l.lane)), el("td.end.mono", null, number(l.ready)), el("td.end.mono", null, number(l.leased)), el("td.end.mono", null, number(l.delayed)), el(`td.end.mono${l.dead ? ".bad" : ""}`, null, number(l.dead)))))));
}

// All jobs that the ledger knows, a page at a time; and those of a run.
import { get } from "./api.mjs";
import { age, chip, duration, el, jobLink, millis, name, number, show, time } from "./dom.mjs";
import { Table } from "./table.mjs";

const PAGE = 200;
const REFRESH_MS = 5000;
const STATES = [["", "all"], ["waiting", "waiting"], ["running", "running"], ["ended", "ended"], ["seen", "held back"]];

const ran = (j) => (j.state === "running" ? age(j.running_since) : j.running_since && j.ended_at ? duration(millis(j.ended_at) - millis(j.running_since)) : "–");
const waited = (j) => (j.state === "waiting" ? age(j.waiting_since) : j.waiting_since && (j.running_since ?? j.ended_at) ? duration(millis(j.running_since ?? j.ended_at) - millis(j.waiting_since)) : "–");

export const COLUMNS = [
  { title: "State", width: "6.5rem", phone: "5.8rem", cell: (j) => chip(j.state === "done" ? j.conclusion || "done" : j.state === "seen" ? "held" : j.state) },
  { title: "Job", width: "minmax(11rem,2.2fr)", phone: "minmax(0,1fr)", cell: (j) => el("span.who", null, jobLink(j.job, name(j.name || String(j.job))), el("small", null, name(j.repository))) },
  { title: "Class", width: "minmax(6rem,.8fr)", phone: false, cell: (j) => name(j.class) },
  { title: "Waited", width: "5.5rem", phone: "4.5rem", end: true, cell: waited },
  { title: "Ran", width: "5.5rem", phone: false, end: true, cell: ran },
  { title: "Received", width: "5.5rem", phone: false, end: true, cell: (j) => el("span", { title: j.waiting_since ?? j.created_at }, time(j.waiting_since ?? j.created_at)) },
  { title: "Runner", width: "minmax(7rem,1.2fr)", phone: false, cell: (j) => name(j.runner) },
];

export class Jobs {
  constructor(parameters, go) {
    this.title = "Jobs";
    this.query = { state: parameters.get("state") ?? "", class: parameters.get("class") ?? "", repository: parameters.get("repository") ?? "", run: parameters.get("run") ?? "" };
    this.table = new Table({ columns: COLUMNS, label: "Jobs", open: (j) => go(`#/job/${j.job}`), more: () => this.more() });
    this.filters = el("div.filters");
    this.element = el("div.listed", null, this.filters, this.table.element);
    this.go = go;
    this.load();
    this.drawFilters([]);
    this.timer = setInterval(() => { if (!document.hidden && this.table.atTop && !this.loading) this.load(); }, REFRESH_MS);
  }

  close() { clearInterval(this.timer); this.closed = true; }

  update(snapshot) { this.drawFilters(snapshot.status.classes.map((c) => c.class)); }

  href(changes) {
    const all = String(new URLSearchParams(Object.entries({ ...this.query, ...changes }).filter(([, v]) => v)));
    return `#/jobs${all ? `?${all}` : ""}`;
  }

  drawFilters(classes) {
    const key = classes.join("\n");
    if (this.drawn === key) return;
    this.drawn = key;
    const choice = el("select", { "aria-label": "Class", onchange: (e) => this.go(this.href({ class: e.target.value })) }, el("option", { value: "" }, "all classes"),
      [...new Set([...classes, this.query.class].filter(Boolean))].map((c) => el("option", { value: c, selected: c === this.query.class }, name(c).textContent)));
    show(this.filters,
      el("span.choices", null, STATES.map(([state, title]) => el(`a${state === this.query.state ? ".on" : ""}`, { href: this.href({ state }), "aria-current": state === this.query.state ? "true" : null }, title))), choice,
      ["repository", "run"].filter((k) => this.query[k]).map((k) => el("a.filter", { href: this.href({ [k]: "" }), title: "show all again" }, `${k} `, name(this.query[k]), " ×")));
  }

  async page(after) {
    return get("jobs", { ...this.query, after, limit: PAGE });
  }

  async load() {
    this.loading = true;
    try {
      const { jobs, next } = await this.page();
      if (this.closed) return;
      this.rows = jobs; // those behind the first page are read again when somebody scrolls there
      this.next = next;
      this.draw();
    } catch (error) { this.fail(error); }
    this.loading = false;
  }

  // A page with a filter may be short, or empty, and the next one goes on.
  async more() {
    if (this.loading || !this.next || this.closed) return;
    this.loading = true;
    try {
      const { jobs, next } = await this.page(this.next);
      const seen = new Set(this.rows.map((j) => j.job));
      this.rows = [...this.rows, ...jobs.filter((j) => !seen.has(j.job))];
      this.next = next;
      this.loading = false;
      if (!this.closed) this.draw();
    } catch (error) { this.loading = false; this.fail(error); }
  }

  draw() {
    const n = number(this.rows.length);
    this.table.set(this.rows, this.next ? `${n} jobs, and more: scroll` : this.rows.length ? `${n} jobs` : "No such job is known. The ledger forgets ended jobs after reaper.retention.");
    this.element.dataset.loaded = String(this.rows.length);
  }

  fail(error) { if (!this.closed && error.name !== "AbortError") show(this.table.foot, `${error.message}${error.action ? `: ${error.action}` : ""}`); }
}

// VMs, hosts and programs, and what is in trouble.
import { get } from "./api.mjs";
import { age, card, chip, clock, duration, el, empty, jobLink, millis, name, now, number, plain, show } from "./dom.mjs";
import { Table } from "./table.mjs";

const REFRESH_MS = 5000;

// A page whose data come by requests, again and again while it is open and seen. read(): returns them, draw(data) shows them.
class Polled {
  constructor(title) {
    this.title = title;
    this.element = el("div.listed");
    this.trouble = el("p.foot");
    this.timer = setInterval(() => { if (!document.hidden) this.load(); }, REFRESH_MS);
    queueMicrotask(() => this.load());
  }

  close() { clearInterval(this.timer); this.closed = true; }

  async load() {
    if (this.loading) return;
    this.loading = true;
    try {
      const data = await this.read();
      show(this.trouble);
      if (!this.closed) this.draw(data);
    } catch (error) { show(this.trouble, `${error.message}${error.action ? `: ${error.action}` : ""}`); if (!this.trouble.isConnected) this.element.append(this.trouble); }
    this.loading = false;
  }
}

// --- VMs ---

const VM_COLUMNS = [
  { title: "State", width: "6.5rem", phone: "6rem", cell: (v) => chip(v.held_until ? "held" : v.state) },
  { title: "VM", width: "minmax(11rem,1.6fr)", phone: "minmax(0,1fr)", cell: (v) => el("span.who", null, name(v.vm), el("small", null, name(v.repository || v.scope))) },
  { title: "Class", width: "minmax(6rem,.7fr)", phone: false, cell: (v) => name(v.class) },
  { title: "Job", width: "9rem", phone: false, cell: (v) => (v.job ? jobLink(v.job) : v.for_job ? el("span.dim", null, "for ", jobLink(v.for_job)) : "–") },
  { title: "Host or target", width: "minmax(7rem,.9fr)", phone: false, cell: (v) => name(v.host_name || v.host || v.target || v.provider) },
  { title: "Image", width: "minmax(5rem,.6fr)", phone: false, cell: (v) => name(v.image_version) },
  { title: "Age", width: "5rem", phone: "4.5rem", end: true, cell: (v) => age(new Date(v.since).toISOString()) },
  { title: "Deadline in", width: "6rem", phone: false, end: true, cell: (v) => (v.deadline ? el("span", { title: clock(v.deadline) }, duration(millis(v.deadline) - now())) : "–") },
];

export class Vms extends Polled {
  constructor(parameters, go) {
    super("VMs");
    this.state = parameters.get("state") ?? "";
    this.table = new Table({ columns: VM_COLUMNS, label: "VMs", open: (v) => { if (v.job || v.for_job) go(`#/job/${v.job || v.for_job}`); } });
    this.filters = el("div.filters");
    show(this.element, this.filters, this.table.element);
  }

  async read() { return get("vms"); }

  draw(vms) {
    const count = new Map();
    for (const v of vms) { count.set(v.state, (count.get(v.state) ?? 0) + 1); v.since = now() - v.age_ms; }
    const choice = (state, title, n) => el(`a${state === this.state ? ".on" : ""}`, { href: state ? `#/vms?state=${state}` : "#/vms" }, `${title} `, el("small", null, number(n)));
    show(this.filters, el("span.choices", null, choice("", "all", vms.length), ["reserved", "registered", "launched", "busy", "ending"].map((s) => choice(s, s, count.get(s) ?? 0))));
    const rows = vms.filter((v) => !this.state || v.state === this.state);
    this.table.set(rows, rows.length ? `${number(rows.length)} VMs` : "No VM holds a slot.");
  }
}

// --- hosts and programs ---

const table = (heads, rows) => el("div.scroll", null, el("table", null, el("thead", null, el("tr", null, heads.map((h) => el("th", null, h)))), el("tbody", null, rows)));
const cells = (...values) => el("tr", null, values.map((v) => el("td", null, v)));

// The accounts and regions where classes launch; each stopped one says why.
const TARGET_TONE = { open: "", stopped: "bad", drained: "warn" };
function targets(list) {
  const why = (t) => t.circuits.map((c) => el("li", null, el("header", null, el("b", null, name(c.subject)), el("span.aside", null, "since ", age(c.open_since))), el("p", null, plain(c.why))));
  const stopped = list.flatMap(why);
  return card("Targets", null, table(["Target", "State", "Account", "Region", "VMs", "Weight", "Classes"], list.map((t) => cells(name(t.target), chip(t.state, TARGET_TONE[t.state]), plain(t.account), plain(t.region),
    el(`span.mono${t.vms >= t.max_vms ? ".warn" : ""}`, null, `${number(t.vms)}/${number(t.max_vms)}`), number(t.weight), name(t.classes.join(", "))))), stopped.length ? el("ul.problems", null, stopped) : null);
}

export class Hosts extends Polled {
  constructor() { super("Hosts and programs"); this.element.className = "plain"; }

  async read() { const [hosts, workers] = await Promise.all([get("hosts"), get("workers")]); return { hosts, workers }; }

  update(snapshot) { this.targets = snapshot.status.targets; }

  draw({ hosts, workers }) {
    show(this.element,
      this.targets?.length ? targets(this.targets) : null,
      card("Workers and reapers", null, workers.length ? table(["Program", "Version", "Name", "Heartbeat", "Classes"], workers.map((w) => cells(plain(w.program), name(w.version), name(w.name),
        el(`span${w.heartbeat_age_ms > 60000 ? ".warn" : ""}`, null, `${duration(w.heartbeat_age_ms)} ago`), w.waiting ? chip("waits: host id in use", "warn") : name(w.classes)))) : empty("None has a heartbeat: while none runs, nothing is launched, and nothing that was lost is found.")),
      card("Hosts", null, hosts.length ? table(["Host", "State", "VMs", "Programs", "Heartbeat"], hosts.map((h) => cells(el("span.who", null, name(h.name || h.host), h.name ? el("small.mono", null, plain(h.host)) : null), chip(h.state), number(h.vms), number(h.programs), h.heartbeat ? age(h.heartbeat) : "–"))) : empty("No host runs VMs itself: the providers are services.")),
      this.trouble);
  }
}

// --- trouble ---

const command = (text) => el("code.command", null, text);

export class Trouble extends Polled {
  constructor() { super("Trouble"); this.element.className = "plain"; }

  async read() { const [circuits, dead, classes] = await Promise.all([get("circuits"), get("dlq").catch((error) => error), get("classes")]); return { circuits: circuits.circuits, dead, classes }; }

  update(snapshot) { this.notices = snapshot.status.notices; this.deadCount = snapshot.status.dead; }

  draw({ circuits, dead, classes }) {
    const paused = classes.filter((c) => c.paused);
    show(this.element,
      card("Open circuits", null, circuits.length ? el("ul.problems", null, circuits.map((c) => el("li", null,
        el("header", null, el("b", null, name(c.subject)), chip("open", "bad"), el("span.aside", null, "since ", age(c.open_since), c.next_probe_in_ms > 0 ? `, next probe in ${duration(c.next_probe_in_ms)}` : ", a probe is due")),
        el("p", null, plain(c.why)), el("p.dim", null, "It closes by itself once its cause is fixed. Sooner: ", command(`mayflyctl circuits close ${plain(c.subject)}`))))) : empty("No circuit is open.")),
      card("Dead letters", dead.length >= 100 ? `the oldest 100 of ${number(this.deadCount ?? 100)}` : null, this.dead(dead)),
      card("Notices", null, this.notices?.length ? el("ul.troubles", null, this.notices.map((n) => el("li.warn", null, plain(n)))) : empty("The reapers report nothing.")),
      paused.length ? card("Paused classes", null, el("ul.problems", null, paused.map((c) => el("li", null, el("header", null, el("b", null, name(c.class)), chip("paused", "warn"), el("span.aside", null, "since ", age(c.paused.since), " by ", name(c.paused.by))), el("p", null, plain(c.paused.reason)), el("p.dim", null, command(`mayflyctl resume ${plain(c.class)}`)))))) : null,
      this.trouble);
  }

  dead(list) {
    if (list instanceof Error) return empty(list.message);
    if (!list.length) return empty("The dead-letter queue is empty.");
    return el("ul.problems", null, list.map((d) => el("li", null,
      el("header", null, el("b", null, "job ", d.job ? jobLink(d.job) : "–"), d.job_state ? chip(d.job_state) : null, el("span.aside", null, name(d.lane), ` · ${number(d.attempts)} attempts · `, age(d.dead_lettered_at), " ago")),
      el("p", null, plain(d.reason)),
      el("p.dim", null, d.job_over ? "The job is over: nobody needs this message, and the reaper deletes it." : ["Fix the cause, then: ", command(`mayflyctl dlq redrive ${plain(d.message)}`)]))));
  }
}

// One job: what is known of it, why it waits, and its way as a picture; or the jobs of a run.
import { get } from "./api.mjs";
import { age, card, chip, clock, duration, el, empty, facts, jobLink, millis, name, now, plain, show, site, time } from "./dom.mjs";

const REFRESH_MS = 3000;

// The steps of a job's way: what reached each, and what it took. A step that no program logs is left out.
const STEPS = [
  { what: "reserved", title: "Reserved", took: "waited for a slot" },
  { what: "registered", title: "Registered", took: "its runner, at GitHub" },
  { what: "launched", title: "Launched", took: "by the provider" },
  { what: "booted", title: "Booted", took: "the VM" },
  { what: "online", title: "Online", took: "its runner" },
  { what: "running", title: "Running", took: "booted, and got the job" },
];

const ENDS = ["done", "cancelled"];

// When each step was reached: of the VM that the job got, or that was last launched for it.
export function stepsOf(answer) {
  const lines = answer.timeline;
  const vm = answer.runner || [...lines].reverse().find((l) => l.what === "reserved" && l.vm)?.vm || "";
  const at = (what) => millis(lines.find((l) => l.what === what && (!l.vm || l.vm === vm || what === "running"))?.at);
  const received = millis(answer.received_at) || millis(lines[0]?.at);
  const running = lines.find((l) => l.what === "running" || (l.what === "busy" && l.vm === vm));
  const reached = STEPS.map((s) => ({ ...s, at: s.what === "running" ? millis(running?.at) : at(s.what) }));
  const end = lines.find((l) => ENDS.includes(l.what));
  return { received, steps: reached, running: millis(running?.at), end: end ? { what: end.what, at: millis(end.at) } : null };
}

// Rows with the begin and the length of each step until it ran. What was reached is past; the first that was not is now; a step before
// the receipt (another job's VM) has no length. The line of usual lengths begins where the step does.
export function rowsOf(way, usual, at) {
  const known = new Map((usual?.steps ?? []).map((s) => [s.what, s.after_ms]));
  const past = way.steps.filter((s) => s.at || known.has(s.what) || !["booted", "online"].includes(s.what));
  const rows = [];
  let from = way.received;
  let usualFrom = 0;
  let waits = !way.end;
  for (const s of past) {
    const usualMs = known.has(s.what) ? Math.max(0, known.get(s.what) - usualFrom) : null;
    const missing = !s.at;
    if (missing && (way.running || way.end)) { if (known.has(s.what)) usualFrom = known.get(s.what); continue; }
    const to = missing ? (waits ? at : from) : Math.max(s.at, from);
    rows.push({ ...s, from, to, usualMs, state: !missing ? "past" : waits ? "now" : "next" });
    if (missing) waits = false;
    from = to;
    if (known.has(s.what)) usualFrom = known.get(s.what);
  }
  return rows;
}

function bar(row, scale) {
  const track = el("span.track");
  const place = (kind, from, ms) => {
    const i = el(`i.${kind}`);
    i.style.left = `${Math.min(100, 100 * from * scale)}%`;
    i.style.width = `${Math.max(0.4, Math.min(100 - 100 * from * scale, 100 * ms * scale))}%`;
    track.append(i);
  };
  if (row.usualMs !== null) place("usual", row.offset, row.usualMs);
  if (row.state !== "next") place(row.state, row.offset, row.to - row.from);
  return track;
}

function picture(way, usual, at) {
  const rows = rowsOf(way, usual, at).map((r) => ({ ...r, offset: r.from - way.received }));
  const extent = Math.max(1, ...rows.map((r) => r.offset + Math.max(r.to - r.from, r.usualMs ?? 0)));
  const lines = rows.map((r) => el(`li.${r.state}`, null,
    el("span.step", null, el("b", null, r.title), el("small", null, r.state === "next" ? "" : r.took)),
    bar(r, 1 / extent),
    el("span.took.mono", null, r.state === "next" ? "–" : duration(r.to - r.from), r.usualMs !== null ? el("small", null, `usual ${duration(r.usualMs)}`) : null)));
  const ran = way.running ? (way.end?.at ?? at) - way.running : 0;
  const first = el("li.point", null, el("span.step", null, el("b", null, "Received")), el("span.when.mono", null, time(new Date(way.received).toISOString())), el("span.took"));
  const last = way.running ? el(`li.ran.${way.end ? "past" : "now"}`, null, el("span.step", null, el("b", null, way.end ? "Done" : "Runs"), el("small", null, "not to scale")), el("span.track", null, el("i.whole")), el("span.took.mono", null, duration(ran)))
    : way.end ? el("li.point", null, el("span.step", null, el("b", null, "Cancelled")), el("span.when.mono", null, time(new Date(way.end.at).toISOString())), el("span.took")) : null;
  return el("ol.way", null, first, lines, last);
}

function verdict(answer) {
  const tone = { needs_a_person: "bad", waits: "warn", unknown: "dim" }[answer.outcome] ?? "good";
  return el(`p.verdict.${tone}`, null, el("b", null, answer.reason.replaceAll("_", " ")), el("span", null, plain(answer.sentence)));
}

// The last that a VM wrote is several entries of the timeline, and one text.
export function linesOf(timeline) {
  const lines = [];
  for (const l of timeline) {
    const last = lines.at(-1);
    if (l.what !== "console") lines.push(l);
    else if (last?.output !== undefined && last.vm === l.vm) last.output += `\n${l.detail.trimEnd()}`;
    else lines.push({ ...l, detail: "what it wrote last", output: l.detail.trimEnd() });
  }
  return lines;
}

const lineOf = (l) => el("li", null, el("span.mono.when", { title: l.at }, time(l.at)), el("span.mono.since", null, `+${duration(l.since_start_ms)}`), el("b", null, plain(l.what)),
  el("span.detail", null, l.vm ? el("span.mono.dim", null, plain(l.vm), " ") : null, plain(l.detail), l.times > 1 ? ` (${l.times} times, last at ${time(l.last_at)})` : ""),
  l.output ? el("pre", { dir: "ltr" }, l.output.split("\n").map(plain).join("\n")) : null);

const MADE = 2 ** 52; // from here on a number is made of a scale set's GUID, and GitHub does not know it

const gitHub = (a) => (site.github && a.repository && a.run ? `${site.github}/${a.repository.split("/").map(encodeURIComponent).join("/")}/actions/runs/${a.run}${a.job < MADE ? `/job/${a.job}` : ""}` : null);

export class Job {
  constructor(id) {
    this.id = id;
    this.title = `Job ${id}`;
    this.element = el("div.job", null, empty("…"));
    this.load();
    this.timer = setInterval(() => { if (!document.hidden && !this.over) this.load(); }, REFRESH_MS);
    this.clock = setInterval(() => { if (!document.hidden && !this.over && this.answer) this.drawWay(); }, 1000);
  }

  close() { clearInterval(this.timer); clearInterval(this.clock); this.closed = true; }

  async load() {
    try {
      const answer = await get("why", { job: this.id });
      if (this.closed) return;
      if (answer.jobs) { this.drawRun(answer); return; }
      this.answer = answer;
      this.over = ["done", "cancelled"].includes(answer.state);
      if (answer.class && !this.usual) this.usual = await get("usual", { class: answer.class }).catch(() => null);
      this.draw();
    } catch (error) {
      if (!this.closed) show(this.element, el("p.verdict.bad", null, el("b", null, "not shown"), el("span", null, error.message)));
    }
  }

  update() { if (this.answer && this.linked !== site.github) this.draw(); }

  draw() {
    const a = this.answer;
    this.linked = site.github;
    const known = a.state !== undefined;
    this.wayCard = el("div");
    show(this.element,
      el("header.title", null, el("h1", null, name(known ? a.name : `Job ${a.job}`)), known ? chip(a.state === "done" ? a.conclusion || "done" : a.state) : null,
        el("span.sub", null, known ? el("a", { href: `#/jobs?repository=${encodeURIComponent(a.repository)}` }, name(a.repository)) : "not in the ledger", " · job ", el("span.mono", null, String(a.job)))),
      verdict(a),
      known && a.received_at ? card("Launch, step by step", this.usual?.jobs ? el("span.legend", null, el("i.past"), "this job ", el("i.usual"), `usual of class ${plain(a.class)}, of ${this.usual.jobs} jobs`) : "what is usual is not known yet", this.wayCard) : null,
      el("div.columns", null,
        el("div.main", null, card("Timeline", null, a.timeline.length ? el("ol.timeline", null, linesOf(a.timeline).map(lineOf)) : empty("Nothing is known of it."))),
        known ? el("div.side", null, card("Facts", gitHub(a) ? el("a", { href: gitHub(a), rel: "noreferrer noopener", target: "_blank" }, "at GitHub") : null, facts([
          ["Class", el("a", { href: `#/jobs?class=${encodeURIComponent(a.class)}` }, name(a.class))], ["Labels", name(a.labels)],
          ["Workflow", a.workflow ? name(a.workflow) : null], ["Run", a.run ? el("a.mono", { href: `#/run/${a.run}` }, String(a.run)) : null], ["Runner", a.runner ? name(a.runner) : null],
          ["Created", a.created_at ? clock(a.created_at) : null], ["Received", a.received_at ? clock(a.received_at) : null],
          ["Waited", duration(a.waited_ms)], ["Ran", a.ran_ms ? duration(a.ran_ms) : null]]))) : null));
    this.drawWay();
  }

  drawWay() {
    if (this.wayCard && this.answer.received_at) show(this.wayCard, picture(stepsOf(this.answer), this.usual, this.over ? 0 : now()));
  }

  drawRun(answer) {
    this.over = answer.jobs.every((j) => ["done", "cancelled"].includes(j.state));
    this.title = `Run ${answer.run}`;
    show(this.element, el("header.title", null, el("h1", null, `Run ${answer.run}`), el("span.sub", null, `${answer.jobs.length} jobs`, " · ", el("a", { href: `#/jobs?run=${answer.run}` }, "as a list"))),
      el("ul.waiting.run", null, answer.jobs.map((j) => el("li", null, el("span.who", null, jobLink(j.job, name(j.name || String(j.job))), el("small", null, name(j.repository))), el("span.since", null, j.state ? chip(j.state) : null, j.state === "waiting" ? age(j.received_at) : null), el("span.cause", null, chip(j.reason.replaceAll("_", " ")), el("span.given", { title: plain(j.sentence) }, plain(j.sentence)))))));
  }
}

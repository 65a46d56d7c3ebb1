// Elements and texts. Nothing here makes markup of a string: what others named is text, and is shown as such.

// el("a.name", { href: "#/" }, "text", child): an element. Values of undefined, null and false are left out.
export function el(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const e = document.createElement(tag || "div");
  if (classes.length) e.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? "" : String(value));
  }
  e.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return e;
}

export const show = (parent, ...children) => { parent.replaceChildren(...children.flat().filter(Boolean)); return parent; };

// Characters that cannot be seen, or that turn the direction of a text, as mayflyctl shows them.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const plain = (text) => String(text ?? "").replace(HIDDEN, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);

// A name that somebody gave: its own direction, cut where there is no room, whole on hover.
export function name(text, what = "span") {
  const shown = plain(text);
  return el(`${what}.given`, { dir: "auto", title: shown.slice(0, 500) }, shown.slice(0, 500) || "–");
}

export const number = (n) => Number(n ?? 0).toLocaleString("en");

// "40 ms", "1.4 s", "12 s", "3m 05s", "2h 10m", "5d 3h".
export function duration(ms) {
  const s = Math.max(0, ms ?? 0) / 1000;
  if (s < 0.995) return `${Math.round(s * 1000)} ms`;
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two((s / 60) % 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s / 3600) % 24)}h`;
}

export const millis = (iso) => (iso ? Date.parse(iso) : 0);

// The stores' clock may differ from this browser's: ages are counted from what the last snapshot said.
let skew = 0;
export const setClock = (iso) => { skew = millis(iso) - Date.now(); };
export const now = () => Date.now() + skew;

// An age that grows: <time data-since>, which tick() brings up to date.
export const age = (iso) => el("time.age", { "data-since": millis(iso), datetime: iso, title: clock(iso) }, coarse(now() - millis(iso)));
// Without milliseconds: it changes each second.
export const coarse = (ms) => (ms < 9950 ? `${Math.max(0, Math.floor(ms / 1000))} s` : duration(ms));
export function tick(root = document) {
  for (const e of root.querySelectorAll("[data-since]")) {
    const text = coarse(now() - Number(e.dataset.since));
    if (e.textContent !== text) e.textContent = text;
  }
}

export function clock(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  return at.toLocaleString("en-GB", { hour12: false, timeZoneName: "short" });
}

export const time = (iso) => (iso ? new Date(iso).toLocaleTimeString("en-GB", { hour12: false }) : "–");

// Where GitHub's pages are; the stream says it.
export const site = { github: null };

// A state as a coloured word.
const TONES = { waiting: "warn", running: "good", busy: "good", done: "", cancelled: "dim", seen: "dim", reserved: "warn", registered: "warn",
  launched: "warn", ending: "dim", up: "good", drained: "warn", silent: "bad", success: "good", failure: "bad", timed_out: "bad" };
export const chip = (text, tone = TONES[text]) => el(`span.chip${tone ? `.${tone}` : ""}`, null, plain(text));

export const jobLink = (id, text) => (id ? el(text ? "a" : "a.mono", { href: `#/job/${encodeURIComponent(id)}` }, text ?? String(id)) : "–");

export const empty = (text) => el("p.empty", null, text);

// A section with a heading, and what may stand at its right.
export const card = (title, aside, ...body) => el("section.card", null, el("header", null, el("h2", null, title), aside ? el("span.aside", null, aside) : null), ...body);

// <dl> of pairs; a value of null leaves its row out.
export const facts = (pairs) => el("dl.facts", null, pairs.filter(([, v]) => v !== null && v !== undefined && v !== "").flatMap(([k, v]) => [el("dt", null, k), el("dd", null, v)]));

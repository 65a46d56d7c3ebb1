// The frame: pages by the address's fragment, the stream, search, keys, dark and light.
import { decoded, follow, get, setToken, takeToken, whenTokenIsNeeded } from "./api.mjs";
import { Cost } from "./cost.mjs";
import { duration, el, millis, plain, setClock, show, site, tick } from "./dom.mjs";
import { Hosts, Trouble, Vms } from "./fleet.mjs";
import { Job } from "./job.mjs";
import { Jobs } from "./jobs.mjs";
import { Overview, remember } from "./overview.mjs";

const $ = (id) => document.getElementById(id);
const PAGES = [
  { path: "", title: "Overview", make: () => new Overview() },
  { path: "jobs", title: "Jobs", make: (rest, parameters) => new Jobs(parameters, go) },
  { path: "vms", title: "VMs", make: (rest, parameters) => new Vms(parameters, go) },
  { path: "hosts", title: "Hosts", make: () => new Hosts() },
  { path: "trouble", title: "Trouble", make: () => new Trouble() },
  { path: "cost", title: "Cost", make: (rest, parameters) => new Cost(parameters) },
  { path: "job", make: (rest) => new Job(rest), of: "jobs" },
  { path: "run", make: (rest) => new Job(rest), of: "jobs" },
];

let page = null;
let snapshot = null;

// --- pages ---

function go(hash) { location.hash = hash; }

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const found = PAGES.find((p) => p.path === first) ?? PAGES[0];
  page?.close?.();
  page = found.make(decoded(rest.join("/")), new URLSearchParams(query));
  show($("main"), page.element);
  for (const tab of $("tabs").children) {
    if (tab.dataset.path === (found.of ?? found.path)) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
  update();
}

function drawTabs() {
  show($("tabs"), PAGES.filter((p) => p.title).map((p, i) => el("a", { href: `#/${p.path}`, "data-path": p.path, title: `${p.title} (${i + 1})` }, p.title, p.path === "trouble" ? el("span.badge", { id: "badge", hidden: true }) : null)));
}

function update() {
  if (!snapshot) return;
  const { status } = snapshot;
  const waiting = status.classes.reduce((n, c) => n + c.jobs_waiting, 0);
  const troubles = status.circuits.length + status.notices.length + status.dead;
  $("deployment").textContent = plain(status.deployment);
  $("badge").textContent = troubles > 99 ? "99+" : String(troubles);
  $("badge").hidden = troubles === 0;
  $("foot").textContent = `Mayfly ${snapshot.version} · read-only · ${snapshot.viewers} watching · every ${duration(snapshot.every_ms)}`;
  document.title = `${waiting ? `(${waiting}) ` : ""}${page.title} · ${plain(status.deployment)}`;
  page.update?.(snapshot);
}

// --- the stream ---

function setLive(state, words) {
  $("live").className = `live ${state}`;
  $("live").textContent = words;
}

function alarm(text) {
  $("alarm").hidden = !text;
  $("alarm").textContent = text ?? "";
}

const asOf = () => (snapshot ? ` What follows is as of ${new Date(snapshot.status.at).toLocaleTimeString("en-GB")}.` : "");

function take(event, data) {
  if (event === "snapshot") {
    snapshot = data;
    setClock(data.status.at);
    site.github = data.github;
    remember(data);
    setLive("live", "live");
    alarm(null);
    update();
  } else if (event === "trouble") {
    setLive("lost", "stores away");
    alarm(`The ${data.subject} does not respond since ${new Date(data.since).toLocaleTimeString("en-GB")} (${duration(millis(data.at) - millis(data.since))}): ${plain(data.error)}. ${data.action}.${asOf()}`);
  }
}

function say(state, words) {
  setLive(state, state === "full" ? "too many look" : words);
  if (state === "full") alarm(words);
  else if (state === "lost" && snapshot) alarm(`${words[0].toUpperCase()}${words.slice(1)}.${asOf()}`);
}

// --- search ---

// A number may be a job's or a run's; the address of either; a repository; a class.
async function find(text) {
  const given = text.trim();
  if (!given) return;
  if (/^\d+$/.test(given) || /\/actions\/runs\/\d+/.test(given) || /\/jobs?\/\d+/.test(given)) { await findNumber(given); return; }
  const repository = /^(?:https?:\/\/[^/]+\/)?([\w.-]+\/[\w.-]+?)(?:\.git)?\/?$/.exec(given)?.[1];
  if (repository) { go(`#/jobs?repository=${encodeURIComponent(repository)}`); return; }
  const named = snapshot?.status.classes.find((c) => c.class === given);
  if (named) { go(`#/jobs?class=${encodeURIComponent(given)}`); return; }
  fail("Search takes a job's or a run's id, its address at GitHub, owner/repository, or a class.");
}

async function findNumber(given) {
  const run = /\/runs\/(\d+)/.exec(given)?.[1] ?? (/^\d+$/.test(given) ? given : null);
  let answer = null;
  try {
    answer = await get("why", { job: given });
  } catch (error) { if (error.status !== 404 && error.status !== 400) { fail(error.message); return; } }
  if (answer?.jobs) { go(`#/run/${answer.run}`); return; }
  if (answer?.known) { go(`#/job/${answer.job}`); return; }
  const ended = run ? await get("jobs", { run, limit: 1 }).catch(() => null) : null; // the jobs of a run that is over
  if (ended?.jobs.length) go(`#/jobs?run=${run}`);
  else if (answer) go(`#/job/${answer.job}`);
  else fail(`Nothing is known of ${plain(given).slice(0, 100)}.`);
}

function fail(words) {
  const hint = el("span.hint", { role: "alert" }, words);
  $("search").querySelector(".hint")?.remove();
  $("search").append(hint);
  setTimeout(() => hint.remove(), 6000);
}

// --- dark and light ---

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
}

function otherTheme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = dark ? "light" : "dark";
  localStorage.setItem("mayfly-theme", theme);
  setTheme(theme);
}

// --- keys and dialogs ---

const KEYS = [["/", "search"], ["1 – 6", "pages"], ["↑ ↓ or j k, Enter", "rows of a list"], ["Esc", "back from the search"], ["t", "dark or light"], ["?", "these keys"]];

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === $("query")) { $("query").blur(); return; }
  if (/^(input|select|textarea)$/i.test(event.target.tagName)) return;
  const tab = PAGES.filter((p) => p.title)[Number(event.key) - 1];
  if (event.key === "/") $("query").focus();
  else if (event.key === "t") otherTheme();
  else if (event.key === "?") $("keys").showModal();
  else if (tab) go(`#/${tab.path}`);
  else if (/^[jk]$|^Arrow(Up|Down)$/.test(event.key) && event.target === document.body) { const pane = document.querySelector(".pane"); if (!pane) return; pane.focus(); page.table?.key(event); }
  else return;
  event.preventDefault();
}

function drawDialogs() {
  show($("keys"), el("h2", null, "Keys"), el("dl.facts", null, KEYS.flatMap(([key, what]) => [el("dt", null, el("kbd", null, key)), el("dd", null, what)])), el("form", { method: "dialog" }, el("button", null, "Close")));
  const input = el("input", { type: "password", autocomplete: "off", "aria-label": "Token", required: true });
  const why = el("p.dim");
  show($("token"), el("form", { method: "dialog", onsubmit: () => { setToken(input.value.trim()); location.reload(); } }, el("h2", null, "Token"), why, input, el("button", null, "Open")));
  whenTokenIsNeeded((error) => { why.textContent = error.message; if (!$("token").open) $("token").showModal(); });
}

// --- the begin ---

takeToken();
setTheme(localStorage.getItem("mayfly-theme"));
drawTabs();
drawDialogs();
$("theme").addEventListener("click", otherTheme);
$("search").addEventListener("submit", (event) => { event.preventDefault(); find($("query").value).then(() => $("query").blur()); });
$("query").addEventListener("input", () => $("search").querySelector(".hint")?.remove());
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", () => { $("search").querySelector(".hint")?.remove(); takeToken(); route(); });
setInterval(() => tick(), 1000);
route();
follow(take, say);

// What `mayflyctl cost` says.
import { get } from "./api.mjs";
import { card, el, empty, name, show } from "./dom.mjs";

const BY = ["repository", "class", "day"];
const SINCE = ["1d", "7d", "30d", "90d"];

const isList = (value) => Array.isArray(value) && value.length > 0 && typeof value[0] === "object";
const shown = (value) => (typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 2 }) : typeof value === "object" ? JSON.stringify(value) : String(value));

function tableOf(list) {
  const keys = Object.keys(list[0]);
  const isNumber = (k) => typeof list[0][k] === "number";
  return el("div.scroll", null, el("table", null, el("thead", null, el("tr", null, keys.map((k) => el(isNumber(k) ? "th.end" : "th", null, k.replaceAll("_", " "))))),
    el("tbody", null, list.slice(0, 1000).map((row) => el("tr", null, keys.map((k) => el(isNumber(k) ? "td.end.mono" : "td", null, row[k] === null || row[k] === undefined ? "–" : isNumber(k) ? shown(row[k]) : name(shown(row[k])))))))));
}

export class Cost {
  constructor(parameters) {
    this.title = "Cost";
    this.by = parameters.get("by") ?? "repository";
    this.since = parameters.get("since") ?? "30d";
    this.body = el("div", null, empty("…"));
    const href = (by, since) => `#/cost?by=${by}&since=${since}`;
    const choices = (list, now, make) => el("span.choices", null, list.map((x) => el(`a${x === now ? ".on" : ""}`, { href: make(x) }, x)));
    this.element = el("div.plain", null, el("div.filters", null, choices(BY, this.by, (x) => href(x, this.since)), choices(SINCE, this.since, (x) => href(this.by, x))), this.body);
    this.load();
  }

  async load() {
    try {
      const answer = await get("cost", { by: this.by, since: this.since });
      const lists = Object.entries(Array.isArray(answer) ? { cost: answer } : answer).filter(([, v]) => isList(v));
      const rest = Array.isArray(answer) ? [] : Object.entries(answer).filter(([, v]) => typeof v !== "object");
      show(this.body, rest.length ? el("p.dim", null, rest.map(([k, v]) => `${k.replaceAll("_", " ")}: ${shown(v)}`).join(" · ")) : null,
        lists.map(([title, list]) => card(title.replaceAll("_", " "), null, tableOf(list))), lists.length ? null : empty("Nothing was used in that time."));
    } catch (error) {
      show(this.body, empty(error.status === 404 ? "This version of mayflyctl has no command cost." : error.message));
    }
  }
}

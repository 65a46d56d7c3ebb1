// A table of any length: only the rows that are seen, and some around them, are elements. Rows have one height, so that their
// place follows from their number.
import { el, show } from "./dom.mjs";

const AROUND = 8;

// columns: [{ title, width, cell(row), phone: false leaves it out on a phone, end: true aligns right }]. open(row): when it is chosen.
// more(): asks for more rows when the end comes near.
export class Table {
  constructor({ columns, open, more, label }) {
    Object.assign(this, { columns, open, more, rows: [], first: -1, last: -1, chosen: -1 });
    this.body = el("div.rows", { role: "presentation" });
    this.head = el("div.row.head", { role: "row" }, columns.map((c) => el(`span.cell${this.classes(c)}`, { role: "columnheader" }, c.title)));
    this.pane = el("div.pane", { tabindex: 0, role: "grid", "aria-label": label, onkeydown: (e) => this.key(e), onscroll: () => this.draw() }, this.head, this.body);
    this.foot = el("p.foot");
    this.element = el("div.table", null, this.pane, this.foot);
    const template = columns.map((c) => c.width).join(" ");
    const phone = columns.filter((c) => c.phone !== false).map((c) => c.phone ?? c.width).join(" ");
    this.element.style.setProperty("--columns", template);
    this.element.style.setProperty("--phone-columns", phone);
    new ResizeObserver(() => this.draw(true)).observe(this.pane);
  }

  classes(c) { return `${c.phone === false ? ".wide" : ""}${c.end ? ".end" : ""}`; }

  get height() { return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 44; }

  set(rows, note = "") {
    this.rows = rows;
    this.body.style.height = `${rows.length * this.height}px`;
    show(this.foot, note);
    this.draw(true);
  }

  // Whether it is where a reader begins: then new rows may take the places of the old ones.
  get atTop() { return this.pane.scrollTop < this.height; }

  draw(anew = false) {
    const height = this.height;
    const seen = Math.ceil((this.pane.clientHeight || 600) / height);
    const first = Math.max(0, Math.floor(this.pane.scrollTop / height) - AROUND);
    const last = Math.min(this.rows.length, first + seen + 2 * AROUND);
    if (!anew && first === this.first && last === this.last) return;
    Object.assign(this, { first, last });
    show(this.body, this.rows.slice(first, last).map((row, i) => this.line(row, first + i, height)));
    if (this.more && last > this.rows.length - 2 * AROUND) this.more();
  }

  line(row, i, height) {
    const line = el(`div.row${i === this.chosen ? ".chosen" : ""}`, { role: "row", "data-row": i, onclick: (e) => { if (!e.target.closest("a") && !getSelection().toString()) this.choose(i, true); } },
      this.columns.map((c) => el(`span.cell${this.classes(c)}`, { role: "gridcell" }, c.cell(row))));
    line.style.top = `${i * height}px`;
    if (this.open) line.classList.add("opens");
    return line;
  }

  choose(i, open = false) {
    this.chosen = Math.max(0, Math.min(this.rows.length - 1, i));
    const top = this.chosen * this.height;
    if (top < this.pane.scrollTop) this.pane.scrollTop = top;
    const room = this.pane.clientHeight - this.head.offsetHeight;
    if (top + this.height > this.pane.scrollTop + room) this.pane.scrollTop = top + this.height - room;
    this.draw(true);
    if (open && this.open && this.rows[this.chosen]) this.open(this.rows[this.chosen]);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.pane.clientHeight / this.height) - 1);
    const to = { ArrowDown: this.chosen + 1, j: this.chosen + 1, ArrowUp: this.chosen - 1, k: this.chosen - 1, PageDown: this.chosen + page, PageUp: this.chosen - page,
      Home: 0, End: this.rows.length - 1 }[event.key];
    if (event.key === "Enter" && this.chosen >= 0) this.choose(this.chosen, true);
    else if (to !== undefined && !event.ctrlKey && !event.metaKey && !event.altKey) this.choose(to);
    else return;
    event.preventDefault();
  }
}

// What the demo writes: lines with a time, which remain; and on a terminal, below them, a few lines that are replaced all the time: how far a
// build is, the table of jobs. In a pipe or a file there are only lines.
const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };
const PROGRESS_MS = 15000; // between two lines about one step, where they cannot be replaced

export class Screen {
  constructor(stream, startedMs) {
    this.stream = stream;
    this.startedMs = startedMs;
    this.live = Boolean(stream.isTTY) && process.env.TERM !== "dumb";
    this.color = this.live && !process.env.NO_COLOR;
    this.painted = []; // the lines that are to be replaced
    this.progressMs = Date.now();
  }

  style(name, text) { return this.color ? `\x1b[${STYLES[name]}m${text}\x1b[0m` : text; }

  clock() { return `[${String(Math.round((Date.now() - this.startedMs) / 1000)).padStart(4)}s]`; }

  get columns() { return this.stream.columns || 80; }
  get rows() { return this.stream.rows || 24; }

  // A line that remains.
  print(text = "") {
    const below = this.painted;
    this.erase();
    this.stream.write(`${text}\n`);
    this.draw(below);
    this.progressMs = Date.now();
  }

  // With the time before it. A terminal gets it in lines that fit, cut between words.
  say(text, style) {
    const margin = text.match(/^ */)[0];
    const most = this.live ? Math.max(30, this.columns - 8 - margin.length) : Infinity;
    let line = "";
    let before = this.style("dim", this.clock());
    const flush = () => {
      this.print(`${before} ${margin}${style ? this.style(style, line) : line}`);
      before = " ".repeat(7);
      line = "";
    };
    for (const word of text.trim().split(" ")) {
      if (line && line.length + 1 + word.length >= most) flush();
      line += (line ? " " : "") + word;
    }
    flush();
  }

  // The replaced lines, now these: texts, or [style, text].
  paint(lines) {
    if (!this.live) return;
    this.erase();
    this.draw(lines.slice(0, this.rows - 1).map((line) => {
      const [style, text] = Array.isArray(line) ? line : ["", line];
      const fits = text.slice(0, this.columns - 1);
      return style ? this.style(style, fits) : fits;
    }));
  }

  draw(lines) {
    if (lines.length) this.stream.write(lines.map((line) => `${line}\n`).join(""));
    this.painted = lines;
  }

  erase() {
    if (this.painted.length) this.stream.write(`\x1b[${this.painted.length}A\x1b[J`);
    this.painted = [];
  }

  // How far a step is: replaced on a terminal, else a line now and then.
  progress(text) {
    if (!text) this.paint([]);
    else if (this.live) this.paint([["dim", `${this.clock()}   ${text}`]]);
    else if (Date.now() - this.progressMs >= PROGRESS_MS) this.say(`  ${text}`);
  }
}

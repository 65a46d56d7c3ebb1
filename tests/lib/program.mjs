// A program that a test starts: its output goes to a file, it can be killed, frozen and started again, and its greatest memory is
// remembered over all its lives.
import fs from "node:fs";
import { spawn } from "./child.mjs";
import { until } from "./wait.mjs";

export class Program {
  // kind: what the memory is counted under. started(line) picks what start() resolves with. env: beside this process's.
  constructor({ name, kind, command, args, log, started, env = {} }) {
    Object.assign(this, { name, kind, command, args, log, started, env, peakKb: 0, starts: 0, expected: true, child: null, crashes: [] });
  }

  async start({ seconds = 60 } = {}) {
    const file = fs.openSync(this.log, "a");
    const from = fs.fstatSync(file).size;
    const child = spawn(this.command, this.args, { stdio: ["ignore", file, file], env: { ...process.env, ...this.env } });
    fs.closeSync(file);
    this.child = child;
    this.starts += 1;
    this.expected = false;
    this.gone = new Promise((resolve) => {
      child.on("error", (error) => resolve({ error }));
      child.on("exit", (code, signal) => resolve({ code, signal }));
    });
    this.gone.then((how) => {
      child.over = true;
      if (this.child === child && !this.expected) this.crashes.push({ program: this.name, code: how.code ?? null, signal: how.signal ?? null });
    });
    return until(`${this.name} has started (${this.log})`, () => {
      if (child.over) throw new Error(`${this.name} ended at its start, see ${this.log}: ${lastComplaint(this.log)}`);
      const lines = fs.readFileSync(this.log).subarray(from).toString().split("\n"); // a size counts bytes
      for (const line of lines) {
        const found = this.started(line);
        if (found) return found;
      }
      return null;
    }, { seconds, every_ms: 20 }).catch(async (error) => {
      await this.stop(); // it is started again, not beside itself
      throw error;
    });
  }

  get alive() { return this.child !== null && !this.child.over; }

  signal(name) { if (this.alive) this.child.kill(name); }

  // SIGKILL counts the memory first; SIGTERM as well.
  async stop(signal = "SIGKILL") {
    this.expected = true;
    this.measure();
    if (this.alive) {
      this.child.kill(signal);
      if (signal === "SIGTERM") this.child.kill("SIGCONT");
    }
    await this.gone;
  }

  measure() {
    if (!this.alive) return;
    try {
      const [, kb] = /^VmHWM:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${this.child.pid}/status`, "utf8")) ?? [];
      this.peakKb = Math.max(this.peakKb, Number(kb ?? 0));
    } catch { /* it ended just now */ }
  }
}

const lastComplaint = (log) => fs.readFileSync(log, "utf8").trimEnd().split("\n").filter((line) => !/"level":"(debug|info)"/.test(line)).at(-1);

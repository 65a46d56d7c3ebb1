// A real Prometheus beside programs that come and go: it scrapes them through one port of this process, which knows where each listens at present, so
// that a restart changes no target. Times of a fleet are divided by `factor`.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { Program } from "./program.mjs";
import { RULES, scaled } from "./rules.mjs";

const SCRAPE_MS = 15000; // as in deploy/prometheus/prometheus.yml
const LEAST_MS = 500;

const listening = (line) => /msg="Listening on" address=(\S+)/.exec(line)?.[1] ?? null;

export class Prometheus {
  constructor({ dir, factor }) {
    Object.assign(this, { dir: path.join(dir, "prometheus"), factor, ports: new Map(), targets: [], intervalMs: Math.max(LEAST_MS, SCRAPE_MS / factor) });
  }

  async start() {
    fs.mkdirSync(this.dir);
    this.gate = http.createServer((request, response) => this.forward(request, response));
    await new Promise((resolve) => { this.gate.listen(0, "127.0.0.1", resolve); });
    fs.writeFileSync(path.join(this.dir, "mayfly.rules.yml"), scaled(fs.readFileSync(RULES, "utf8"), this.factor));
    const interval = `${this.intervalMs}ms`;
    const config = {
      global: { scrape_interval: interval, evaluation_interval: interval, scrape_timeout: interval }, rule_files: ["mayfly.rules.yml"],
      scrape_configs: [{ job_name: "mayfly", file_sd_configs: [{ files: ["targets.json"], refresh_interval: "1s" }] }],
    };
    fs.writeFileSync(path.join(this.dir, "prometheus.yml"), JSON.stringify(config)); // which is YAML too
    this.saveTargets();
    this.program = new Program({
      name: "prometheus", kind: "prometheus", command: "prometheus", log: path.join(this.dir, "prometheus.log"), started: listening,
      args: [`--config.file=${this.dir}/prometheus.yml`, `--storage.tsdb.path=${this.dir}/data`, "--web.listen-address=127.0.0.1:0", "--query.lookback-delta=10s"],
    });
    this.address = await this.program.start();
  }

  // labels: job, instance, deployment. Discovery takes up to ten seconds; a new port is known at once.
  watch(name, port, labels) {
    this.ports.set(name, port);
    if (this.targets.some((target) => target.labels.instance === name)) return;
    this.targets.push({ targets: [`127.0.0.1:${this.gate.address().port}`], labels: { __metrics_path__: `/${name}`, instance: name, ...labels } });
    this.saveTargets();
  }

  saveTargets() {
    const file = path.join(this.dir, "targets.json");
    fs.writeFileSync(`${file}.new`, JSON.stringify(this.targets));
    fs.renameSync(`${file}.new`, file);
  }

  forward(request, response) {
    const to = http.get({ host: "127.0.0.1", port: this.ports.get(request.url.slice(1)) ?? 1, path: "/metrics", agent: false }, (from) => {
      response.writeHead(from.statusCode, { "content-type": from.headers["content-type"] ?? "text/plain" });
      from.pipe(response);
    });
    to.on("error", () => response.destroy());
    response.on("close", () => to.destroy());
  }

  async ask(route, parameters) {
    const response = await fetch(`http://${this.address}/api/v1/${route}`, { method: "POST", body: new URLSearchParams(parameters) });
    const { status, data, error } = await response.json();
    if (status !== "success") throw new Error(`${parameters.query}: ${error}`);
    return data.result;
  }

  // Each series that the expression had between two moments (ms): {metric, values}.
  range(query, fromMs, toMs) {
    const step = Math.max(this.intervalMs / 1000, (toMs - fromMs) / 1000 / 5000);
    return this.ask("query_range", { query, start: fromMs / 1000, end: toMs / 1000, step });
  }

  // The alerts that fired, each with when, in seconds after `fromMs`.
  async fired(fromMs, toMs) {
    const found = {};
    for (const { metric, values } of await this.range('ALERTS{alertstate="firing"}', fromMs, toMs)) {
      const { __name__, alertname, alertstate, job, severity, ...labels } = metric;
      (found[alertname] ??= []).push({ ...labels, from_s: Math.round(values[0][0] - fromMs / 1000), to_s: Math.round(values.at(-1)[0] - fromMs / 1000) });
    }
    return found;
  }

  async stop() {
    await this.program?.stop("SIGTERM");
    this.gate?.close();
    this.gate?.closeAllConnections();
  }
}

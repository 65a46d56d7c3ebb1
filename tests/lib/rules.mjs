// The alerts of deploy/prometheus, for tests: their text, with all times divided by a factor where a fleet's times are scaled down, and a Prometheus
// that scrapes programs and evaluates them.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const RULES = path.join(root, "deploy/prometheus/mayfly.rules.yml");
export const RUNBOOKS = path.join(root, "deploy/docs/runbooks");

const UNITS = { ms: 1, s: 1000, m: 60000, h: 3600000, d: 86400000 };
const ms = (n, unit) => Number(n) * UNITS[unit];

// `for: 5m`, `[5m]` and `(5 * 60)`, which the head of the rules requires of all times.
export function scaled(text, factor) {
  const duration = (value) => `${Math.max(1, Math.round(value / factor))}ms`;
  return text
    .replace(/\bfor: (\d+)(ms|s|m|h|d)\b/g, (_, n, unit) => `for: ${duration(ms(n, unit))}`)
    .replace(/\[(\d+)(ms|s|m|h|d)\]/g, (_, n, unit) => `[${duration(ms(n, unit))}]`)
    .replace(/\((\d+) \* (60|3600|86400)\)/g, (_, n, unit) => `(${(n * unit) / factor})`);
}

export const alertNames = (text) => [...new Set([...text.matchAll(/^ *- alert: (\w+)$/gm)].map(([, name]) => name))];
export const metricNames = (text) => [...new Set([...text.matchAll(/\b(mayfly_[a-z0-9_]+|process_[a-z0-9_]+)\b/g)].map(([, name]) => name))];

export function tableOfMetrics() {
  const text = fs.readFileSync(path.join(root, "common/base/metrics_table.c"), "utf8");
  return new Map([...text.matchAll(/\b(COUNTER|GAUGE|HISTOGRAM)\(\s*"(\w+)",\s*"([^"]*)"/g)].map(([, type, name, labels]) => [name, { type, labels: labels.split(" ").filter(Boolean) }]));
}

// Whether a program is installed here; else why not.
export function missing(program) {
  try { execFileSync(program, ["--version"], { stdio: "ignore" }); return null; } catch { return `${program} is not installed (deploy/packages test)`; }
}

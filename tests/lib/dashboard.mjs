// The panels of deploy/grafana's dashboard, as Grafana would ask Prometheus for them.
import fs from "node:fs";
import path from "node:path";
import { root } from "./rules.mjs";

export const DASHBOARD = path.join(root, "deploy/grafana/mayfly.json");

// Whose series a storm does not have, and why.
export const MAY_BE_EMPTY = {
  "Age of the image": "the stand-in for Lambda MicroVMs does not say when a version was made",
  "Host capacity reserved for VMs": "of hosts with QEMU VMs; a storm's are Lambda MicroVMs",
  "Disk errors and process limits of VMs": "of hosts with QEMU VMs",
  "VMs by target": "of classes with targets, which not every storm has",
  "Pulled deliveries by result": "a storm's deliveries come through the ingress",
  "Pulled deliveries that wait": "the same",
  "Pulled late by": "the same",
  "Calls that failed": "a calm storm has none",
  "VMs that ended without a job": "each VM of a calm storm has one",
};

const VARIABLES = { deployment: ".*", __rate_interval: "10s", __range: "60s" };

// {title, expression, mayBeEmpty} of each query.
export function panelsOf(text = fs.readFileSync(DASHBOARD, "utf8")) {
  const all = (panels) => panels.flatMap((panel) => [panel, ...all(panel.panels ?? [])]);
  return all(JSON.parse(text).panels).flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({
    title, mayBeEmpty: title in MAY_BE_EMPTY,
    expression: expr.replace(/\$\{?(\w+)(?::\w+)?\}?/g, (_, name) => { if (!(name in VARIABLES)) throw new Error(`${title}: $${name}`); return VARIABLES[name]; }),
  })));
}

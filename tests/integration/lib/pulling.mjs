// A deployment without an ingress, whose reapers pull GitHub's delivery log, and what that cost.
import assert from "node:assert/strict";
import { judge } from "./deployment.mjs";
import { outage } from "./outage.mjs";

export const INTERVAL_MS = 300;
const NOWHERE = "http://127.0.0.1:9/webhook"; // refused at once, as a name that does not exist is

// options: app (the App's own log, else the organization's hook), interval, config. The reaper is the test's to start.
export async function startPulling(t, { app = false, interval = `${INTERVAL_MS}ms`, config = {} } = {}) {
  const d = outage(t, { app, config: { limits: { max_vms: 250 }, ...config } });
  await d.startGitHub();
  await d.startLambda();
  d.options.classes[0].max_vms = 250;
  d.options.classes[0].lambda.timeout = "5s"; // a busy machine's slowness is no lost answer
  const { hook_id: id } = (await d.fake("POST", "/_fake/webhook-url", { url: NOWHERE, secret: d.secret })).json;
  d.writeConfig({ github: { webhook_secrets: undefined, pull: { interval }, ...(app ? {} : { hook: { id, organization: "acme" } }) } });
  await d.startWorker();
  return d;
}

// Deliveries, payloads that were fetched, and what else the log has cost.
export function calls(d) {
  const log = d.log();
  const requests = (operation) => log.filter((e) => e.event === "request" && e.operation === operation);
  const paths = requests("get-delivery").filter((e) => e.status === 200).map((e) => e.path);
  const deliveries = log.filter((e) => e.event === "webhook").length;
  const payloads = new Set(paths).size;
  const lists = requests("list-deliveries").length;
  const twice = paths.filter((path, i) => paths.indexOf(path) !== i);
  return { deliveries, payloads, lists, above: lists + requests("get-delivery").length - payloads, twice };
}

// From each job's creation to the launch of a VM for it, in ms, sorted.
export function launchTimes(d) {
  const created = new Map(d.log().filter((e) => e.event === "job_created").map((e) => [e.job, e.ts_ms ?? Date.parse(e.ts)]));
  return d.said("vm_launched").map((e) => Date.parse(e.ts) - created.get(e.job_id)).sort((a, b) => a - b);
}

// Every job has run, once; every delivery was pulled; nothing is left.
export async function finishPulled(d, count, { more = 0 } = {}) {
  await d.untilJobsEnd(count, { seconds: 120 });
  await d.untilQuiet({ seconds: 120 });
  const truth = judge(d.log());
  assert.equal(truth.finished.size, count);
  assert.deepEqual(truth.ranTwice, []);
  assert.deepEqual(d.said("message_dead_lettered"), []);
  assert.deepEqual(truth.invalid, []);
  assert.ok(truth.registered.size <= count + more, `${truth.registered.size} registrations for ${count} jobs`);
  assert.equal(d.log().filter((e) => e.event === "webhook" && e.redelivery).length, 0, "nothing had to be delivered again");
  return truth;
}

// Two deployments whose names begin alike, in one organization and on one host: neither touches what the other owns.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

// The four hex digits of common/job/vm_name.h.
function mark(text) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return Number((hash ^ (hash >> 16n) ^ (hash >> 32n) ^ (hash >> 48n)) & 0xffffn).toString(16).padStart(4, "0");
}
const nameOf = (deployment, name, unique) => `mf-${mark(deployment)}${mark(name)}-${deployment}-${name}-${unique}`;

// A registration that no VM ever takes up, as a crash leaves it.
async function leaveRegistration(d, name) {
  const response = await fetch(`${d.url}/orgs/acme/actions/runners/generate-jitconfig`, {
    method: "POST", headers: { authorization: `Bearer ${d.token}`, "content-type": "application/json" },
    body: JSON.stringify({ name, runner_group_id: 1, labels: ["self-hosted"] }),
  });
  assert.equal(response.status, 201, await response.text());
}

const said = (d, event) => d.programs.flatMap((p) => p.events).filter((e) => e.msg === event);

test("deployments_named_prod_and_prod_eu_leave_each_others_runners_and_vms_alone", async (t) => {
  const reaper = { interval: "300ms", confirm_after: "250ms", stale_runner_scan_interval: "300ms" };
  const prod = new Deployment({ config: { deployment: "prod", reaper } });
  const eu = new Deployment({ config: { deployment: "prod-eu", reaper } });
  prod.options.classes = ["small", "eu-small"].map((name) => prod.fakeQemuClass({ name, labels: ["self-hosted", "microvm", name] }));
  t.after(() => prod.stop());
  t.after(() => eu.stop());
  await prod.startAll();
  await prod.queueJobs({ labels: ["self-hosted", "microvm", "eu-small"] }); // its names begin with mf-….-prod-eu-small-
  await prod.untilJobsEnd(1);
  await prod.untilQuiet();

  Object.assign(eu, { url: prod.url, token: prod.token, secret: prod.secret, stateDir: prod.stateDir });
  eu.options.classes = [eu.fakeQemuClass({ labels: ["self-hosted", "microvm", "eu"] })];
  eu.writeConfig();
  await eu.startIngress();
  await eu.startWorker();
  await eu.startReaper();
  const [job] = await eu.queueJobs({ labels: ["self-hosted", "microvm", "eu"], command: "sleep 8" });
  const { vm } = await eu.worker.waitFor("vm_launched");
  assert.match(vm, new RegExp(`^mf-${mark("prod-eu")}${mark("small")}-prod-eu-small-[0-9a-f]{12}$`));

  const left = { prod: nameOf("prod", "eu-small", "000000000001"), eu: nameOf("prod-eu", "small", "000000000002") };
  await leaveRegistration(prod, left.prod);
  await leaveRegistration(prod, left.eu);
  await until("each reaper has deleted its own", () => said(prod, "stale_runner_deleted").length > 0 && said(eu, "stale_runner_deleted").length > 0);
  assert.notEqual((await prod.job(job.id)).state, "completed", "the neighbour's VM was there all the while");
  await eu.untilJobsEnd(2);
  await eu.untilQuiet();
  assert.deepEqual(said(prod, "stale_runner_deleted").map((e) => e.runner), [left.prod]);
  assert.deepEqual(said(eu, "stale_runner_deleted").map((e) => e.runner), [left.eu]);
  for (const d of [prod, eu]) assert.deepEqual(said(d, "orphan_vm_terminated"), []);
  assert.equal((await prod.job(job.id)).conclusion, "success");
  prod.programs.push(...eu.programs);
  assertSound(prod);
});

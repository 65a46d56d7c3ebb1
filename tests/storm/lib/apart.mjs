// Two deployments in one account and one organization: what each did to the other's VMs and runners, and whose jobs ran where, from the
// stand-ins' logs. Whose a call is, its key says at AWS, and at GitHub who it was: the first deployment is an App, the second has a token.
import { lines } from "./verdict.mjs";

const ofEu = (runner) => String(runner).includes("-storm-eu-");

async function euKeys(log, fixed) {
  const keys = new Set([fixed]);
  if (log) for await (const e of lines(log)) if (e.event === "key_issued" && e.role === "eu") keys.add(e.access_key_id);
  return keys;
}

export async function judgeApart({ githubLog, providerLog, keysLog, euKey }) {
  const keys = await euKeys(keysLog, euKey);
  const told = { vms: { storm: 0, eu: 0 }, touched_vms: 0, touched_runners: 0, jobs_elsewhere: 0 };
  const vms = new Map();
  for await (const e of lines(providerLog)) {
    if (e.event === "vm_requested") {
      vms.set(e.microvm, e.image === "mayfly-eu");
      told.vms[e.image === "mayfly-eu" ? "eu" : "storm"] += 1;
    }
    if (e.event !== "request" || e.operation !== "TerminateMicrovm") continue;
    const vm = e.path.split("/").at(-1);
    if (vms.has(vm) && vms.get(vm) !== keys.has(e.key)) told.touched_vms += 1;
  }
  const runners = new Map();
  const jobs = new Map();
  for await (const e of lines(githubLog)) {
    if (e.event === "runner_registered") runners.set(String(e.runner_id), ofEu(e.runner));
    if (e.event === "job_created") jobs.set(e.job, e.labels.includes("eu"));
    if (e.event === "job_started" && jobs.get(e.job) !== ofEu(e.runner)) told.jobs_elsewhere += 1;
    if (e.event !== "request" || e.operation !== "delete-runner") continue;
    const runner = runners.get(e.path.split("/").at(-1));
    if (runner !== undefined && runner !== (e.auth === "pat")) told.touched_runners += 1;
  }
  return told;
}

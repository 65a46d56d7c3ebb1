// What must be true after the demo: [true or false, what it is] by the log of the stand-in for GitHub and what the programs say.
import { judge } from "../../tests/integration/lib/deployment.mjs";
import { short } from "./fleet.mjs";

export function checks({ count, cap, fleet, jobs, ids, during, left, log }) {
  const truth = judge(log);
  const of = (id) => jobs.find((job) => job.id === id);
  const ended = (conclusion) => jobs.filter((job) => job.conclusion === conclusion).length;
  const launchedFor = (id) => [...fleet.vms.values()].filter((vm) => vm.launchedFor === id);
  const wereCancelled = [ids[0], ids[count - 1]];
  const deliveries = log.filter((e) => e.event === "webhook" && e.job === ids[1] && e.action === "queued");
  const [first] = launchedFor(ids[0]);
  const found = [
    [ended("success") === count - 2 && truth.ranTwice.length === 0, `${ended("success")} of ${count - 2} jobs succeeded, ${truth.ranTwice.length} ran twice`],
    [truth.sharedRunners.length === 0, `each on a VM of its own: ${truth.sharedRunners.length} VMs ran a second job, and no job found another's files`],
    [truth.maxOnline <= cap, `${truth.maxOnline} VMs at once, at most; the cap is ${cap}`],
    [wereCancelled.every((id) => of(id)?.conclusion === "cancelled") && launchedFor(ids[count - 1]).length === 0,
      `${fleet.numbers(wereCancelled, "is", "are")} cancelled; ${launchedFor(ids[count - 1]).length} VMs launched for job ${count}`],
    [new Set(deliveries.map((e) => e.guid)).size === 1 && deliveries.length === 2 && launchedFor(ids[1]).length <= 1,
      `job 2 was delivered ${deliveries.length} times (answers: ${deliveries.map((e) => e.status).join(", ")}), ${launchedFor(ids[1]).length} VM launched for it`],
  ];
  // On a fast machine it may have started before.
  const waited = log.some((e) => e.event === "job_cancelled" && e.job === ids[0] && e.was === "queued");
  if (first?.ran !== undefined && waited) found.push([first.ran !== ids[0], `the VM of the cancelled job 1, ${short(first.name)}, ran job ${fleet.number(first.ran)}`]);
  if (during.length) {
    found.push([during.every((id) => of(id)?.conclusion === "success"), `${fleet.numbers(during, "went on")} while the worker was dead`]);
  }
  found.push([left.every((n) => n === 0), `left at the end: ${left[0]} VMs, ${left[1]} processes of VMs, ${left[2]} registrations at GitHub`]);
  return found;
}

// One line for scripts.
export function summary({ count, fleet, jobs, left, log }, seconds) {
  const ended = (conclusion) => jobs.filter((job) => job.conclusion === conclusion).length;
  const launched = [...fleet.vms.values()].filter((vm) => vm.launchedFor !== undefined).length;
  return `demo: jobs=${count} completed=${ended("success")} cancelled=${ended("cancelled")} vms_launched=${launched} ` +
    `vms_left=${left[0] + left[1]} runners_left=${left[2]} max_concurrent=${judge(log).maxOnline} seconds=${seconds}`;
}

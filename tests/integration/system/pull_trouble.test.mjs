// Pulling through trouble: reapers that are killed in the middle, two of them, and GitHub away. No job is lost and none runs twice.
import test from "node:test";
import assert from "node:assert/strict";
import { sleep, until } from "../../lib/wait.mjs";
import { calls, finishPulled, startPulling } from "../lib/pulling.mjs";

const accepted = (...reapers) => reapers.flatMap((r) => r.events.filter((e) => e.msg === "job_accepted").map((e) => e.delivery_id));

test("reapers_that_are_killed_in_the_middle_lose_and_double_nothing", async (t) => {
  const d = await startPulling(t, { config: { github: { timeout: "500ms" } } });
  const reapers = [await d.startReaper(), await d.startReaper()];
  for (let i = 0; i < 4; i++) {
    await d.queueJobs({ count: 15, command: "true" });
    const before = accepted(...reapers).length;
    await until("some of them are pulled", () => accepted(...reapers).length > before, { every_ms: 10 });
    const puller = reapers.findLast((r) => !r.result && r.events.some((e) => e.msg === "pull_began"));
    await puller.stop("SIGKILL");
    reapers.push(await d.startReaper());
  }
  await finishPulled(d, 60, { more: 8 }); // of a batch that was put and not recorded, a job that had a VM already
  const twice = accepted(...reapers).filter((guid, i, all) => all.indexOf(guid) !== i);
  assert.deepEqual(twice, [], "put more than once");
});

test("an_outage_of_github_costs_time_alone", async (t) => {
  const d = await startPulling(t);
  await d.startReaper();
  await d.queueJobs({ count: 5, command: "true" });
  await until("they are pulled", () => accepted(d.reaper).length === 5);
  await d.harm("away", { operation: "*", status: 502, body: "" });
  await d.queueJobs({ count: 30, command: "true" });
  await d.last(2000, () => d.harmed("away"));
  await d.reaper.waitFor("pull_failed");
  await until("status says it", () => /delivery log is not pulled/.test(d.ctlText("status")));
  await d.heal("away");
  await d.reaper.waitFor("pull_resumed", { seconds: 90 });
  await finishPulled(d, 35, { more: 10 });
  assert.ok(calls(d).twice.length <= 1, `payloads fetched twice: ${calls(d).twice}`); // a new ledger asks for the name of the repository
});

// What an ingress has accepted is not fetched; what it could not, is.
test("an_ingress_beside_it_serves_what_reaches_it", async (t) => {
  const d = await startPulling(t);
  await d.startReaper();
  d.writeConfig({ github: { webhook_secrets: [d.secret] } });
  await d.startIngress();
  await d.queueJobs({ count: 5, command: "true" });
  await d.untilJobsEnd(5);
  await sleep(600);
  assert.equal(calls(d).payloads, 0);
  await d.ingress.stop("SIGKILL");
  await d.queueJobs({ count: 5, command: "true" });
  await finishPulled(d, 10, { more: 2 });
});

// One job whose runner group does not admit its repository: its VMs idle and end. Launches for it become ever rarer, `why` and the log name the group, and
// it runs once the group admits it.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

test("a_group_that_does_not_admit_the_repository_is_named_and_costs_ever_fewer_vms", async (t) => {
  const d = outage(t, { config: { github: { runner_group: "fast" } } });
  await d.startGitHub();
  const group = (repositories) => d.fake("POST", "/_fake/config", { groups: [{ org: "acme", id: 7, name: "fast", visibility: "selected", repositories }] });
  await group(["acme/app"]);
  await d.startPrograms();
  const [{ id }] = await d.queueJobs({ repo: "acme/secret", count: 1, command: "sleep 0.1" });
  await d.queueJobs({ count: 3, command: "sleep 0.1" });
  await until("the others have run", async () => (await d.jobs()).filter((job) => job.state === "completed").length === 3, { seconds: 30 });
  await until("the group is named", () => d.said("job_stuck_with_idle_runners").some((e) => e.job_id === id && /runner group "fast" does not admit acme\/secret/.test(e.action)), { seconds: 60 });
  assert.match(d.ctl("why", String(id)).sentence, /runner group "fast" does not admit acme\/secret: admit it/);
  const registered = () => d.log().filter((e) => e.event === "runner_registered").length;
  const first = registered();
  await d.last(10 * MINUTE_MS, () => 1);
  const launches = registered() - first;
  t.diagnostic(`registrations: ${first} until the group was named, ${launches} in 10 minutes after it`);
  assert.ok(launches <= 5, `${launches} registrations in 10 minutes`);
  await group(["acme/app", "acme/secret"]);
  await until("it has run", async () => (await d.jobs()).every((job) => job.state === "completed"), { seconds: 120 });
  await d.untilQuiet({ seconds: 60 });
  assert.deepEqual((await d.jobs()).filter((job) => job.conclusion !== "success"), []);
});

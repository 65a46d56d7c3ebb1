// Case (a): GitHub's API refuses connections, answers with errors, or does not answer, for longer than any retry.
import test from "node:test";
import assert from "node:assert/strict";
import { Gate } from "../../lib/gate.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

const JOBS = 15;
const minutes = Number(process.env.MAYFLY_OUTAGE_MINUTES ?? 3);

// Two thirds of the jobs are queued before the trouble, the rest while it lasts.
async function through(d, { begin, end, count }) {
  await begin();
  await d.queueJobs({ count: JOBS - 5, command: "sleep 0.1" });
  await d.last(minutes * MINUTE_MS / 2, count);
  await d.queueJobs({ count: 5, command: "sleep 0.1" });
  await d.last(minutes * MINUTE_MS / 2, count);
  assert.equal(d.log().filter((e) => e.event === "runner_registered").length, 0, "it was away");
  await end();
  await d.assertHealed(JOBS, { seconds: 90 });
}

for (const [name, fault] of Object.entries({ "503": { preset: "unavailable" }, "502_html": { preset: "bad-gateway" }, hanging: { hang: true } })) {
  test(`github_${name}_for_${minutes}_minutes_costs_time_alone`, async (t) => {
    const d = outage(t, fault.hang ? { config: { github: { timeout: "1s" } } } : {});
    await d.startGitHub();
    await d.startPrograms();
    await through(d, { begin: () => d.harm("away", { operation: "*", ...fault }), end: () => d.heal("away"), count: () => d.harmed("away") });
  });
}

test(`github_refusing_connections_for_${minutes}_minutes_costs_time_alone`, async (t) => {
  const d = outage(t);
  await d.startGitHub();
  const gate = await new Gate({ to: { port: Number(new URL(d.url).port) } }).listen();
  t.after(() => gate.stop());
  await d.startPrograms({ github: { api_url: `http://127.0.0.1:${gate.port}` } });
  await through(d, { begin: () => gate.shut(), end: () => gate.open(), count: () => gate.refused });
});

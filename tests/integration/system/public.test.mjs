// Jobs of public repositories: refused by default, also when their deliveries were lost and the reaper recovers them.
import test from "node:test";
import assert from "node:assert/strict";
import { Deployment } from "../lib/deployment.mjs";
import { until } from "../../lib/wait.mjs";
import { assertSound } from "../lib/sound.mjs";

async function start(t, config = {}) {
  const d = new Deployment({ config });
  t.after(() => d.stop());
  await d.startAll();
  await d.fake("POST", "/_fake/config", { repositories: [{ full_name: "acme/pub", private: false }] });
  return d;
}

const launched = (d) => d.log().filter((e) => e.event === "runner_registered").length;

test("a_public_repositorys_jobs_are_refused_and_the_others_run", async (t) => {
  const d = await start(t);
  const refused = await d.queueJobs({ repo: "acme/pub", count: 5, name: "from a fork" });
  await d.queueJobs({ count: 3 });
  await d.untilJobsEnd(3);
  await d.untilQuiet();
  for (const { id } of refused) {
    assert.equal((await d.job(id)).state, "queued");
    assert.equal(d.ctl("why", String(id)).known, false);
  }
  const lines = d.ingress.events.filter((e) => e.msg === "job_refused");
  assert.deepEqual(lines.map((e) => e.job_id).sort(), refused.map((j) => j.id).sort());
  assert.ok(lines.every((e) => e.reason === "public_repository_refused" && e.repository === "acme/pub" && e.class === "small"));
  const answers = d.log().filter((e) => e.event === "webhook" && e.status === 200);
  assert.equal(answers.length, 5, JSON.stringify(answers));
  const port = d.ingress.events.find((e) => e.msg === "started").admin_port;
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  assert.match(metrics, /mayfly_ingress_deliveries_total\{status="200",reason="public_repository_refused"\} 5\n/);
  assert.equal(launched(d), 3);
  for (const { id } of refused) await d.fake("POST", `/_fake/jobs/${id}/cancel`);
  await until("their ends are known", () => refused.every(({ id }) => d.ctl("why", String(id)).state === "cancelled"));
  assertSound(d, ["job_refused"]);
});

test("a_public_repositorys_jobs_run_where_they_are_allowed", async (t) => {
  const d = await start(t, { github: { public_repositories: "allow" } });
  await d.fake("POST", "/_fake/config", { groups: [{ org: "acme", name: "open", allows_public_repositories: true }] });
  d.writeConfig({ github: { runner_group: "open" } });
  await d.worker.stop();
  await d.startWorker();
  await d.queueJobs({ repo: "acme/pub", count: 2 });
  await d.untilJobsEnd(2);
  await d.untilQuiet();
  assert.equal(launched(d), 2);
  assertSound(d);
});

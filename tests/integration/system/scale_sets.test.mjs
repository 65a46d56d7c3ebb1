// Jobs from scale sets: no webhook, no ingress. GitHub's stand-in assigns them to the set, and says by its own log what became of each.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const SET = "blue";

async function startSets(t, { sources = [{ scale_set: SET, class: "small", organization: "acme" }], config = {}, fake = [] } = {}) {
  const d = new Deployment({ fakeArgs: ["--set-poll-s", "1", "--set-session-s", "3", ...fake],
    config: { sources, github: { webhook_secrets: undefined }, ...config, reaper: { lease_duration: "3s", ...config.reaper } } });
  t.after(() => d.stop());
  await d.startGitHub();
  d.writeConfig();
  await d.startWorker();
  return d;
}

const sets = async (d) => (await d.fake("GET", "/_fake/scale-sets")).json;
const polling = (d) => until("the set is polled", async () => (await sets(d))[0]?.polling);
const queueJobs = (d, changes) => d.queueJobs({ labels: [SET], command: "echo hello", ...changes });
const fault = (d, change) => d.fake("POST", "/_fake/faults", change);

// Every job ran, once, and as few VMs as that takes, but for `more`.
async function finish(d, count, { warnings = [], more = 0 } = {}) {
  const jobs = await d.untilJobsEnd(count, { seconds: 120 });
  assert.ok(jobs.every((j) => j.conclusion === "success"), JSON.stringify(jobs.filter((j) => j.conclusion !== "success")));
  await d.untilQuiet();
  await until("every job has ended in the ledger", () => d.ctl("jobs", "--state", "done").jobs.length === count);
  const truth = assertSound(d, warnings);
  assert.equal(truth.finished.size, count);
  assert.ok(truth.registered.size <= count + more, `${truth.registered.size} registrations for ${count} jobs`);
  return truth;
}

test("jobs_of_a_set_run_without_any_webhook", async (t) => {
  const d = await startSets(t);
  await d.startReaper();
  await polling(d);
  assert.equal((await sets(d))[0].capacity, 10, "the class's max_vms");
  await queueJobs(d, { count: 25 });
  await finish(d, 25, { more: 2 });
  assert.equal(d.log().filter((e) => e.event === "request" && e.operation === "generate-jitconfig").length, 0, "no runner outside of the set");
});

test("set_of_enterprise_server_acquires_its_jobs", async (t) => {
  const d = await startSets(t, { fake: ["--set-assignment", "acquire"] });
  await queueJobs(d, { count: 3 });
  await d.startReaper();
  await finish(d, 3, { more: 1 });
});

test("reaper_killed_in_the_middle_is_followed_by_another_and_no_job_is_lost", async (t) => {
  const d = await startSets(t);
  const first = await d.startReaper();
  const second = await d.startReaper();
  await polling(d);
  const holder = first.events.some((e) => e.msg === "scale_set_session_opened") ? first : second;
  const other = holder === first ? second : first;
  await queueJobs(d, { count: 12, command: "sleep 1" });
  await until("some jobs run", async () => (await d.jobs()).filter((j) => j.state === "in_progress").length >= 3);
  await holder.stop("SIGKILL");
  await other.waitFor("scale_set_session_opened");
  await finish(d, 12, { more: 3 });
  assert.ok((await sets(d))[0].conflicts > 0 || other.events.every((e) => e.msg !== "scale_set_session_waits"), "the killed one's session stood in the way");
  const began = Date.now();
  await other.stop();
  assert.equal((await sets(d))[0].session, null, "a reaper that drains closes its session");
  t.diagnostic(`draining took ${Date.now() - began} ms`);
});

test("expired_tokens_lost_answers_and_a_set_that_is_away_lose_no_job", async (t) => {
  const d = await startSets(t, { fake: ["--set-token-s", "1.5", "--set-admin-token-s", "62"] });
  await d.startReaper();
  await polling(d);
  await fault(d, { operation: "set-message-delete", drop: true, times: 2 });
  await fault(d, { operation: "set-jitconfig", drop: true, times: 2 });
  await fault(d, { operation: "set-poll", status: 503, times: 4 });
  await queueJobs(d, { count: 8 });
  await finish(d, 8, { warnings: ["scale_set_failed", "launch_failed"], more: 4 });
  const { requests } = (await d.fake("GET", "/_fake/state")).json;
  assert.ok(requests["set-session-renew"] > 0);
  assert.ok(requests["set-connection"] > 1);
});

test("several_sets_of_an_organization_and_a_repository_share_a_class", async (t) => {
  const sources = [{ scale_set: SET, class: "small", organization: "acme" }, { scale_set: "green", class: "small", repository: "acme/app" }];
  const d = await startSets(t, { sources, fake: ["--repo", "acme/app"] });
  await d.startReaper();
  await until("both are polled", async () => (await sets(d)).filter((s) => s.polling).length === 2);
  await queueJobs(d, { count: 6 });
  await queueJobs(d, { count: 6, labels: ["green"] });
  const truth = await finish(d, 12, { more: 3 });
  assert.deepEqual(new Set(d.log().filter((e) => e.event === "runner_registered").map((e) => `${e.scope} ${e.labels}`)), new Set(["acme blue", "acme/app green"]));
  assert.equal(truth.finished.size, 12);
});

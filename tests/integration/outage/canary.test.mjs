// A new version of a class's image is tried with some of the launches: one that works becomes the class's, one whose VMs never come is rejected,
// and no job is lost over it.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

const BATCH = 60;

const versionsOf = (names) => ({ images: [{ name: "mayfly", versions: names.map((version) => ({ version, status: "ACTIVE", state: "SUCCESSFUL" })) }] });
const imageOf = (d) => d.ctl("image", "list").find((i) => i.class === "small");

async function metricsOf(program) {
  const { admin_port: port } = program.events.find((e) => e.msg === "started");
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

async function start(d, stores, versions = ["1.0"]) {
  await d.startGitHub();
  await d.startLambda();
  await d.call(d.lambdaUrl, "POST", "/config", versionsOf(versions));
  await d.startPrograms(await stores(d));
  await d.queueJobs({ count: 2, command: "sleep 0.05" });
  await d.untilJobsEnd(2);
  assert.equal(imageOf(d).good, versions.at(-1));
}

async function begin(d, versions) {
  await d.call(d.lambdaUrl, "POST", "/config", versionsOf(versions));
  await until("the canary begins", () => imageOf(d).canary?.version === versions.at(-1));
}

test("version_that_works_becomes_the_classs_after_20_jobs_through_kills_of_a_worker", async (t) => {
  const d = outage(t);
  await start(d, async () => ({}));
  const second = await d.startWorker();
  await begin(d, ["1.0", "2.0"]);
  let count = 2;
  for (let round = 0; imageOf(d).canary !== null; round += 1) {
    assert.ok(round < 20, `no decision after ${count} jobs: ${JSON.stringify(imageOf(d))}`);
    await d.queueJobs({ count: BATCH, command: "sleep 0.05" });
    count += BATCH;
    if (round % 2 === 0) {
      await d.worker.stop("SIGKILL");
      await d.startWorker();
    }
    await d.untilJobsEnd(count, { seconds: 120 });
  }
  const image = imageOf(d);
  assert.deepEqual([image.good, image.former, image.rejected], ["2.0", "1.0", []]);
  await until("the promotion is logged", () => d.said("image_promoted").some((e) => e.class === "small" && e.version === "2.0"));
  await d.untilQuiet({ seconds: 60 });
  assert.deepEqual(d.said("image_rejected"), []);
});

const STORES = {
  sqlite: async () => ({}),
  redis: async (d) => { const url = await d.startRedis(); return { queue: url, ledger: url }; },
  dynamodb: async (d) => ({ ledger: await d.startDynamo() }),
};

for (const [name, stores] of Object.entries(STORES)) {
  test(`version_whose_vms_never_come_is_rejected_and_no_job_is_lost_on_${name}`, async (t) => {
    const d = outage(t);
    await start(d, stores);
    await d.startWorker();
    await d.call(d.lambdaUrl, "POST", "/faults", [{ vm: "fail-start", version: "2.0" }]);
    await begin(d, ["1.0", "2.0"]);
    let count = 2;
    for (let round = 0; imageOf(d).canary !== null; round += 1) {
      assert.ok(round < 20, `no decision after ${count} jobs: ${JSON.stringify(imageOf(d))}`);
      await d.queueJobs({ count: BATCH, command: "sleep 0.05" });
      count += BATCH;
      await d.untilJobsEnd(count, { seconds: 120 });
    }
    const image = imageOf(d);
    assert.deepEqual([image.good, image.rejected], ["1.0", ["2.0"]]);
    await until("the rejection is logged", () => d.said("image_rejected").some((e) => e.class === "small" && e.version === "2.0" && e.good === "1.0"));
    await until("the metric for the alert shows it", async () => /^mayfly_image_rejected\{class="small"\} 1$/m.test(await metricsOf(d.reaper)));
    // It is not tried again, although it is the newest.
    await d.queueJobs({ count: 5, command: "sleep 0.05" });
    await d.untilJobsEnd(count + 5);
    assert.equal(imageOf(d).canary, null);
    const { did } = d.ctl("image", "promote", "small", "2.0");
    assert.match(did, /version 2\.0 is good; launches use 2\.0 within seconds\. It was rejected, and so made INACTIVE: unless it is ACTIVE again/);
    assert.equal(imageOf(d).good, "2.0");
    // The operator has not activated it.
    await d.queueJobs({ count: 3, command: "sleep 0.05" });
    await d.untilJobsEnd(count + 8);
    await until("the version before it takes its place", () => imageOf(d).good === "1.0");
  });
}

test("hour_without_the_store_decides_nothing_about_a_canary_and_loses_no_job", async (t) => {
  const d = outage(t);
  await start(d, STORES.dynamodb);
  await begin(d, ["1.0", "2.0"]);
  await d.queueJobs({ count: BATCH, command: "sleep 0.05" });
  await d.untilJobsEnd(BATCH + 2, { seconds: 120 });
  const before = imageOf(d);
  assert.equal(before.canary?.version, "2.0");
  await d.queueJobs({ count: 10, command: "sleep 0.5" });
  await d.call(d.dynamoUrl, "POST", "/faults", [{ name: "away", operation: "*", preset: "internal" }]);
  await d.last(60 * MINUTE_MS, async () => (await d.call(d.dynamoUrl, "GET", "/faults/used")).away ?? 0);
  await d.call(d.dynamoUrl, "DELETE", "/faults?name=away");
  await d.assertHealed(BATCH + 12, { seconds: 120, wasted: 10 });
  const after = imageOf(d);
  assert.deepEqual([after.good, after.rejected, after.canary.failures], ["1.0", [], before.canary.failures]);
  assert.ok(after.canary.jobs >= before.canary.jobs);
  let count = BATCH + 12;
  for (let round = 0; imageOf(d).canary !== null; round += 1) {
    assert.ok(round < 20, `no decision after ${count} jobs: ${JSON.stringify(imageOf(d))}`);
    await d.queueJobs({ count: BATCH, command: "sleep 0.05" });
    count += BATCH;
    await d.untilJobsEnd(count, { seconds: 120 });
  }
  assert.equal(imageOf(d).good, "2.0");
});

test("good_version_that_is_gone_gives_way_to_the_newest_that_can_be_launched", async (t) => {
  const d = outage(t);
  await start(d, async () => ({}), ["1.0", "2.0"]);
  await d.call(d.lambdaUrl, "POST", "/config", versionsOf(["1.0"]));
  await d.queueJobs({ count: 5, command: "sleep 0.05" });
  await d.untilJobsEnd(7);
  assert.equal(imageOf(d).good, "1.0");
  await until("it is logged", () => d.said("image_replaced").some((e) => e.version === "1.0" && /2\.0 does not exist any more/.test(e.reason)));
});

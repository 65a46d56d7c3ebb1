// Case (k): the class's image does not exist: the class waits and says so, on every kind of queue, until it is there.
import test from "node:test";
import assert from "node:assert/strict";
import { until } from "../../lib/wait.mjs";
import { MINUTE_MS, outage } from "../lib/outage.mjs";

const STORES = {
  sqlite: async () => ({}),
  redis: async (d) => { const url = await d.startRedis(); return { queue: url, ledger: url }; },
  sqs: async (d) => ({ queue: await d.startSqs() }),
};

for (const [name, stores] of Object.entries(STORES)) {
  test(`a_missing_image_makes_its_class_wait_on_${name}`, async (t) => {
    const d = outage(t);
    await d.startGitHub();
    await d.startLambda("--image", "another");
    await d.startPrograms(await stores(d));
    await d.queueJobs({ count: 10, command: "sleep 0.1" });
    const refused = async () => (await d.call(d.lambdaUrl, "GET", "/state")).answers["RunMicrovm 404"] ?? 0;
    await until("the class says that it waits", () => d.said("circuit_opened").some((e) => /image/.test(e.error)), { seconds: 60 });
    await d.last(2 * MINUTE_MS, refused);
    await d.call(d.lambdaUrl, "POST", "/config", { images: [{ name: "mayfly" }] });
    await d.assertHealed(10, { seconds: 90, wasted: 10 });
    assert.equal((await d.call(d.lambdaUrl, "GET", "/state")).empty_ids, 0);
  });
}

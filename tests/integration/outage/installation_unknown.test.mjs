// Case (l): the deliveries' installation id is unknown (the App was installed anew): the owner's own is looked up once, used and kept.
import test from "node:test";
import assert from "node:assert/strict";
import { outage } from "../lib/outage.mjs";

test("an_unknown_installation_is_looked_up_once_by_its_owner", async (t) => {
  const d = outage(t, { app: true });
  await d.startGitHub();
  d.writeConfig();
  await d.startIngress();
  await d.queueJobs({ count: 10, command: "sleep 0.1" });
  await d.fake("GET", "/_fake/wait?webhooks_ok=10&timeout=20");
  await d.fake("POST", "/_fake/config", { installations: [{ owner: "acme", id: 77 }] });
  await d.startWorker();
  await d.startReaper();
  await d.assertHealed(10, { seconds: 60 });
  const calls = (operation, status) => d.log().filter((e) => e.event === "request" && e.operation === operation && e.status === status).length;
  assert.ok(calls("access-token", 404) >= 1, "the old one was tried");
  assert.ok(calls("org-installation", 200) <= 2, "looked up once by each program");
});

// Pulling from an organization's webhook with a token, in small: the threads that fetch are seen by the sanitizers.
import test from "node:test";
import assert from "node:assert/strict";
import { INTERVAL_MS, calls, finishPulled, startPulling } from "../lib/pulling.mjs";

test("a_hook_s_log_is_read_with_a_token_and_every_job_runs_once", async (t) => {
  const d = await startPulling(t);
  const began = performance.now();
  await d.startReaper();
  await d.queueJobs({ count: 8, command: "true" });
  await finishPulled(d, 8);
  const looks = (performance.now() - began) / INTERVAL_MS; // a call each, while a VM takes its time
  assert.ok(calls(d).above <= 0.3 * calls(d).deliveries + looks + 1, JSON.stringify(calls(d)));
});

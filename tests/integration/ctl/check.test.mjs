// `mayflyctl check`: what the three daemons check, at once, without making anything.
import test from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { config, ctl, dir, writeConfig } from "./setup.mjs";

const AWAY = { token: "ghp_" + "a".repeat(36), webhook_secrets: ["a-long-secret"], api_url: "http://127.0.0.1:1" };
const listen = (n) => ({ admin_listen: `127.0.0.1:${n}` });
const addresses = { ingress: { listen: "127.0.0.1:0", ...listen(0) }, worker: listen(0), reaper: listen(0) };

test("every_finding_is_one_line_and_a_failure_is_exit_code_1", () => {
  writeConfig({ ...addresses, github: AWAY });
  const r = ctl(["--config", config, "check"]);
  assert.equal(r.status, 1, r.stderr);
  for (const program of ["mayfly-ingress", "mayfly-reaper", "mayfly-worker"]) assert.match(r.stdout, new RegExp(`^ok    configuration: ${program}: valid$`, "m"));
  assert.match(r.stdout, /^warn  queue: open: there is no queue file .*no daemon has run with it yet$/m);
  assert.match(r.stdout, /^warn  ledger: open: (ledger: )?there is no ledger file /m);
  assert.match(r.stdout, /^FAIL  github: /m);
  assert.match(r.stdout, /\ncheck: \d+ ok, \d+ warnings, [1-9]\d* failed\n$/);
  assert.ok(!fs.existsSync(path.join(dir, "queue.db")) && !fs.existsSync(path.join(dir, "ledger.db")));
});

test("json_is_one_value_with_all_findings", () => {
  const r = ctl(["--config", config, "check", "--json"]);
  assert.equal(r.status, 1);
  const answer = JSON.parse(r.stdout);
  assert.equal(answer.findings.filter((f) => f.level === "FAIL").length, answer.failed);
  assert.ok(answer.findings.every((f) => f.subject && f.request && f.result));
});

test("a_mistake_of_one_program_is_laid_to_it_and_one_of_all_is_said_once", () => {
  writeConfig({ ...addresses, github: { ...AWAY, webhook_secrets: undefined } });
  const own = ctl(["--config", config, "check"]).stdout;
  assert.match(own, /^FAIL  configuration: mayfly-ingress: .*webhook_secrets/m);
  assert.match(own, /^ok    configuration: mayfly-worker: valid$/m);
  writeConfig({ ...addresses, github: { ...AWAY, webhook_secrets: undefined, hook: { id: 7, organization: "acme" }, pull: { interval: "5s" } } });
  const pulled = ctl(["--config", config, "check"]).stdout;
  assert.match(pulled, /^ok    configuration: mayfly-ingress: none is meant to run: deliveries are pulled/m);
  assert.match(pulled, /^ok    configuration: mayfly-reaper: valid$/m);
  assert.doesNotMatch(pulled, /webhook_secrets/);
  writeConfig({ ...addresses, github: AWAY, queues: "x" });
  const all = ctl(["--config", config, "check"]);
  assert.equal(all.status, 1);
  assert.equal(all.stdout.match(/queues: unknown key/g).length, 1, all.stdout);
  assert.match(all.stdout, /did you mean queue\?/);
});

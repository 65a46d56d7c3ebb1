// Several GitHub Apps: two in rotation on one organization, one on another; one that is suspended, one whose key is replaced by SIGHUP.
import test from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const [FIRST, SECOND, SOLO] = [1001, 1002, 1003];

function makeKey(file) {
  const { privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  fs.writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  return file;
}

// `changed`: GitHub has another key of the third App than the deployment.
async function start(t, changed = false) {
  const d = new Deployment();
  t.after(() => d.stop());
  const key = (id) => path.join(d.dir, `app-${id}.pem`);
  for (const id of [FIRST, SECOND, SOLO]) makeKey(key(id));
  d.held = makeKey(path.join(d.dir, "held.pem"));
  d.soloKey = key(SOLO);
  d.options.fakeArgs = ["--app-id", String(FIRST), "--app-key", key(FIRST), "--repo", "solo/app"];
  const app = (id, organizations) => ({ id: String(id), private_key: `file:${key(id)}`, organizations });
  d.options.config = {
    github: { token: undefined, apps: [app(FIRST, ["acme"]), app(SECOND, ["Acme"]), app(SOLO, ["solo"])] },
    circuit: { open_duration: "200ms", max_open_duration: "500ms" },
  };
  await d.startGitHub();
  await d.fake("POST", "/_fake/config", { apps: [{ id: SECOND, keys: [key(SECOND)], owners: ["acme"] }, { id: SOLO, keys: [changed ? d.held : key(SOLO)], owners: ["solo"] }] });
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  await d.startReaper();
  return d;
}

const registrations = (d, app, owner) => d.log().filter((e) => e.event === "request" && e.operation === "generate-jitconfig" && e.status === 201
  && e.app === app && e.path.startsWith(`/orgs/${owner}/`)).length;

test("apps_register_in_turn_and_one_that_is_refused_stops_no_other", async (t) => {
  const d = await start(t, true);
  // GitHub refuses the third App's key: its organization waits, the other goes on.
  const [waiting] = await d.queueJobs({ repo: "solo/app" });
  await d.worker.waitFor((e) => e.msg === "circuit_opened" && e.subject === "installation:solo");
  await d.queueJobs({ count: 10 });
  await d.untilJobsEnd(10);
  const each = [FIRST, SECOND].map((app) => registrations(d, app, "acme"));
  assert.ok(Math.abs(each[0] - each[1]) <= 1 && each[0] >= 5, `in turn: ${each}`);
  assert.equal((await d.job(waiting.id)).state, "queued");
  assert.ok(!d.worker.events.some((e) => e.msg === "circuit_opened" && e.subject !== "installation:solo"), "that circuit alone opens");

  // A text that is no key changes nothing, and is reported.
  fs.writeFileSync(d.soloKey, "no key\n");
  d.worker.process.kill("SIGHUP");
  const { error } = await d.worker.waitFor("config_reload_failed");
  assert.match(error, /github\.apps\[2\]\.private_key/);
  // The key that GitHub has: what waited goes on by itself.
  fs.copyFileSync(d.held, d.soloKey);
  for (const program of [d.worker, d.reaper]) {
    program.process.kill("SIGHUP");
    assert.equal((await program.waitFor("app_key_replaced")).apps, String(SOLO));
  }
  await d.untilJobsEnd(11);
  assert.equal(registrations(d, SOLO, "solo"), 1);
  assert.equal(registrations(d, FIRST, "solo") + registrations(d, SECOND, "solo"), 0);

  // One of the two in rotation is suspended: the other does all.
  await d.fake("POST", "/_fake/config", { apps: [{ id: SECOND, suspended: ["acme"] }] });
  const before = registrations(d, FIRST, "acme");
  await d.queueJobs({ count: 4 });
  await d.untilJobsEnd(15);
  assert.equal(registrations(d, FIRST, "acme"), before + 4);
  await d.untilQuiet();
  assertSound(d, ["circuit_opened", "circuit_reopened", "config_reload_failed", "launch_failed", "scopes_not_listed", "runner_list_failed"]);
});

// The registrations that one App made are deleted by whichever serves the organization then.
test("registrations_of_an_app_that_left_are_deleted_by_another", async (t) => {
  const d = await start(t);
  const jobs = await d.queueJobs({ count: 6, command: "sleep 600" });
  await until("all run", async () => (await d.jobs()).filter((j) => j.state === "in_progress").length === jobs.length, { seconds: 60 });
  assert.ok(registrations(d, SECOND, "acme") >= 2);
  await d.fake("POST", "/_fake/config", { apps: [{ id: SECOND, owners: [] }] });
  d.options.config.github.apps = d.options.config.github.apps.filter((app) => app.id !== String(SECOND));
  d.writeConfig();
  for (const program of [d.worker, d.reaper]) {
    program.process.kill("SIGHUP");
    assert.match((await program.waitFor("config_restart_required")).settings, /github\.apps/);
    await program.stop();
  }
  await d.startWorker();
  await d.startReaper();
  for (const { id } of jobs) await d.fake("POST", `/_fake/jobs/${id}/cancel`);
  await d.untilQuiet({ seconds: 90 });
  assertSound(d, ["config_restart_required"]);
});

// Runners of the enterprise, by a token, beside an App: its webhook, and the jobs of other classes.
test("runners_of_an_enterprise_register_with_the_token", async (t) => {
  const d = new Deployment();
  t.after(() => d.stop());
  const key = makeKey(path.join(d.dir, "app.pem"));
  d.options.fakeArgs = ["--app-id", String(FIRST), "--app-key", key, "--enterprise", "big", "--repo", "solo/app"];
  d.options.config = { github: { enterprise: "big", app: { id: String(FIRST), private_key: `file:${key}` } } };
  d.options.classes = [
    d.fakeQemuClass({ scope: "enterprise", runner_group: "all of them" }),
    d.fakeQemuClass({ name: "own", labels: ["self-hosted", "own"], required_labels: ["own"] }),
  ];
  await d.startGitHub();
  await d.fake("POST", "/_fake/config", { groups: [{ org: "enterprises/big", name: "all of them" }] });
  d.writeConfig();
  await d.startIngress();
  await d.startWorker();
  await d.startReaper();
  const findings = d.ctl("check").findings ?? d.ctl("check");
  assert.ok(JSON.stringify(findings).includes("all of them of enterprises/big"), JSON.stringify(findings));
  await d.queueJobs({ count: 3 });
  await d.queueJobs({ repo: "solo/app", count: 2 });
  await d.queueJobs({ labels: ["self-hosted", "own"] });
  await d.untilJobsEnd(6);
  const scopes = d.log().filter((e) => e.event === "runner_registered").map((e) => e.scope).sort();
  assert.deepEqual(scopes, ["acme", ...Array(5).fill("enterprises/big")]);
  const asked = d.log().filter((e) => e.event === "request" && e.path.startsWith("/enterprises/"));
  assert.ok(asked.length > 0 && asked.every((e) => e.auth === "pat"));
  await d.untilQuiet();
  assertSound(d, ["repository_cap_best_effort"]);
});

// A token alone reads no delivery log: a lost delivery is found by the jobs API, in a repository that had a job lately.
test("a_lost_delivery_of_an_enterprise_is_recovered_by_the_jobs_api", async (t) => {
  const d = new Deployment({ fakeArgs: ["--enterprise", "big"], config: { github: { scope: "enterprise", enterprise: "big" }, reaper: { job_scan_interval: "500ms" } } });
  t.after(() => d.stop());
  await d.startAll();
  await d.queueJobs();
  await d.untilJobsEnd(1);
  await d.fake("POST", "/_fake/faults", [{ webhook: "drop", action: "queued", times: 1, recorded: false }]);
  await d.queueJobs();
  await d.untilJobsEnd(2);
  await d.reaper.waitFor("job_recovered");
  assert.deepEqual([...new Set(d.log().filter((e) => e.event === "runner_registered").map((e) => e.scope))], ["enterprises/big"]);
  await d.untilQuiet();
  assertSound(d);
});

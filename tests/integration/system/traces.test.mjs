// Traces, with the real programs: one job is one trace, as the official protobuf messages accept it; a collector that is away, hangs or refuses delays nothing.
import test from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../lib/wait.mjs";
import { Deployment, Program } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const python = path.join(root, "build/fakes-python/bin/python");
const skip = spawnSync(python, ["-c", "import opentelemetry.proto.collector.trace.v1.trace_service_pb2"]).status === 0 ? false
  : "opentelemetry-proto is not installed (tests/fakes/dynamodb/setup)";

async function startCollector(t, ...args) {
  const collector = new Program("collector", python, [path.join(root, "tests/fakes/otlp/collector.py"), ...args]);
  t.after(() => collector.stop("SIGKILL"));
  const { url } = await collector.waitFor((e) => e.url);
  const set = (status) => fetch(new URL("/_fake/status", url), { method: "POST", body: JSON.stringify(status) });
  return { collector, url, set, spans: () => collector.events.filter((e) => e.trace), refused: () => collector.events.filter((e) => e.refused) };
}

async function deployment(t, traces) {
  const d = new Deployment({ config: { traces } });
  t.after(() => d.stop());
  await d.startAll();
  return d;
}

const metric = async (program, name) => {
  const { admin_port: port } = program.events.find((e) => e.msg === "started");
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Object.fromEntries([...text.matchAll(new RegExp(`^${name}\\{([^}]*)\\} (\\S+)$`, "gm"))].map(([, labels, value]) => [labels, Number(value)]));
};
const dropped = async (d, reason) => {
  const each = await Promise.all([d.worker, d.reaper].map((p) => metric(p, "mayfly_events_dropped_total")));
  return each.reduce((sum, one) => sum + (one[`sink="traces",reason="${reason}"`] ?? 0), 0);
};

const STEPS = ["job", "queued", "waiting", "running", "vm", "reserved", "registered", "launched", "busy", "ending"];

test("job_is_one_trace_from_queued_to_its_vms_end", { skip }, async (t) => {
  const { url, spans, refused } = await startCollector(t, "--header", "X-Key: s3cret-key");
  const d = await deployment(t, { endpoint: url, headers: ["X-Key: s3cret-key"] });
  const [one, two] = await d.queueJobs({ count: 2 });
  await d.untilJobsEnd(2);
  await d.untilQuiet();
  await until("all spans", () => spans().length >= 2 * STEPS.length);

  const traceOf = ({ id }) => createHash("sha256").update(`mayfly-job-${id}`).digest("hex").slice(0, 32);
  assert.deepEqual([...new Set(spans().map((s) => s.trace))].sort(), [traceOf(one), traceOf(two)].sort());
  for (const { id } of [one, two]) {
    const of = new Map(spans().filter((s) => s.trace === traceOf({ id })).map((s) => [s.name, s]));
    assert.deepEqual([...of.keys()].sort(), [...STEPS].sort());
    const { job, vm } = Object.fromEntries(of);
    for (const [name, s] of of) {
      const parent = name === "job" ? "" : ["vm", "queued", "waiting", "running"].includes(name) ? job.span : vm.span;
      assert.equal(s.parent, parent, name);
      assert.equal(s.attributes["mayfly.job_id"], id, name);
      assert.match(s.resource["service.name"], /^mayfly-(worker|reaper)$/);
      assert.equal(s.resource["mayfly.deployment"], "test");
      assert.equal(s.scope, "mayfly");
    }
    for (const [first, next] of [["queued", "waiting"], ["waiting", "running"], ["reserved", "registered"], ["registered", "launched"], ["launched", "busy"], ["busy", "ending"]]) {
      assert.equal(of.get(first).end_ms, of.get(next).start_ms, `${first}, ${next}`);
    }
    assert.equal(new Set(spans().map((s) => s.span)).size, spans().length, "ids of spans");
    const { "mayfly.run_id": run, "mayfly.repository": repository, "mayfly.class": name, "mayfly.vm": runner, "mayfly.outcome": outcome } = job.attributes;
    assert.ok(run > 0);
    assert.deepEqual({ repository, name, outcome, status: job.status }, { repository: "acme/app", name: "small", outcome: "success", status: 0 });
    assert.equal(runner, vm.attributes["mayfly.vm"]);
    assert.equal(vm.attributes["mayfly.provider"], "qemu");
  }
  assert.deepEqual(refused(), []);
  assert.ok(!d.programs.some((p) => p.events.some((e) => JSON.stringify(e).includes("s3cret-key"))), "nothing secret");
  assertSound(d);
});

test("failed_job_is_an_error_and_refused_spans_are_dropped_and_counted", { skip }, async (t) => {
  const { url, set, spans } = await startCollector(t);
  const d = await deployment(t, { endpoint: url });
  await d.queueJobs({ command: "exit 3" });
  await d.untilJobsEnd(1);
  await until("the job's spans", () => spans().find((s) => s.name === "job"));
  assert.equal(spans().find((s) => s.name === "job").status, 2);
  await until("the VM's spans", () => spans().find((s) => s.name === "vm"));
  await set({ status: 400 });
  await d.queueJobs();
  await d.untilJobsEnd(2);
  await d.untilQuiet();
  await until("both batches are dropped", async () => await dropped(d, "delivery_failed") >= 2);
  assertSound(d, ["events_write_failed"]);
});

test("collector_that_is_away_costs_spans_and_delays_nothing", { skip }, async (t) => {
  const { collector, url } = await startCollector(t);
  await collector.stop("SIGKILL");
  const d = await deployment(t, { endpoint: url, buffer: 1 });
  await d.queueJobs({ count: 4 });
  await d.untilJobsEnd(4);
  await d.untilQuiet();
  await until("spans are dropped", async () => await dropped(d, "buffer_full") > 0);
  for (const program of [d.worker, d.reaper]) assert.equal((await program.stop()).code, 0, program.tail());
  assertSound(d, ["events_write_failed", "events_dropped_at_exit"]);
});

test("collector_that_hangs_gets_later_what_fits_the_buffer", { skip }, async (t) => {
  const { url, set, spans } = await startCollector(t);
  const d = await deployment(t, { endpoint: url });
  await set({ status: 503, delay_s: 30 });
  await d.queueJobs({ count: 3 });
  await d.untilJobsEnd(3);
  await d.untilQuiet();
  assert.deepEqual(spans(), []);
  await set({ status: 200 });
  await until("all spans", () => new Set(spans().map((s) => s.span)).size === 3 * STEPS.length);
  assert.equal(await dropped(d, "buffer_full"), 0);
  assertSound(d, ["events_write_failed"]);
});

test("drain_sends_what_is_buffered", { skip }, async (t) => {
  const { url, set, spans } = await startCollector(t);
  const d = await deployment(t, { endpoint: url });
  await set({ status: 503 });
  await d.queueJobs();
  await d.untilJobsEnd(1);
  await d.untilQuiet();
  await set({ status: 200 });
  for (const program of [d.worker, d.reaper]) assert.equal((await program.stop()).code, 0, program.tail());
  assert.deepEqual([...new Set(spans().map((s) => s.name))].sort(), [...STEPS].sort());
  assertSound(d, ["events_write_failed"]);
});

test("check_names_what_is_wrong_with_the_collector", { skip }, async (t) => {
  const { url, spans } = await startCollector(t, "--header", "X-Key: s3cret-key");
  const d = new Deployment();
  t.after(() => d.stop());
  await d.startGitHub();
  const check = (traces, ...more) => {
    d.writeConfig({ traces });
    return spawnSync(d.program("mayfly-worker"), ["--config", d.configFile, "--check-config", ...more], { encoding: "utf8" });
  };
  assert.match(check({ endpoint: url, headers: ["X-Key: s3cret-key"] }, "--online").stdout, /^ok .*traces\.endpoint.*records can be written/m);
  const refused = check({ endpoint: url, headers: ["X-Key: another-key"] }, "--online");
  assert.match(refused.stdout, /^FAIL .*traces\.endpoint.*returned 401/m);
  assert.doesNotMatch(refused.stdout + refused.stderr, /another-key/);
  for (const [traces, words] of [[{ endpoint: "127.0.0.1:4318" }, /traces\.endpoint.*http:\/\//], [{ endpoint: url, headers: ["Bearer abc"] }, /traces\.headers.*Name: value/]]) {
    const { status, stdout, stderr } = check(traces);
    assert.notEqual(status, 0);
    assert.match(stdout + stderr, words);
  }
  assert.deepEqual(spans(), []);
});

// What the real programs export after real work: how many series, in what form, and which program counts for the fleet.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { assertSound } from "../lib/sound.mjs";

const CLASSES = 10;
const SERIES_MAX = 300 + 60 * CLASSES; // of a program
const JOBS_EACH = 2;

const classesOf = (d) => Array.from({ length: CLASSES }, (_, i) =>
  d.fakeQemuClass({ name: `class-${i}`, labels: ["self-hosted", `label-${i}`], required_labels: [`label-${i}`], max_vms: i === 0 ? 1 : 4 }));

async function scrape(program) {
  const { admin_port: port } = program.events.find((e) => e.msg === "started");
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

const seriesOf = (text) => text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));

// The sum of the series of that name whose labels match.
function sum(text, name, labels = /^/) {
  const values = seriesOf(text).filter((line) => line.split(/[{ ]/)[0] === name && labels.test(line)).map((line) => Number(line.slice(line.lastIndexOf(" "))));
  return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0);
}

// Prometheus's own judge.
function assertAccepted(t, name, text) {
  const { error, status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  if (error?.code === "ENOENT") return t.diagnostic("SKIPPED in part: no promtool, so nobody judged the format: install prometheus");
  assert.equal(status, 0, `${name}: ${stdout}${stderr}`);
}

function assertForm(t, name, text) {
  const series = seriesOf(text);
  t.diagnostic(`${name}: ${series.length} series, ${text.length} bytes`);
  assert.ok(series.length <= SERIES_MAX, `${name} has ${series.length} series, at most ${SERIES_MAX} are allowed`);
  assert.deepEqual(series.filter((s) => /[{,](repository|organization|installation|bucket)=/.test(s)), [], name);
  assert.deepEqual(series.filter((s) => s.includes('le="') && !/le="(\+Inf|(0|[1-9]\d*)(\.\d*[1-9])?)"/.test(s)), [], `${name}: bounds as Prometheus writes them`);
  const buckets = new Map();
  for (const s of series.filter((s) => s.includes('le="'))) {
    const key = s.replace(/,?le="[^"]*"/, "").replace(/ .*/, "");
    buckets.set(key, (buckets.get(key) ?? 0) + 1);
  }
  for (const [key, n] of buckets) assert.ok(n <= (key.includes("mayfly_call_seconds") ? 8 : 10), `${key}: ${n} buckets`);
  assertAccepted(t, name, text);
}

// AWS's specification of the embedded metric format.
function assertEmf(line) {
  assert.ok(Buffer.byteLength(line) < 16 * 1024, `a document of ${Buffer.byteLength(line)} bytes`);
  const document = JSON.parse(line);
  const { Timestamp, CloudWatchMetrics, ...more } = document._aws;
  assert.ok(Number.isInteger(Timestamp) && Math.abs(Date.now() - Timestamp) < 120_000);
  assert.deepEqual(more, {});
  assert.ok(CloudWatchMetrics.length >= 1);
  for (const { Namespace, Dimensions, Metrics, ...rest } of CloudWatchMetrics) {
    assert.deepEqual(rest, {});
    assert.match(Namespace, /^[^:].{0,254}$/);
    assert.ok(Dimensions.length >= 1);
    for (const dimension of Dimensions.flat()) {
      assert.ok(["deployment", "class"].includes(dimension));
      assert.equal(typeof document[dimension], "string");
    }
    assert.ok(Metrics.length >= 1 && Metrics.length <= 100);
    for (const { Name, Unit, ...others } of Metrics) {
      assert.deepEqual(others, {});
      assert.ok(["Count", "Seconds", "None"].includes(Unit), `${Name}: ${Unit}`);
      assert.equal(typeof document[Name], "number", Name);
    }
  }
  return document;
}

test("programs_with_ten_classes_export_bounded_series_that_prometheus_accepts", async (t) => {
  const d = new Deployment({ config: { metrics: { emf: true }, worker: { launch_threads: CLASSES }, reaper: { relaunch_after: "2m" } } });
  t.after(() => d.stop());
  d.options.classes = classesOf(d);
  await d.startAll();
  for (let i = 0; i < CLASSES; i++) await d.queueJobs({ labels: ["self-hosted", `label-${i}`], count: JOBS_EACH, command: "sleep 1" });
  await d.untilJobsEnd(CLASSES * JOBS_EACH, { seconds: 300 });
  await d.untilQuiet({ seconds: 180 });
  const texts = { ingress: await scrape(d.ingress), worker: await scrape(d.worker), reaper: await scrape(d.reaper) };
  for (const [name, text] of Object.entries(texts)) {
    assertForm(t, name, text);
    for (const s of ["mayfly_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
      "process_start_time_seconds", "process_open_fds", "process_max_fds"]) assert.ok(sum(text, s) > 0, `${name}: ${s}`);
    if (name !== "reaper") assert.deepEqual(seriesOf(text).filter((s) => /^mayfly_(fleet_(jobs|vms|slots|demand|supply|work)|queue_depth|dead_letters|circuits_open{|quota)/.test(s)), [], "only the lease holder counts the fleet");
  }
  const { worker, reaper } = texts;
  // What the reaper's question to GitHub shows before the delivery is applied, as on a slow machine, is observed by nobody.
  for (const name of ["received_to_launched", "launched_to_online", "queued_to_running", "duration"]) {
    const counts = Array.from({ length: CLASSES }, (_, i) => sum(worker, `mayfly_job_${name}_seconds_count`, new RegExp(`class="class-${i}"`)) ?? 0);
    assert.ok(counts.every((n) => n <= JOBS_EACH), `${name}: no job twice: ${counts}`);
    assert.ok(counts.reduce((a, b) => a + b) >= 0.8 * CLASSES * JOBS_EACH, `${name}: ${counts}`);
  }
  const lives = (sum(worker, "mayfly_vm_life_seconds_count") ?? 0) + (sum(reaper, "mayfly_vm_life_seconds_count") ?? 0);
  const launched = d.worker.events.filter((e) => e.msg === "vm_launched").length;
  assert.equal(lives, launched, "each VM once, by whoever saw its end");
  assert.ok(sum(worker, "mayfly_call_seconds_count", /service="github",operation="register_runner",outcome="ok"/) >= launched);
  await until("the gauges show no slot in use", async () => sum(await scrape(d.reaper), "mayfly_fleet_slots_used") === 0);
  assert.equal(sum(reaper, "mayfly_fleet_slots_max"), 1 + 4 * (CLASSES - 1));
  assert.equal(sum(reaper, "mayfly_fleet_workers"), 1);
  const documents = d.reaper.output.map(assertEmf);
  assert.deepEqual(documents.slice(0, CLASSES + 1).map((e) => [e.deployment, e.class]),
    [["test", undefined], ...d.config.classes.map((c) => ["test", c.name])]);
  assert.deepEqual([...d.worker.output, ...d.ingress.output], [], "only the lease holder writes documents");
  assertSound(d);
});

test("fleet_is_counted_by_the_reaper_with_the_lease_alone", async (t) => {
  const d = new Deployment({ config: { metrics: { emf: true }, reaper: { interval: "200ms", lease_duration: "6s" } } });
  t.after(() => d.stop());
  await d.startAll();
  const first = d.reaper;
  const counts = async (reaper) => sum(await scrape(reaper), "mayfly_fleet_vms_max");
  await until("the first counts", async () => await counts(first) === 50, { seconds: 180 });
  const second = await d.startReaper();
  await until("the second has looked", async () => sum(await scrape(second), "mayfly_reaper_leader") === 0);
  assert.equal(await counts(second), undefined);
  first.process.kill("SIGSTOP"); // frozen past its lease
  await until("the second counts", async () => await counts(second) === 50, { seconds: 180 });
  first.process.kill("SIGCONT");
  assert.equal(await counts(first), undefined, "it has lost the lease, and knows it at once");
  assert.equal(await counts(second), 50);
  assert.ok(second.output.length > 0);
});

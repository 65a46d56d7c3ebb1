// What the page makes of a job's timeline and of the stream's bytes, without a browser.
import test from "node:test";
import assert from "node:assert/strict";
import { decoded, follow, parseEvents, SILENCE_MS } from "../../../deploy/ctl/console/page/api.mjs";
import { coarse, duration, plain } from "../../../deploy/ctl/console/page/dom.mjs";
import { linesOf, rowsOf, stepsOf } from "../../../deploy/ctl/console/page/job.mjs";
import { remember } from "../../../deploy/ctl/console/page/overview.mjs";

const at = (seconds) => new Date(Date.UTC(2026, 10, 30, 12) + seconds * 1000).toISOString();
const line = (seconds, what, vm = "") => ({ at: at(seconds), what, vm, detail: "" });
const usual = { jobs: 9, steps: [{ what: "reserved", after_ms: 100 }, { what: "registered", after_ms: 300 }, { what: "launched", after_ms: 1300 }, { what: "running", after_ms: 5300 }] };
const shape = (rows) => rows.map((r) => [r.what, r.state, r.to - r.from, r.usualMs]);

test("steps_of_a_job_that_ran_are_those_of_its_own_vm", () => {
  const way = stepsOf({ received_at: at(0), runner: "vm-2", timeline: [line(0, "received"), line(1, "reserved", "vm-1"), line(2, "retry", "vm-1"), line(5, "reserved", "vm-2"), line(6, "registered", "vm-2"), line(8, "launched", "vm-2"), line(12, "running"), line(20, "done")] });
  assert.deepEqual(shape(rowsOf(way, usual, 0)), [["reserved", "past", 5000, 100], ["registered", "past", 1000, 200], ["launched", "past", 2000, 1000], ["running", "past", 4000, 4000]]);
  assert.equal(way.end.at - way.running, 8000);
});

test("step_that_a_waiting_job_is_in_grows_and_later_ones_are_to_come", () => {
  const way = stepsOf({ received_at: at(0), runner: "", timeline: [line(0, "received"), line(1, "reserved", "vm-1"), line(2, "registered", "vm-1")] });
  assert.deepEqual(shape(rowsOf(way, usual, Date.parse(at(7)))), [["reserved", "past", 1000, 100], ["registered", "past", 1000, 200], ["launched", "now", 5000, 1000], ["running", "next", 0, 4000]]);
});

test("job_on_a_vm_that_was_launched_before_it_has_no_negative_step", () => {
  const way = stepsOf({ received_at: at(10), runner: "vm-1", timeline: [line(1, "reserved", "vm-1"), line(2, "registered", "vm-1"), line(3, "launched", "vm-1"), line(10, "received"), line(11, "running")] });
  assert.deepEqual(shape(rowsOf(way, null, 0)), [["reserved", "past", 0, null], ["registered", "past", 0, null], ["launched", "past", 0, null], ["running", "past", 1000, null]]);
});

test("steps_that_a_program_logs_of_a_boot_are_shown", () => {
  const way = stepsOf({ received_at: at(0), runner: "v", timeline: [line(0, "received"), line(1, "reserved", "v"), line(2, "registered", "v"), line(3, "launched", "v"), line(5, "booted", "v"), line(6, "online", "v"), line(7, "running")] });
  assert.deepEqual(rowsOf(way, null, 0).map((r) => r.what), ["reserved", "registered", "launched", "booted", "online", "running"]);
});

test("cancelled_job_has_no_step_that_goes_on", () => {
  const way = stepsOf({ received_at: at(0), runner: "", timeline: [line(0, "received"), line(4, "cancelled")] });
  assert.deepEqual(rowsOf(way, usual, Date.parse(at(9))).filter((r) => r.state === "now"), []);
});

test("end_of_a_console_is_one_text", () => {
  const console = (vm, detail) => ({ ...line(1, "console", vm), detail });
  const lines = linesOf([line(0, "received"), console("a", "one\ntwo\n"), console("a", "three"), console("b", "other"), line(2, "gone", "a")]);
  assert.deepEqual(lines.map((l) => [l.what, l.vm, l.output]), [["received", "", undefined], ["console", "a", "one\ntwo\nthree"], ["console", "b", "other"], ["gone", "a", undefined]]);
});

test("events_come_whole_whatever_pieces_their_bytes_come_in", () => {
  const bytes = 'retry: 2000\n\nevent: snapshot\ndata: {"a":"x\\ny"}\n\nevent: trouble\ndata: {"b":2}\n\n';
  for (let size = 1; size < bytes.length; size += 3) {
    const got = [];
    let rest = "";
    for (let i = 0; i < bytes.length; i += size) rest = parseEvents(rest + bytes.slice(i, i + size), (name, data) => got.push([name, data]));
    assert.deepEqual(got, [["snapshot", { a: "x\ny" }], ["trouble", { b: 2 }]]);
    assert.equal(rest, "");
  }
});

test("characters_that_deceive_are_shown_and_others_kept", () => {
  assert.equal(plain("a\u202eb\u0000c\u200b"), "a\\u202eb\\u0000c\\u200b");
  assert.equal(plain("Grüße <b>日本 👋"), "Grüße <b>日本 👋");
});

test("durations_are_as_precise_as_one_can_use", () => {
  assert.deepEqual([0, 40, 1400, 9960, 59400, 65000, 3600000 * 3 + 60000, 86400000 * 5].map(duration), ["0 ms", "40 ms", "1.4 s", "10 s", "59 s", "1m 05s", "3h 01m", "5d 0h"]);
  assert.deepEqual([-5, 400, 9000, 61000].map(coarse), ["0 s", "0 s", "9 s", "1m 01s"]);
});

// A computer that slept, or a server that hangs: the connection does not end, and nothing comes.
test("stream_that_falls_silent_is_said_to_be_and_followed_anew", async (t) => {
  const told = [];
  const timers = new Map(); // number -> { call, ms }
  const event = new TextEncoder().encode("event: snapshot\ndata: {\"every_ms\":2000}\n\n");
  const stubs = {
    document: { hidden: false, addEventListener() {}, removeEventListener() {} },
    sessionStorage: { getItem: () => null },
    setTimeout: (call, ms) => { timers.set(timers.size + 1, { call, ms }); return timers.size; },
    clearTimeout: (number) => { if (number) timers.get(number).call = null; },
    fetch: async (path, { signal }) => ({ ok: true, body: new ReadableStream({ start(c) { c.enqueue(event); signal.addEventListener("abort", () => c.error(signal.reason)); } }) }),
  };
  const own = Object.keys(stubs).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  t.after(() => own.forEach(([name, was]) => (was ? Object.defineProperty(globalThis, name, was) : delete globalThis[name])));
  for (const [name, value] of Object.entries(stubs)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  const passes = async (ms) => {
    const waits = () => [...timers.values()].find((timer) => timer.call && timer.ms === ms);
    while (!waits()) await new Promise(setImmediate);
    const { call } = waits();
    waits().call = null;
    call();
  };
  follow((name, data) => told.push([name, data.every_ms]), (...words) => told.push(words));
  for (const ms of [SILENCE_MS + 4000, 1000]) await passes(ms); // the silence, and the pause
  while (told.length < 3) await new Promise(setImmediate);
  assert.deepEqual(told, [["snapshot", 2000], ["lost", "no news for 19 s"], ["snapshot", 2000]]);
});

test("address_that_cannot_be_decoded_is_taken_as_it_is", () => {
  assert.deepEqual(["4%202", "%", "%E0%A4%A", ""].map(decoded), ["4 2", "%", "%E0%A4%A", ""]);
});

test("clock_that_is_set_back_leaves_nothing_of_the_future_in_the_chart", () => {
  const kept = [];
  for (const seconds of [0, 1, 2, 3600, 3601, 3, 4]) remember({ status: { at: at(seconds), classes: [], fleet: { slots_used: 0, slots: 0 } } }, kept);
  assert.deepEqual(kept.map((p) => (p.at - Date.parse(at(0))) / 1000), [0, 1, 2, 3, 4]);
  for (let i = 0; i < 1000; i++) remember({ status: { at: at(5 + i), classes: [], fleet: { slots_used: 0, slots: 0 } } }, kept);
  assert.equal(kept.length, 900);
});

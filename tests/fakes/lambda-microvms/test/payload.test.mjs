/*
 * The fake unpacks exactly what the agent unpacks, and refuses what it refuses. test/vectors.json was made by
 * payload_tool.c (node test/make_vectors.mjs TOOL); with MAYFLY_PAYLOAD_TOOL set, the tool itself is asked too.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { Random } from '../../lib/random.mjs';
import { PayloadError, unpack } from '../lib/payload.mjs';
import { damage, samples } from './samples.mjs';

const TOOL = process.env.MAYFLY_PAYLOAD_TOOL;
const vectors = JSON.parse(fs.readFileSync(new URL('vectors.json', import.meta.url), 'utf8'));

/** {members}, or {error: true}. Anything but a PayloadError is a bug. */
function ours(packed) {
  try {
    return unpack(packed);
  } catch (error) {
    if (error instanceof PayloadError) return { error: true };
    throw error;
  }
}

function theirs(requests) {
  const { stdout, status } = spawnSync(TOOL, { input: requests.map((r) => `${JSON.stringify(r)}\n`).join(''), maxBuffer: 1 << 28, encoding: 'utf8' });
  assert.equal(status, 0);
  const answers = stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(answers.length, requests.length);
  return answers;
}

const plain = (answer) => (answer.error ? { error: true } : answer);

test('payloads_of_the_c_program_unpack_to_what_went_in', () => {
  assert.ok(vectors.length >= 10);
  for (const { sample, packed } of vectors) {
    assert.ok(packed.length <= 4096);
    assert.deepEqual(unpack(packed), sample);
  }
});

test('damaged_payloads_are_refused', () => {
  const random = new Random(7);
  for (const { packed } of vectors) {
    for (let i = 0; i < 50; i++) assert.throws(() => unpack(damage(packed, random)), PayloadError);
  }
  for (const text of ['', 'AA==', 'AgAAAAA=', 'not base64', 'AQAAAAA=', 'A']) assert.throws(() => unpack(text), PayloadError);
});

test('unpacking_equals_the_c_program', { skip: TOOL ? false : 'MAYFLY_PAYLOAD_TOOL is not set' }, () => {
  const random = new Random(Number(process.env.MAYFLY_SEED ?? 42));
  const all = samples(random, 60);
  const packed = theirs(all.map((sample) => ({ op: 'pack', ...sample }))).flatMap((answer) => (answer.packed ? [answer.packed] : []));
  assert.ok(packed.length >= 40);
  const broken = packed.flatMap((text) => Array.from({ length: 40 }, () => damage(text, random)));
  const told = theirs([...packed, ...broken].map((text) => ({ op: 'unpack', packed: text })));
  [...packed, ...broken].forEach((text, i) => assert.deepEqual(ours(text), plain(told[i]), text));
  assert.equal(told.slice(0, packed.length).filter((answer) => answer.error).length, 0);
});

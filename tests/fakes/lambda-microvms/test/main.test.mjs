/* The program as it is started: its first line, its log, its options, its control. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, readLog, refusesOptions, temporary } from '../../lib/testing.mjs';
import { IMAGE, startFake } from './support.mjs';

const MAIN = fileURLToPath(new URL('../main.mjs', import.meta.url));

test('program_tells_its_address_and_logs_every_call', async (t) => {
  const log = path.join(temporary(t), 'log.jsonl');
  const { url, stop } = await launch(t, MAIN, '--port', '0', '--log', log, '--run-rate=0', '--image', 'mayfly=512');
  const response = await fetch(`${url}/2025-09-09/microvms`, { method: 'POST', body: JSON.stringify({ imageIdentifier: IMAGE, runHookPayload: 'geheim' }) });
  assert.equal(response.status, 200);
  assert.equal(await stop(), 0);
  const entries = readLog(log);
  const events = entries.map((entry) => entry.event);
  assert.deepEqual([events[0], events.at(-1)], ['started', 'stopped']);
  assert.ok(events.includes('vm_requested') && events.includes('request'));
  assert.ok(events.indexOf('vm_requested') < events.indexOf('request'));
  assert.doesNotMatch(JSON.stringify(entries), /geheim/);
});

test('program_refuses_options_it_does_not_know', () => {
  refusesOptions(MAIN, ['--nonsense'], ['--port'], ['--port', 'x'], ['--error-style', 'xml']);
});

test('control_refuses_what_makes_no_sense', async (t) => {
  const fake = await startFake(t);
  await assert.rejects(fake.ask('POST', '/config', { port: 1 }), /cannot be changed/);
  await assert.rejects(fake.ask('POST', '/config', { run_rate: 'many' }), /not a number/);
  await assert.rejects(fake.ask('POST', '/config', { images: [{ name: '' }] }), /an image has a name/);
  await assert.rejects(fake.ask('POST', '/faults', [{ status: 500 }]), /names an operation/);
  await assert.rejects(fake.ask('POST', '/faults', [{ operation: 'RunMicrovm', preset: 'x' }]), /unknown preset/);
  await assert.rejects(fake.ask('POST', '/faults', [{ operation: 'RunMicrovm' }]), /has a preset/);
  await assert.rejects(fake.ask('GET', '/vms/x'), /no VM/);
  await assert.rejects(fake.ask('GET', '/wait?nonsense=1'), /cannot wait/);
  assert.equal((await fake.ask('GET', '/wait?launched=1&timeout=0.01')).met, false);
  assert.equal(fake.entries.filter((entry) => entry.event === 'internal_error').length, 0);
});

test('chance_follows_the_seed', async (t) => {
  const refusals = async (seed) => {
    const fake = await startFake(t, { seed });
    await fake.ask('POST', '/faults', { operation: 'RunMicrovm', preset: 'throttle', probability: 0.5 });
    const statuses = [];
    for (let i = 0; i < 24; i++) {
      statuses.push((await fetch(`${fake.url}/2025-09-09/microvms`, { method: 'POST', body: JSON.stringify({ imageIdentifier: IMAGE }) })).status);
    }
    return statuses.join();
  };
  const first = await refusals(3);
  assert.equal(await refusals(3), first);
  assert.notEqual(await refusals(4), first);
  assert.match(first, /429/);
  assert.match(first, /200/);
});

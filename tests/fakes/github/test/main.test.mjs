import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeJitConfig } from '../../lib/runner_client.mjs';
import { launch, readLog, refusesOptions, temporary } from '../../lib/testing.mjs';
import { startFake } from './support.mjs';

const MAIN = fileURLToPath(new URL('../main.mjs', import.meta.url));

test('program_tells_its_address_logs_and_ends_on_sigterm', async (t) => {
  const log = path.join(temporary(t), 'github.jsonl');
  const { url, stop } = await launch(t, MAIN, '--port', '0', '--log', log, '--token=ghp_x', '--org', 'acme', '--validate', '--runner-url', 'http://10.0.2.2:{PORT}', '--web-url', 'https://github.example.com');
  const response = await fetch(`${url}/orgs/acme/actions/runners/generate-jitconfig`, {
    method: 'POST', headers: { authorization: 'Bearer ghp_x', 'user-agent': 'test', 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'vm', runner_group_id: 1, labels: ['a'] }),
  });
  const { encoded_jit_config: blob } = await response.json();
  const { '.runner': settings, '.credentials': credentials } = decodeJitConfig(blob);
  for (const address of [settings.ServerUrl, settings.ServerUrlV2, credentials.data.authorizationUrl]) {
    assert.ok(address.startsWith(`http://10.0.2.2:${new URL(url).port}/_runner/`), address);
  }
  assert.equal(settings.GitHubUrl, 'https://github.example.com/acme');
  assert.equal(await stop(), 0);
  const entries = readLog(log);
  assert.deepEqual(entries.map((entry) => entry.event), ['started', 'runner_registered', 'request', 'stopped']);
  assert.ok(entries.every((entry) => Number.isInteger(entry.ts_ms)));
  assert.doesNotMatch(JSON.stringify(entries), /ghp_x/);
});

test('program_refuses_options_it_does_not_know', () => {
  refusesOptions(MAIN, ['--nonsense'], ['--port'], ['--port', 'x'], ['--webhook-secret-is', 'xml']);
});

test('wait_answers_when_the_counts_are_reached_or_the_time_is_over', async (t) => {
  const fake = await startFake(t);
  const waiting = fake.ask('GET', '/wait?jobs_cancelled=2&jobs_queued_max=0&timeout=20');
  const jobs = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['x'], count: 2 });
  for (const { id } of jobs) await fake.ask('POST', `/jobs/${id}/cancel`);
  assert.deepEqual([(await waiting).met, (await waiting).jobs_completed], [true, 2]);
  assert.equal((await fake.ask('GET', '/wait?jobs_total=3&timeout=0.05')).met, false);
  await assert.rejects(fake.ask('GET', '/wait?jobs_nonsense=3'), /cannot wait/);
});

test('control_refuses_what_makes_no_sense', async (t) => {
  const fake = await startFake(t);
  await assert.rejects(fake.ask('POST', '/config', { port: 1 }), /cannot be changed/);
  await assert.rejects(fake.ask('POST', '/config', { rate_limit: 'many' }), /not a whole number/);
  await assert.rejects(fake.ask('POST', '/faults', [{ status: 500 }]), /names an operation/);
  await assert.rejects(fake.ask('POST', '/jobs', { repo: 'nowhere' }), /not owner\/name/);
  await assert.rejects(fake.ask('POST', '/jobs', { repo: 'a/b', labels: 'linux' }), /list of texts/);
  await assert.rejects(fake.ask('GET', '/jobs/1'), /404/);
  await assert.rejects(fake.ask('POST', '/webhook-url', { url: 'nonsense' }), /400/);
  assert.equal(fake.entries.filter((entry) => entry.event === 'internal_error').length, 0);
});

/* The runner's side as the protocol has it; ../README.md names its calls. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { TestRunner, startFake } from './support.mjs';

const queue = async (fake, command) => (await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], command }))[0].id;
const count = (fake, event) => fake.entries.filter((entry) => entry.event === event).length;
const polls = async (fake) => { for (let open = false; !open;) [{ polling: open }] = await fake.ask('GET', '/runners'); };

/** A runner that has the message of its job, and the message. */
async function withMessage(t, command = 'true', settings = {}) {
  const fake = await startFake(t, settings);
  const runner = await TestRunner.online(fake, 'r');
  const id = await queue(fake, command);
  const { body } = await runner.client.message();
  return { fake, runner, id, request: body };
}

test('token_needs_an_assertion_of_the_registrations_own_key', async (t) => {
  const fake = await startFake(t);
  const { client } = await TestRunner.register(fake, 'r');
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const now = Math.floor(Date.now() / 1000);
  const refused = async (assertion, description) => {
    const { status, json } = await client.fetchToken(assertion);
    assert.deepEqual([status, json.error], [400, 'invalid_client']);
    assert.match(json.error_description, description);
  };
  await refused(client.assertion({ iss: 'another', sub: 'another' }), /Registration another was not found/);
  await refused(client.assertion({ aud: 'https://elsewhere' }), /another client or audience/);
  await refused(client.assertion({ exp: now - 1 }), /Current server time is/);
  await refused(client.assertion({ nbf: now + 3000, exp: now + 3300 }), /Current server time is/);
  const good = client.key;
  client.key = privateKey;
  await refused(undefined, /signature/);
  client.key = good;
  for (const fips of ['True', 'False']) {
    client.credentials.requireFipsCryptography = fips;
    const { status, json } = await client.fetchToken();
    assert.deepEqual([status, json.token_type], [200, 'bearer']);
  }
  await fake.ask('POST', '/runners/r/vanish');
  await refused(undefined, /was not found/);
});

test('calls_without_a_token_of_their_kind_are_401', async (t) => {
  const { fake, runner, request } = await withMessage(t);
  const { client } = runner;
  const { token } = client;
  await client.acquire(request);
  for (const wrong of [null, 'x', client.job.token, token.replace('runner.', 'job.'), `${token}x`]) {
    assert.equal((await client.call('GET', `${client.broker}message?${client.query('Online')}`, { token: wrong })).status, 401, wrong);
  }
  client.job.token = token;
  assert.equal((await client.renew()).status, 401);
  assert.equal((await fetch(`${fake.url}/_runner/nonsense`)).status, 404);
});

test('session_v2_is_one_at_a_time_and_ends_when_it_is_deleted', async (t) => {
  const fake = await startFake(t, { offline_after_s: 2 });
  const runner = await TestRunner.register(fake, 'r');
  const { status, json } = await runner.open();
  assert.equal(status, 200);
  assert.deepEqual(json.encryptionKey, { encrypted: false, value: '' });
  assert.equal((await runner.open()).status, 409);
  await fake.happened('runner_offline', { runner: 'r', why: 'silent' });
  assert.equal((await runner.open()).status, 200);
  const old = runner.client.session;
  assert.equal((await runner.client.close()).status, 200);
  await fake.happened('runner_offline', { runner: 'r', why: 'session deleted' });
  assert.equal((await runner.open()).status, 200);
  runner.client.session = old;
  assert.equal((await runner.poll()).kind, 'RunnerSessionInvalid');
  await fake.ask('POST', '/runners/r/vanish');
  assert.equal((await runner.open()).kind, 'RunnerNotFound');
  assert.equal((await runner.poll()).kind, 'RunnerNotFound');
  assert.equal((await runner.client.close()).status, 401);
});

for (const way of ['session', 'message']) {
  test(`session_v1_finds_its_way_to_the_broker_by_the_${way}`, async (t) => {
    const fake = await startFake(t, { v1_migration: way });
    const { client, jit } = await TestRunner.register(fake, 'r');
    await client.fetchToken();
    const server = jit['.runner'].ServerUrl.replace(/\/$/, '');
    const { json: data } = await client.call('GET', `${server}/_apis/connectionData?connectOptions=1`);
    const path = (id) => data.locationServiceData.serviceDefinitions.find(({ identifier }) => identifier === id).relativePath.replace('{poolId}', '1');
    const sessions = server + path('134e239e-2df3-4794-a6f6-24f1f19ec8dc').replace('/{sessionId}', '');
    const messages = server + path('c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7').replace('/{messageId}', '');
    const { status, json: session } = await client.call('POST', sessions, { body: { SessionID: '', Agent: { ID: 1, Version: '3.0.0' } } });
    assert.equal(status, 200);
    assert.equal(session.agent.version, '3.0.0');
    client.session = session.sessionId;
    const { brokerBaseUrl } = session.brokerMigrationMessage ?? JSON.parse((await client.call('GET', `${messages}?sessionId=${client.session}`)).json.body);
    assert.equal(brokerBaseUrl, client.broker);
    if (way === 'session') await client.open();
    const id = await queue(fake, 'true');
    assert.equal((await client.message()).body.id, String(id));
    assert.equal((await client.call('POST', sessions, { body: {} })).status, 409);
    await fake.ask('POST', '/runners/r/vanish');
    assert.equal((await client.call('POST', sessions, { body: {} })).json.typeKey, 'TaskAgentNotFoundException');
  });
}

test('poll_waits_for_a_job_and_is_202_and_empty_when_none_comes', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  fake.config.poll_wait_s = 0.05;
  const { status, text } = await runner.client.message();
  assert.deepEqual([status, text], [202, '']);
  const polling = runner.poll(30);
  await polls(fake);
  const id = await queue(fake, 'echo "a b"');
  assert.deepEqual(await polling, { status: 200, job: id, command: 'echo "a b"' });
  assert.equal((await runner.poll()).status, 202);
  assert.equal(count(fake, 'job_started'), 1);
});

test('poll_ends_at_once_when_the_registration_goes', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  const polling = runner.poll(30);
  await polls(fake);
  await fake.ask('POST', '/runners/r/vanish');
  assert.equal((await polling).kind, 'RunnerNotFound');
});

test('poll_of_a_machine_that_died_takes_no_job', async (t) => {
  const fake = await startFake(t, { pickup_timeout_s: 2 });
  const runner = await TestRunner.online(fake, 'r');
  await fake.ask('POST', '/faults', { operation: 'runner-message', delay_ms: 1000, times: 1 });
  const dying = new AbortController();
  const polling = runner.poll(30, dying.signal);
  await fake.happened('fault', { operation: 'runner-message' });
  dying.abort();
  await assert.rejects(polling);
  const id = await queue(fake, 'true');
  await fake.happened('job_requeued', { job: id });
  assert.equal(count(fake, 'job_started'), 0);
});

test('old_runners_are_refused_where_a_minimum_is_set', async (t) => {
  const fake = await startFake(t, { min_runner_version: '2.338.0' });
  const runner = await TestRunner.online(fake, 'r');
  assert.equal((await runner.poll()).kind, 'RunnerVersionTooOld');
  await fake.ask('POST', '/config', { min_runner_version: '2.9.100' });
  assert.equal((await runner.poll()).status, 202);
});

test('message_that_was_lost_comes_again_when_the_job_was_not_picked_up', async (t) => {
  const fake = await startFake(t, { pickup_timeout_s: 1 });
  const runner = await TestRunner.online(fake, 'r');
  const id = await queue(fake, 'true');
  await fake.ask('POST', '/faults', { operation: 'runner-message', drop: true, times: 1 });
  await assert.rejects(runner.poll());
  assert.equal((await runner.poll(30)).job, id);
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).requeues, 1);
});

test('job_is_in_progress_once_it_is_acquired_and_only_for_its_runner', async (t) => {
  const { fake, runner, id, request } = await withMessage(t);
  const { client } = runner;
  const other = await TestRunner.online(fake, 'other');
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).state, 'assigned');
  assert.equal((await client.acknowledge(request)).status, 200);
  assert.equal((await client.acknowledge({ runner_request_id: 'x' })).kind, 'AcknowledgeJobNotFound');
  const taken = await other.client.acquire(request);
  assert.deepEqual([taken.status, taken.json.source, taken.json.errorMessage], [409, 'actions-run-service', 'job assignment is invalid: MissingKey']);
  assert.equal((await client.acquire({ ...request, runner_request_id: '' })).status, 422);
  for (let twice = 0; twice < 2; twice++) assert.equal((await client.acquire(request)).status, 200);
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).state, 'in_progress');
  assert.equal(count(fake, 'job_started'), 1);
});

test('job_cancelled_before_it_was_acquired_is_404_and_takes_the_runner_with_it', async (t) => {
  const { fake, runner, id, request } = await withMessage(t);
  await fake.ask('POST', `/jobs/${id}/cancel`);
  const { status, json } = await runner.client.acquire(request);
  assert.deepEqual([status, json.source, json.errorMessage], [404, 'actions-run-service', 'job was canceled']);
  await fake.happened('runner_removed', { runner: 'r', reason: 'job-cancelled' });
});

test('job_that_is_not_renewed_is_lost', async (t) => {
  const { fake, runner, id, request } = await withMessage(t, 'true', { job_lock_s: 1 });
  await runner.client.acquire(request);
  const { json } = await runner.client.renew();
  assert.ok(Date.parse(json.lockedUntil) > Date.now());
  await fake.happened('job_lost', { job: id });
  assert.equal((await runner.client.renew()).status, 404);
  assert.equal((await runner.client.complete('succeeded')).status, 404);
});

test('cancelled_job_is_the_runners_to_end_while_it_polls', async (t) => {
  const { fake, runner, id, request } = await withMessage(t);
  await runner.client.acquire(request);
  fake.config.poll_wait_s = 30;
  const polling = runner.client.message('Busy');
  await polls(fake);
  await fake.ask('POST', `/jobs/${id}/cancel`);
  const { type, body } = await polling;
  assert.deepEqual([type, body.jobId], ['JobCancellation', runner.client.job.id]);
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).state, 'in_progress');
  assert.equal((await runner.client.complete('canceled')).status, 200);
  assert.deepEqual([(await fake.ask('GET', `/jobs/${id}`)).conclusion, count(fake, 'job_finished')], ['cancelled', 1]);
});

test('cancelled_job_that_its_runner_does_not_end_ends_all_the_same', async (t) => {
  const { fake, runner, id, request } = await withMessage(t, 'true', { cancel_timeout_s: 0.2 });
  await runner.client.acquire(request);
  fake.config.poll_wait_s = 30;
  const polling = runner.client.message('Busy');
  await polls(fake);
  await fake.ask('POST', `/jobs/${id}/cancel`);
  assert.equal((await polling).type, 'JobCancellation');
  await fake.happened('job_finished', { job: id, conclusion: 'cancelled' });
});

test('any_message_can_be_sent_a_second_job_too', async (t) => {
  const { fake, runner, id } = await withMessage(t);
  await fake.ask('POST', '/runners/r/message', { type: 'RunnerJobRequest' });
  assert.equal((await runner.client.message('Busy')).body.id, String(id));
  await fake.ask('POST', '/runners/r/message', { type: 'ForceTokenRefresh', body: { x: 1 } });
  const { type, body } = await runner.client.message('Busy');
  assert.deepEqual([type, body], ['ForceTokenRefresh', { x: 1 }]);
});

test('steps_and_logs_arrive_and_make_the_jobs_output', async (t) => {
  const { fake, runner, id, request } = await withMessage(t);
  const { client } = runner;
  await client.acquire(request);
  const step = { external_id: client.job.step, number: 2, name: 'Run command', status: 6, conclusion: 3, started_at: null, completed_at: null };
  assert.deepEqual((await client.reportSteps([{ ...step, status: 3, conclusion: 0 }])).json, { ok: true });
  await client.reportSteps([step]);
  assert.equal((await client.log('one\n\n  two', 7)).status, 200);
  await client.complete('failed');
  const job = await fake.ask('GET', `/jobs/${id}`);
  assert.deepEqual([job.conclusion, job.exit, job.output], ['failure', 7, 'one\n\n  two\n']);
  assert.deepEqual(job.steps.map(({ number, status, conclusion }) => [number, status, conclusion]), [[2, 6, 3]]);
  const { logs, step: name } = await fake.ask('GET', `/jobs/${id}/logs`);
  assert.match(logs[name], /^\d{4}-\d\d-\d\dT[\d:.]{16}Z one\n\n/);
});

test('log_is_appended_until_it_is_sealed_to_its_signed_url_alone', async (t) => {
  const { fake, runner, id, request } = await withMessage(t);
  const { client } = runner;
  await client.acquire(request);
  const { job } = client;
  const { json } = await client.ofJob(`${job.results}twirp/results.services.receiver.Receiver/GetStepLogsSignedBlobURL`, {
    workflow_run_backend_id: job.planId, workflow_job_run_backend_id: job.id, step_backend_id: job.step,
  });
  assert.deepEqual([json.blob_storage_type, json.soft_size_limit], ['BLOB_STORAGE_TYPE_AZURE', '1048576']);
  const put = async (url, headers, body) => (await client.send({ method: 'PUT', url, headers, body })).status;
  assert.equal(await put(`${json.logs_url}&comp=appendblock`, {}, 'early'), 404);
  assert.equal(await put(json.logs_url, { 'x-ms-blob-type': 'AppendBlob' }, ''), 201);
  assert.equal(await put(`${json.logs_url}&comp=appendblock`, { 'x-ms-blob-sealed': 'False' }, 'a\n'), 201);
  assert.equal(await put(`${json.logs_url}&comp=appendblock&seal=true`, { 'x-ms-blob-sealed': 'True' }, 'b\n'), 201);
  assert.equal(await put(`${json.logs_url}&comp=appendblock`, {}, 'late'), 409);
  assert.equal(await put(json.logs_url.replace(/sig=.*/, 'sig=x'), { 'x-ms-blob-type': 'BlockBlob' }, 'x'), 403);
  await client.complete('succeeded');
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).output, 'a\nb\n');
});

test('completion_repeated_after_a_lost_answer_counts_once', async (t) => {
  const { fake, runner, id, request } = await withMessage(t);
  await runner.client.acquire(request);
  await fake.ask('POST', '/faults', { operation: 'runner-complete', drop: true, times: 1 });
  await assert.rejects(runner.finish(0, 'hello'));
  assert.equal(await runner.finish(), 200);
  runner.client.job.id = crypto.randomUUID();
  assert.equal(await runner.finish(), 404);
  assert.equal(count(fake, 'job_finished'), 1);
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).output, 'hello');
});

const PRESETS = [
  ['registration-gone', 'runner-token', (client) => client.fetchToken(), 400, 'invalid_client'],
  ['clock-off', 'runner-token', (client) => client.fetchToken(), 400, 'invalid_client'],
  ['session-conflict', 'runner-session', (client) => client.open(), 409, 'RunnerSessionConflict'],
  ['runner-not-found', 'runner-message', (client) => client.message(), 404, 'RunnerNotFound'],
  ['session-invalid', 'runner-message', (client) => client.message(), 404, 'RunnerSessionInvalid'],
  ['version-too-old', 'runner-message', (client) => client.message(), 403, 'RunnerVersionTooOld'],
  ['nothing-yet', 'runner-message', (client) => client.message(), 202, null],
  ['acknowledge-not-found', 'runner-acknowledge', (client, request) => client.acknowledge(request), 404, 'AcknowledgeJobNotFound'],
  ['job-canceled', 'runner-acquire', (client, request) => client.acquire(request), 404, null],
  ['job-taken', 'runner-acquire', (client, request) => client.acquire(request), 409, null],
  ['job-unprocessable', 'runner-acquire', (client, request) => client.acquire(request), 422, null],
  ['unauthorized', 'runner-session-delete', (client) => client.close(), 401, null],
];

for (const [preset, operation, call, status, kind] of PRESETS) {
  test(`preset_${preset}_is_for_one_runner_where_it_names_one`, async (t) => {
    const { fake, runner, request } = await withMessage(t);
    fake.config.poll_wait_s = 0.05;
    await fake.ask('POST', '/faults', [{ operation, preset, runner: 'another' }, { operation, preset, times: 1 }]);
    const answer = await call(runner.client, request);
    assert.deepEqual([answer.status, answer.kind], [status, kind]);
    assert.equal(count(fake, 'fault'), 1);
  });
}

test('expired_signature_refuses_a_log', async (t) => {
  const { fake, runner, request } = await withMessage(t);
  await runner.client.acquire(request);
  await fake.ask('POST', '/faults', { operation: 'runner-blob', preset: 'signature-expired', times: 1 });
  assert.equal((await runner.client.log('x\n')).status, 403);
  assert.equal((await runner.client.log('x\n')).status, 200);
});

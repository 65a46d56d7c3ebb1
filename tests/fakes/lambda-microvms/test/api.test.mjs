/* The service, judged by AWS's own client. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AccessDeniedException, ConflictException, GetMicrovmCommand, GetMicrovmImageCommand, GetMicrovmImageVersionCommand,
  InsufficientCapacityException, InternalServerException, ListMicrovmImagesCommand, ListMicrovmImageVersionsCommand, ListMicrovmsCommand,
  ResourceNotFoundException, RunMicrovmCommand, ServiceQuotaExceededException, TerminateMicrovmCommand, ThrottlingException,
  ValidationException, paginateListMicrovms,
} from '@aws-sdk/client-lambda-microvms';
import { IMAGE, client, startFake } from './support.mjs';

const run = (fields = {}) => new RunMicrovmCommand({ imageIdentifier: IMAGE, maximumDurationInSeconds: 600, logging: { disabled: {} }, ...fields });
const fails = (promise, type, message) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof type, `${error.name}: ${error.message}`);
  if (message) assert.match(error.message, message);
  assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
  return true;
});

async function listAll(c, input = {}) {
  const ids = [];
  for await (const page of paginateListMicrovms({ client: c }, input)) ids.push(...page.items.map((item) => item.microvmId));
  return ids;
}

test('run_is_told_by_get_and_list_until_terminated', async (t) => {
  const fake = await startFake(t, { start_ms: 0 });
  const c = client(t, fake);
  const vm = await c.send(run({ egressNetworkConnectors: ['arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS'] }));
  assert.equal(vm.state, 'PENDING');
  assert.equal(vm.imageArn, IMAGE);
  assert.equal(vm.imageVersion, '1.0');
  assert.equal(vm.maximumDurationInSeconds, 600);
  assert.ok(vm.startedAt instanceof Date && Math.abs(vm.startedAt.getTime() - Date.now()) < 60_000);
  await fake.happened('vm_state', { microvm: vm.microvmId, state: 'RUNNING' });
  const told = await c.send(new GetMicrovmCommand({ microvmIdentifier: vm.microvmId }));
  assert.equal(told.state, 'RUNNING');
  assert.equal(told.egressNetworkConnectors.length, 1);
  assert.equal(told.runHookPayload, undefined);
  const { items } = await c.send(new ListMicrovmsCommand({ imageIdentifier: IMAGE }));
  assert.deepEqual(items.map(({ microvmId, state }) => [microvmId, state]), [[vm.microvmId, 'RUNNING']]);
  await c.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.microvmId }));
  await fake.happened('vm_ended', { microvm: vm.microvmId });
  const ended = await c.send(new GetMicrovmCommand({ microvmIdentifier: vm.microvmId }));
  assert.equal(ended.state, 'TERMINATED');
  assert.equal(ended.stateReason, 'Terminated by request');
  assert.ok(ended.terminatedAt instanceof Date);
  await c.send(new TerminateMicrovmCommand({ microvmIdentifier: vm.microvmId }));
});

test('ended_vm_is_forgotten_after_its_time', async (t) => {
  const fake = await startFake(t, { keep_terminated_s: 0 });
  const c = client(t, fake);
  const { microvmId } = await c.send(run());
  await c.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId }));
  await fake.ask('GET', '/wait?known_max=0');
  await fails(c.send(new GetMicrovmCommand({ microvmIdentifier: microvmId })), ResourceNotFoundException);
  await fails(c.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId })), ResourceNotFoundException);
});

test('list_pages_may_be_empty_and_cursors_need_encoding', async (t) => {
  const other = 'arn:aws:lambda:us-east-1:123456789012:microvm-image:other';
  const fake = await startFake(t, { image: ['mayfly', 'other=512'], empty_page_every: 4 });
  const c = client(t, fake);
  const ids = [];
  for (let i = 0; i < 4; i++) await c.send(run({ imageIdentifier: other }));
  for (let i = 0; i < 5; i++) ids.push((await c.send(run())).microvmId);
  const first = await c.send(new ListMicrovmsCommand({ imageIdentifier: IMAGE, maxResults: 2 }));
  assert.deepEqual(first.items, []);
  assert.match(first.nextToken, /=/);
  assert.deepEqual(await listAll(c, { imageIdentifier: IMAGE, maxResults: 2 }), ids);
  assert.equal((await listAll(c)).length, 9);
  assert.equal((await listAll(c, { imageIdentifier: other, imageVersion: '9.0' })).length, 0);
  await fails(c.send(new ListMicrovmsCommand({ nextToken: 'nonsense==' })), ValidationException);
  for (const maxResults of [0, 51]) {
    await fails(c.send(new ListMicrovmsCommand({ maxResults })), ValidationException, /between 1 and 50/);
    await fails(c.send(new ListMicrovmImagesCommand({ maxResults })), ValidationException, /between 1 and 50/);
  }
});

test('reads_lag_behind_writes', async (t) => {
  const fake = await startFake(t, { read_lag_ms: 60_000 });
  const c = client(t, fake);
  const { microvmId } = await c.send(run());
  await fails(c.send(new GetMicrovmCommand({ microvmIdentifier: microvmId })), ResourceNotFoundException);
  assert.deepEqual(await listAll(c), []);
  await c.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId }));
  await fake.ask('POST', '/config', { read_lag_ms: 0 });
  assert.deepEqual(await listAll(c), [microvmId]);
});

test('lists_and_descriptions_lag_each_by_its_own_time', async (t) => {
  const fake = await startFake(t, { list_lag_ms: 60_000 });
  const c = client(t, fake);
  const { microvmId } = await c.send(run());
  assert.equal((await c.send(new GetMicrovmCommand({ microvmIdentifier: microvmId }))).microvmId, microvmId);
  assert.deepEqual(await listAll(c), []);
  assert.equal((await fake.ask('GET', '/state')).stale_reads, 1);
  await fake.ask('POST', '/config', { list_lag_ms: 0, get_lag_ms: 60_000 });
  assert.deepEqual(await listAll(c), [microvmId]);
  await fails(c.send(new GetMicrovmCommand({ microvmIdentifier: microvmId })), ResourceNotFoundException);
});

test('ended_vms_stay_listed_for_an_hour', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  const { microvmId } = await c.send(run());
  await c.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId }));
  await fake.happened('vm_ended', { microvm: microvmId });
  fake.fleet.tidy(Date.now() + 3_590_000);
  assert.deepEqual((await c.send(new ListMicrovmsCommand({}))).items.map((item) => item.state), ['TERMINATED']);
  fake.fleet.tidy(Date.now() + 3_610_000);
  assert.deepEqual(await listAll(c), []);
});

test('empty_id_is_not_found_and_counted', async (t) => {
  const fake = await startFake(t);
  for (const method of ['GET', 'DELETE']) {
    const response = await fetch(`${fake.url}/2025-09-09/microvms/`, { method });
    assert.equal(response.status, 404);
    assert.equal(response.headers.get('x-amzn-errortype').split(':')[0], 'ResourceNotFoundException');
  }
  assert.equal((await fake.ask('GET', '/state')).empty_ids, 2);
});

test('ingress_is_attached_unless_none_is_named', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  const managed = (name) => `arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:${name}`;
  const usual = await c.send(run());
  assert.deepEqual([usual.ingressNetworkConnectors, usual.egressNetworkConnectors], [[managed('HTTP_INGRESS')], [managed('INTERNET_EGRESS')]]);
  const closed = await c.send(run({ ingressNetworkConnectors: [managed('NO_INGRESS')] }));
  assert.deepEqual(closed.ingressNetworkConnectors, []);
  const shell = await c.send(run({ ingressNetworkConnectors: [managed('SHELL_INGRESS')] }));
  assert.deepEqual(shell.ingressNetworkConnectors, [managed('SHELL_INGRESS')]);
  assert.deepEqual((await fake.ask('GET', '/vms')).map((vm) => vm.ingress.length), [1, 0, 1]);
});

test('faults_with_a_name_are_counted_and_removed_by_it', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  await fake.ask('POST', '/faults', [{ name: 'outage', operation: '*', preset: 'unavailable' }, { operation: 'GetMicrovm', preset: 'throttle' }]);
  await assert.rejects(c.send(run()));
  await assert.rejects(c.send(run()));
  await fake.ask('DELETE', '/faults?name=outage');
  await c.send(run());
  assert.deepEqual(await fake.ask('GET', '/faults/used'), { outage: 2 });
  assert.deepEqual((await fake.ask('GET', '/faults')).map((fault) => fault.operation), ['GetMicrovm']);
});

test('client_token_replays_or_conflicts', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  const first = await c.send(run({ clientToken: 'token-1', runHookPayload: 'x' }));
  await fake.happened('vm_ended', { microvm: first.microvmId });
  const again = await c.send(run({ clientToken: 'token-1', runHookPayload: 'x' }));
  assert.equal(again.microvmId, first.microvmId);
  assert.equal(again.state, 'PENDING');
  await fails(c.send(run({ clientToken: 'token-1', runHookPayload: 'y' })), ConflictException);
  assert.equal((await fake.ask('GET', '/state')).launched, 1);
});

test('dropped_launch_has_happened_and_its_token_tells_it', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  await fake.ask('POST', '/faults', { operation: 'RunMicrovm', drop: true, times: 1 });
  await assert.rejects(c.send(run({ clientToken: 'token-1' })), (error) => error.$metadata?.httpStatusCode === undefined);
  const { launched } = await fake.ask('GET', '/state');
  assert.equal(launched, 1);
  const { microvmId } = await c.send(run({ clientToken: 'token-1' }));
  assert.deepEqual(await listAll(c), [microvmId]);
});

test('run_refuses_what_the_service_refuses', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  await c.send(run({ runHookPayload: 'x'.repeat(4096) }));
  await fails(c.send(run({ runHookPayload: 'x'.repeat(4097) })), ValidationException, /4096 bytes/);
  await fails(c.send(run({ maximumDurationInSeconds: 28801 })), ValidationException);
  await fails(c.send(run({ maximumDurationInSeconds: 0 })), ValidationException);
  await fails(c.send(run({ clientToken: 'x'.repeat(129) })), ValidationException);
  await fails(c.send(run({ egressNetworkConnectors: ['INTERNET_EGRESS'] })), ValidationException);
  await fails(c.send(run({ executionRoleArn: 'role' })), ValidationException);
  await fails(c.send(run({ logging: { cloudWatch: { logGroup: 'x' } } })), ValidationException, /execution role/);
  await fails(c.send(run({ imageIdentifier: 'mayfly' })), ValidationException);
  await fails(c.send(run({ imageIdentifier: IMAGE.replace(':mayfly', '/mayfly') })), AccessDeniedException);
  await fails(c.send(run({ imageIdentifier: `${IMAGE}2` })), ResourceNotFoundException, /No active version/);
  await fake.ask('POST', '/config', { images: [{ name: 'mayfly', versions: [{ version: '1.0', status: 'INACTIVE' }, { version: '2.0', state: 'FAILED' }] }] });
  await fails(c.send(run()), ResourceNotFoundException, /No active version/);
  await fails(c.send(run({ imageVersion: '1.0' })), ResourceNotFoundException, /No active version/);
});

test('calls_beyond_the_rate_are_throttled', async (t) => {
  const fake = await startFake(t, { run_rate: 0.001, run_burst: 5, terminate_rate: 0.001, terminate_burst: 1, get_rate: 0.001, get_burst: 2, retry_after_s: 7 });
  const c = client(t, fake);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => c.send(run())));
  const refused = results.filter((r) => r.status === 'rejected').map((r) => r.reason);
  assert.equal(refused.length, 3);
  for (const error of refused) {
    assert.ok(error instanceof ThrottlingException);
    assert.equal(error.retryAfterSeconds, 7);
    assert.equal(error.$metadata.httpStatusCode, 429);
  }
  const id = { microvmIdentifier: results.find((r) => r.status === 'fulfilled').value.microvmId };
  await c.send(new GetMicrovmCommand(id));
  await c.send(new GetMicrovmCommand(id));
  await fails(c.send(new GetMicrovmCommand(id)), ThrottlingException);
  await c.send(new TerminateMicrovmCommand(id));
  await fails(c.send(new TerminateMicrovmCommand(id)), ThrottlingException);
  await fake.ask('POST', '/config', { run_rate: 0 });
  await c.send(run());
  const state = await fake.ask('GET', '/state');
  assert.deepEqual([state.throttled, state.launched, state.launches_per_second_peak > 4], [5, 6, true]);
});

test('memory_beyond_the_quota_is_refused_until_a_vm_ends', async (t) => {
  const fake = await startFake(t, { memory_quota_mib: 2 * 4 * 2048 });
  const c = client(t, fake);
  const { microvmId } = await c.send(run());
  await c.send(run());
  await assert.rejects(c.send(run()), (error) => error instanceof ServiceQuotaExceededException && error.$metadata.httpStatusCode === 402 && error.quotaCode === 'L-CD1C0CC4');
  await c.send(new TerminateMicrovmCommand({ microvmIdentifier: microvmId }));
  await fake.happened('vm_ended', { microvm: microvmId });
  await c.send(run());
  const state = await fake.ask('GET', '/state');
  assert.deepEqual([state.alive, state.alive_peak, state.held, state.held_peak], [2, 2, 2, 2]);
});

for (const style of ['header', 'body']) {
  test(`presets_are_the_classes_of_the_client_with_the_name_in_the_${style}`, async (t) => {
    const fake = await startFake(t, { error_style: style });
    const c = client(t, fake);
    const classes = {
      throttle: ThrottlingException, quota: ServiceQuotaExceededException, internal: InternalServerException,
      capacity: InsufficientCapacityException, denied: AccessDeniedException, 'denied-null': AccessDeniedException,
    };
    for (const [preset, type] of Object.entries(classes)) {
      await fake.ask('POST', '/faults', { operation: 'RunMicrovm', preset, times: 1 });
      await fails(c.send(run()), type);
    }
    for (const preset of ['bad-gateway', 'unavailable']) {
      await fake.ask('POST', '/faults', { operation: '*', preset, times: 1 });
      await assert.rejects(c.send(run()), (error) => error.$metadata.httpStatusCode >= 502 || error.$response?.statusCode >= 502);
    }
    await fake.ask('POST', '/faults', { operation: 'RunMicrovm', preset: 'bad-gateway', work: true, times: 1 });
    await assert.rejects(c.send(run()));
    const { launched, answers } = await fake.ask('GET', '/state');
    assert.deepEqual([launched, answers['RunMicrovm 502']], [1, 2]);
  });
}

test('images_are_told_to_signed_calls_by_arn', async (t) => {
  const fake = await startFake(t, { key: ['AKIDEXAMPLE:not-a-secret'] });
  const c = client(t, fake);
  const image = await c.send(new GetMicrovmImageCommand({ imageIdentifier: IMAGE }));
  assert.deepEqual([image.name, image.state, image.latestActiveImageVersion], ['mayfly', 'CREATED', '1.0']);
  const { items } = await c.send(new ListMicrovmImagesCommand({ nameFilter: 'may' }));
  assert.deepEqual(items.map((item) => item.imageArn), [IMAGE]);
  const { items: versions } = await c.send(new ListMicrovmImageVersionsCommand({ imageIdentifier: IMAGE }));
  assert.deepEqual(versions.map((v) => [v.imageVersion, v.status, v.resources[0].minimumMemoryInMiB]), [['1.0', 'ACTIVE', 2048]]);
  const version = await c.send(new GetMicrovmImageVersionCommand({ imageIdentifier: IMAGE, imageVersion: '1.0' }));
  assert.equal(version.state, 'SUCCESSFUL');
  await fails(c.send(new GetMicrovmImageCommand({ imageIdentifier: `${IMAGE}2` })), ResourceNotFoundException);
});

test('signature_is_judged_before_anything_else', async (t) => {
  const fake = await startFake(t, { run_rate: 0.001, run_burst: 1, key: ['AKIDEXAMPLE:not-a-secret'] });
  const c = client(t, fake);
  const { microvmId } = await c.send(run());
  await c.send(new GetMicrovmCommand({ microvmIdentifier: microvmId }));
  const stranger = client(t, fake, { credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'another' } });
  await assert.rejects(stranger.send(run()), (error) => error.name === 'InvalidSignatureException' && error.$metadata.httpStatusCode === 403);
  assert.equal(fake.entries.filter((e) => e.event === 'request')[0].signed, true);
});

test('unknown_calls_and_bodies_are_refused_in_the_services_shape', async (t) => {
  const fake = await startFake(t);
  const post = async (body) => {
    const response = await fetch(`${fake.url}/2025-09-09/microvms`, { method: 'POST', body });
    return [response.status, response.headers.get('x-amzn-errortype').split(':')[0], (await response.json()).message];
  };
  assert.deepEqual((await post('{')).slice(0, 2), [400, 'ValidationException']);
  assert.deepEqual((await post('[]')).slice(0, 2), [400, 'ValidationException']);
  assert.match((await post(JSON.stringify({ imageIdentifier: IMAGE, tags: {} })))[2], /tags is no member/);
  const response = await fetch(`${fake.url}/2025-09-09/microvm`);
  assert.equal(response.status, 404);
  assert.equal(response.headers.get('x-amzn-errortype').split(':')[0], 'UnknownOperationException');
  assert.equal(fake.entries.filter((entry) => entry.event === 'internal_error').length, 0);
});

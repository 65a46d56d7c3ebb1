/* Several accounts and regions in one stand-in, through AWS's own client: whose call it is, and that each has its own quotas. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GetMicrovmCommand, ListMicrovmsCommand, RunMicrovmCommand, TerminateMicrovmCommand } from '@aws-sdk/client-lambda-microvms';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { serve } from '../../lib/testing.mjs';
import { options as awsOptions } from '../../aws/lib/options.mjs';
import { FakeAws } from '../../aws/lib/server.mjs';
import { client, startFake } from './support.mjs';

const [HERE, ELSEWHERE] = ['123456789012', '210987654321'];
const image = (account, region) => `arn:aws:lambda:${region}:${account}:microvm-image:mayfly`;
const run = (account, region) => new RunMicrovmCommand({ imageIdentifier: image(account, region), runHookPayload: 'mayfly-try' });
const KEY = { accessKeyId: 'AKIDOWN', secretAccessKey: 'own-secret' };

/** Keys of a role of that account, as STS gives them. */
async function assumed(t, account) {
  const aws = await serve(t, new FakeAws({ ...awsOptions.defaults(), realm: 'r', key: [`${KEY.accessKeyId}:${KEY.secretAccessKey}`] }));
  const sts = new STSClient({ endpoint: aws.url, region: 'us-east-1', credentials: KEY });
  t.after(() => sts.destroy());
  const { Credentials: told } = await sts.send(new AssumeRoleCommand({ RoleArn: `arn:aws:iam::${account}:role/mayfly`, RoleSessionName: 'test' }));
  return { accessKeyId: told.AccessKeyId, secretAccessKey: told.SecretAccessKey, sessionToken: told.SessionToken };
}

async function several(t, ...more) {
  const target = [`${HERE}/us-east-1,memory_quota_mib=8192`, `${HERE}/eu-west-1`, `${ELSEWHERE}/us-east-1,run_rate=1,run_burst=2`, ...more];
  const fake = await startFake(t, { target, realm: 'r', key: [`${KEY.accessKeyId}:${KEY.secretAccessKey}`] });
  const of = (credentials, region) => client(t, fake, { credentials, region });
  return { fake, east: of(KEY, 'us-east-1'), west: of(KEY, 'eu-west-1'), other: of(await assumed(t, ELSEWHERE), 'us-east-1'), away: of(KEY, 'ap-south-1') };
}

const stateOf = async (fake, name) => (await fake.ask('GET', '/targets')).find(({ target }) => target === name);

test('targets_have_vms_of_their_own', async (t) => {
  const { fake, east, west, other } = await several(t);
  const [a, b, c] = [await east.send(run(HERE, 'us-east-1')), await west.send(run(HERE, 'eu-west-1')), await other.send(run(ELSEWHERE, 'us-east-1'))];
  for (const [of, { microvmId }] of [[east, a], [west, b], [other, c]]) {
    assert.deepEqual((await of.send(new ListMicrovmsCommand({}))).items.map((vm) => vm.microvmId), [microvmId]);
  }
  await assert.rejects(west.send(new GetMicrovmCommand({ microvmIdentifier: a.microvmId })), { name: 'ResourceNotFoundException' });
  await other.send(new TerminateMicrovmCommand({ microvmIdentifier: c.microvmId }));
  assert.deepEqual((await fake.ask('GET', '/vms')).map((vm) => vm.target), [`${HERE}/us-east-1`, `${HERE}/eu-west-1`, `${ELSEWHERE}/us-east-1`]);
  const { launched, alive_peak: peak } = await fake.ask('GET', '/state');
  assert.deepEqual([launched, peak], [3, 3]);
});

test('targets_are_refused_to_others', async (t) => {
  const { east, other, away } = await several(t);
  await assert.rejects(away.send(new ListMicrovmsCommand({})), { name: 'AccessDeniedException' });
  await assert.rejects(east.send(run(ELSEWHERE, 'us-east-1')), { name: 'AccessDeniedException' });
  await assert.rejects(other.send(run(HERE, 'us-east-1')), { name: 'AccessDeniedException' });
});

test('targets_have_quotas_of_their_own', async (t) => {
  const { fake, east, west, other } = await several(t);
  await east.send(run(HERE, 'us-east-1'));
  await assert.rejects(east.send(run(HERE, 'us-east-1')), { name: 'ServiceQuotaExceededException' });
  for (let i = 0; i < 2; i++) await west.send(run(HERE, 'eu-west-1'));
  for (let i = 0; i < 2; i++) await other.send(run(ELSEWHERE, 'us-east-1'));
  await assert.rejects(other.send(run(ELSEWHERE, 'us-east-1')), { name: 'ThrottlingException' });
  const { throttled, memory_counted_peak_mib: peak, memory_quota_mib: quota } = await stateOf(fake, `${HERE}/us-east-1`);
  assert.deepEqual([throttled, peak, quota], [0, 8192, 8192]);
  assert.equal((await stateOf(fake, `${ELSEWHERE}/us-east-1`)).throttled, 1);
});

test('targets_are_lost_one_by_one', async (t) => {
  const { fake, east, west } = await several(t);
  await fake.ask('POST', '/faults', [{ name: 'gone', operation: '*', target: `${HERE}/eu-west-1`, preset: 'unavailable' }]);
  await assert.rejects(west.send(run(HERE, 'eu-west-1')));
  await east.send(run(HERE, 'us-east-1'));
  assert.deepEqual(await fake.ask('GET', '/faults/used'), { gone: 1 });
  await fake.ask('DELETE', '/faults?name=gone');
  await west.send(run(HERE, 'eu-west-1'));
});

test('faults_of_vms_may_name_a_target', async (t) => {
  const { fake, east, west } = await several(t);
  await fake.ask('POST', '/faults', [{ vm: 'never-start', target: `${HERE}/eu-west-1` }]);
  await east.send(run(HERE, 'us-east-1'));
  await west.send(run(HERE, 'eu-west-1'));
  assert.deepEqual((await fake.ask('GET', '/vms')).map((vm) => vm.fault), [null, 'never-start']);
});

test('targets_that_make_no_sense_are_refused', () => {
  for (const target of ['us-east-1', '123456789012/us-east-1,nonsense=1', '123456789012/us-east-1,run_rate=x']) {
    assert.throws(() => startFake(null, { target: [target] }), { name: /Error/, message: /target|nonsense|run_rate/ }, target);
  }
});

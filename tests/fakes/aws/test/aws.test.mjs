/* Credentials and secrets, judged by AWS's own clients. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GetPublicKeyCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { GetServiceQuotaCommand, ServiceQuotasClient } from '@aws-sdk/client-service-quotas';
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { AssumeRoleCommand, AssumeRoleWithWebIdentityCommand, GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { fromHttp, fromInstanceMetadata } from '@aws-sdk/credential-providers';
import { launch, readLog, refusesOptions, serve, temporary } from '../../lib/testing.mjs';
import { options } from '../lib/options.mjs';
import { FakeAws } from '../lib/server.mjs';

const MAIN = fileURLToPath(new URL('../main.mjs', import.meta.url));
const OWN = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'own/secret+key' };
const ROLE = 'arn:aws:iam::123456789012:role/path/mayfly';

const start = (t, settings = {}) => serve(t, new FakeAws({ ...options.defaults(), key: [`${OWN.accessKeyId}:${OWN.secretAccessKey}`], ...settings }));

function client(t, Client, fake, credentials = OWN, settings = {}) {
  const made = new Client({ endpoint: fake.url, region: 'us-east-1', credentials, maxAttempts: 1, ...settings });
  t.after(() => made.destroy());
  return made;
}
const fails = (promise, name, message = /./) => assert.rejects(promise, (error) => {
  assert.equal(error.name, name, error.stack);
  assert.match(error.message, message);
  return true;
});
const fromSts = ({ Credentials: c }) => ({ accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken, expiration: c.Expiration });

test('right_key_passes_wrong_and_unknown_are_refused_in_each_protocol', async (t) => {
  const fake = await start(t);
  assert.equal((await client(t, STSClient, fake).send(new GetCallerIdentityCommand({}))).UserId, OWN.accessKeyId);
  const wrong = { ...OWN, secretAccessKey: 'another' };
  const unknown = { ...OWN, accessKeyId: 'AKIDNOBODY' };
  await fails(client(t, STSClient, fake, wrong).send(new GetCallerIdentityCommand({})), 'SignatureDoesNotMatch', /does not match/);
  await fails(client(t, STSClient, fake, unknown).send(new GetCallerIdentityCommand({})), 'InvalidClientTokenId');
  await fails(client(t, SSMClient, fake, wrong).send(new GetParameterCommand({ Name: 'x' })), 'InvalidSignatureException', /does not match/);
  await fails(client(t, SSMClient, fake, unknown).send(new GetParameterCommand({ Name: 'x' })), 'UnrecognizedClientException');
  const unsigned = await fetch(fake.url, { method: 'POST', headers: { 'x-amz-target': 'AmazonSSM.GetParameter' }, body: '{}' });
  assert.match((await unsigned.json()).__type, /MissingAuthenticationToken/);
});

test('skewed_clock_is_refused_and_the_client_learns_it_from_the_date', async (t) => {
  const fake = await start(t, { clock_offset_s: 301 + 60, parameter: ['x=1'] });
  const ask = new GetParameterCommand({ Name: 'x' });
  await fails(client(t, SSMClient, fake).send(ask), 'InvalidSignatureException', /^Signature expired: \d{8}T\d{6}Z is now earlier than .* - 5 min\.\)$/);
  const patient = client(t, SSMClient, fake, OWN, { maxAttempts: 2 });
  assert.equal((await patient.send(ask)).Parameter.Name, 'x');
  await fake.ask('POST', '/config', { clock_offset_s: -400 });
  await fails(client(t, SSMClient, fake).send(ask), 'InvalidSignatureException', /^Signature not yet current/);
  await fake.ask('POST', '/config', { skew_limit_s: 500 });
  await client(t, SSMClient, fake).send(ask);
});

test('assumed_role_gives_keys_that_pass_until_they_end', async (t) => {
  const fake = await start(t, { parameter: ['x=1'] });
  const assumed = await client(t, STSClient, fake).send(new AssumeRoleCommand({ RoleArn: ROLE, RoleSessionName: 'mayfly', DurationSeconds: 900 }));
  assert.equal(assumed.AssumedRoleUser.Arn, 'arn:aws:sts::123456789012:assumed-role/mayfly/mayfly');
  const keys = fromSts(assumed);
  assert.ok(Math.abs(keys.expiration.getTime() - Date.now() - 900_000) < 60_000);
  const use = () => client(t, SSMClient, fake, keys).send(new GetParameterCommand({ Name: 'x' }));
  await use();
  await fails(client(t, SSMClient, fake, { ...keys, sessionToken: undefined }).send(new GetParameterCommand({ Name: 'x' })), 'UnrecognizedClientException');
  await fails(client(t, SSMClient, fake, { ...keys, sessionToken: `x${keys.sessionToken}` }).send(new GetParameterCommand({ Name: 'x' })), 'UnrecognizedClientException');
  await fake.ask('POST', `/keys/${keys.accessKeyId}/revoke`);
  await fails(use(), 'ExpiredTokenException');
  await fake.ask('POST', `/keys/${keys.accessKeyId}/restore`);
  await use();
  await fake.ask('POST', '/config', { clock_offset_s: 1000, skew_limit_s: 2000 });
  await fails(use(), 'ExpiredTokenException');
  await fails(client(t, STSClient, fake).send(new AssumeRoleCommand({ RoleArn: 'nonsense', RoleSessionName: 'mayfly' })), 'ValidationException');
});

test('keys_of_a_realm_pass_in_another_stand_in_of_it_alone', async (t) => {
  const fake = await start(t);
  const keys = fromSts(await client(t, STSClient, fake).send(new AssumeRoleCommand({ RoleArn: ROLE, RoleSessionName: 'mayfly' })));
  const same = await start(t, { parameter: ['x=1'] });
  const other = await start(t, { realm: 'elsewhere' });
  await client(t, SSMClient, same, keys).send(new GetParameterCommand({ Name: 'x' }));
  await fails(client(t, SSMClient, other, keys).send(new GetParameterCommand({ Name: 'x' })), 'UnrecognizedClientException');
});

test('web_identity_needs_no_signature_but_the_token', async (t) => {
  const fake = await start(t, { web_identity_token: 'good.web.token', role: [ROLE] });
  const ask = (token, arn = ROLE) => client(t, STSClient, fake, { accessKeyId: 'none', secretAccessKey: 'none' })
    .send(new AssumeRoleWithWebIdentityCommand({ RoleArn: arn, RoleSessionName: 'mayfly', WebIdentityToken: token }));
  const keys = fromSts(await ask('good.web.token'));
  await client(t, STSClient, fake, keys).send(new GetCallerIdentityCommand({}));
  await fails(ask('bad.web.token'), 'InvalidIdentityTokenException');
  await fails(ask('good.web.token', `${ROLE}2`), 'AccessDenied');
});

test('container_endpoint_wants_its_token', async (t) => {
  const fake = await start(t, { container_token: 'Basic abc', credential_life_s: 120 });
  const provider = (token) => fromHttp({ awsContainerCredentialsFullUri: `${fake.url}/v2/credentials/task`, awsContainerAuthorizationToken: token, maxRetries: 0 });
  const keys = await provider('Basic abc')();
  assert.ok(Math.abs(keys.expiration.getTime() - Date.now() - 120_000) < 60_000);
  await client(t, STSClient, fake, keys).send(new GetCallerIdentityCommand({}));
  await assert.rejects(provider('Basic xyz')());
  assert.deepEqual((await fake.ask('GET', '/keys')).map((key) => key.source), ['container']);
  await fake.ask('POST', '/revoke');
  await fails(client(t, STSClient, fake, keys).send(new GetCallerIdentityCommand({})), 'ExpiredToken');
});

test('instance_metadata_wants_a_token_first', async (t) => {
  const fake = await start(t);
  process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = fake.url;
  t.after(() => { delete process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT; });
  const keys = await fromInstanceMetadata({ maxRetries: 0 })();
  await client(t, STSClient, fake, keys).send(new GetCallerIdentityCommand({}));
  assert.equal((await fetch(`${fake.url}/latest/meta-data/placement/region`)).status, 401);
  assert.equal((await fetch(`${fake.url}/latest/api/token`, { method: 'PUT' })).status, 400);
  await fake.ask('POST', '/config', { instance_role: '' });
  await assert.rejects(fromInstanceMetadata({ maxRetries: 0 })());
});

test('parameters_and_secrets_are_told_by_name_and_arn', async (t) => {
  const fake = await start(t, { parameter: ['/mayfly/key=ssm = value'], secret: ['app-key=-----BEGIN'] });
  const ssm = client(t, SSMClient, fake);
  const { Parameter: p } = await ssm.send(new GetParameterCommand({ Name: '/mayfly/key', WithDecryption: true }));
  assert.deepEqual([p.Value, p.Type], ['ssm = value', 'SecureString']);
  assert.equal((await ssm.send(new GetParameterCommand({ Name: p.ARN, WithDecryption: true }))).Parameter.Value, 'ssm = value');
  assert.notEqual((await ssm.send(new GetParameterCommand({ Name: '/mayfly/key' }))).Parameter.Value, 'ssm = value');
  await fails(ssm.send(new GetParameterCommand({ Name: 'nothing' })), 'ParameterNotFound');
  const manager = client(t, SecretsManagerClient, fake);
  const secret = await manager.send(new GetSecretValueCommand({ SecretId: 'app-key' }));
  assert.equal((await manager.send(new GetSecretValueCommand({ SecretId: secret.ARN }))).SecretString, '-----BEGIN');
  await fails(manager.send(new GetSecretValueCommand({ SecretId: 'nothing' })), 'ResourceNotFoundException');
  await fake.ask('POST', '/secrets', { name: 'app-key', binary: Buffer.from('new').toString('base64') });
  assert.equal(Buffer.from((await manager.send(new GetSecretValueCommand({ SecretId: 'app-key' }))).SecretBinary).toString(), 'new');
});

test('kms_signs_messages_and_digests_alike', async (t) => {
  const fake = await start(t);
  const { key_id: id, arn, public_pem: pem } = await fake.ask('POST', '/kms', {});
  const kms = client(t, KMSClient, fake);
  const message = Buffer.from('header.payload');
  const digest = crypto.createHash('sha256').update(message).digest();
  const sign = async (KeyId, Message, MessageType) => Buffer.from((await kms.send(new SignCommand({
    KeyId, Message, MessageType, SigningAlgorithm: 'RSASSA_PKCS1_V1_5_SHA_256',
  }))).Signature);
  const [raw, digested] = [await sign(id, message, 'RAW'), await sign(arn, digest, 'DIGEST')];
  assert.ok(crypto.verify('sha256', message, pem, raw));
  assert.ok(raw.equals(digested));
  const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: id }));
  assert.ok(crypto.verify('sha256', message, { key: Buffer.from(PublicKey), format: 'der', type: 'spki' }, raw));
  await fails(sign('nothing', message, 'RAW'), 'NotFoundException');
  await fails(sign(id, message, 'DIGEST'), 'ValidationException', /Digest is invalid/);
});

test('quotas_and_faults', async (t) => {
  const fake = await start(t, { quota: ['lambda/L-1=250.5'] });
  const quotas = client(t, ServiceQuotasClient, fake);
  const ask = () => quotas.send(new GetServiceQuotaCommand({ ServiceCode: 'lambda', QuotaCode: 'L-1' }));
  assert.equal((await ask()).Quota.Value, 250.5);
  await fails(quotas.send(new GetServiceQuotaCommand({ ServiceCode: 'lambda', QuotaCode: 'L-2' })), 'NoSuchResourceException');
  await fake.ask('POST', '/faults', [{ operation: 'GetServiceQuota', preset: 'throttle', times: 1 }, { operation: '*', error: 'TooManyRequestsException', times: 1 },
    { operation: '*', drop: true, times: 1 }]);
  await fails(ask(), 'ThrottlingException');
  await fails(ask(), 'TooManyRequestsException');
  await assert.rejects(ask());
  await fails(quotas.send(new GetServiceQuotaCommand({ ServiceCode: 'x', QuotaCode: 'y' })), 'NoSuchResourceException');
  assert.deepEqual((({ faulted, throttled }) => [faulted, throttled])(await fake.ask('GET', '/state')), [3, 2]);
});

test('program_logs_no_secret', async (t) => {
  const log = path.join(temporary(t), 'aws.jsonl');
  const fake = await launch(t, MAIN, '--log', log, '--secret', 'a=geheim', '--key', 'AKIDEXAMPLE:own/secret+key');
  const secret = await client(t, SecretsManagerClient, fake).send(new GetSecretValueCommand({ SecretId: 'a' }));
  assert.equal(secret.SecretString, 'geheim');
  const { AccessKeyId, SecretAccessKey, Token } = await (await fetch(`${fake.url}/v2/credentials/x`)).json();
  assert.equal(await fake.stop(), 0);
  const entries = readLog(log);
  assert.deepEqual(entries.map((entry) => entry.event), ['started', 'request', 'key_issued', 'request', 'stopped']);
  const text = JSON.stringify(entries);
  assert.ok(text.includes(AccessKeyId));
  assert.ok(![SecretAccessKey, Token, 'geheim', OWN.secretAccessKey].some((one) => text.includes(one)));
  refusesOptions(MAIN, ['--nonsense'], ['--key', 'x'], ['--secret', 'x']);
});

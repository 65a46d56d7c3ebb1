/*
 * The policy of who renews images (deploy/aws/policies/publish.json), held by the real program: a young image, an old one, one of another
 * archive, a build and a trial that fail, and old versions. Nothing may be denied, and every action and resource must have been needed.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeS3 } from '../../fakes/lambda-microvms/s3.mjs';
import { launch, temporary } from '../../fakes/lib/testing.mjs';
import { spawn } from '../../lib/child.mjs';

const require = createRequire(new URL('../../fakes/package.json', import.meta.url));
const dynamodb = require('@aws-sdk/client-dynamodb');
const lambda = require('@aws-sdk/client-lambda-microvms');

const build = process.env.MAYFLY_BUILD ?? 'build/dev';
const at = (name) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const fake = (name) => at(`tests/fakes/${name}/main.mjs`);
const REGION = 'us-east-1';
const ACCOUNT = '123456789012';
const IMAGE = `arn:aws:lambda:${REGION}:${ACCOUNT}:microvm-image:mayfly-arm`;
const KEY = 'AKIDPUBLISH:not-a-secret';

async function releases(t) {
  const server = http.createServer((request, response) => {
    response.end(JSON.stringify({ tag_name: 'v2.340.0', published_at: new Date().toISOString(), assets: [{ name: 'actions-runner-linux-arm64-2.340.0.tar.gz', digest: `sha256:${'b'.repeat(64)}` }] }));
  });
  t.after(() => server.close());
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return `http://127.0.0.1:${server.address().port}`;
}

async function scene(t) {
  const folder = temporary(t);
  const file = (name, text) => {
    fs.writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  const policy = file('publish.json', fs.readFileSync(at('deploy/aws/policies/publish.json'), 'utf8').replaceAll('REGION', REGION).replaceAll('ACCOUNT', ACCOUNT)
    .replaceAll('DEPLOYMENT', 'mayfly').replaceAll('IMAGE', 'mayfly-arm').replaceAll('BUCKET', 'artifacts').replaceAll('BUILD-ROLE', 'build'));
  const judged = ['--port', '0', '--key', KEY, '--key', 'AKIDOWNER:not-a-secret', '--policy', `AKIDPUBLISH=${policy}`];
  const [vms, table, api] = await Promise.all([
    launch(t, fake('lambda-microvms'), ...judged, '--image', 'mayfly-arm', '--image', 'mayfly-other', '--image-build-ms', '10'), launch(t, fake('dynamodb'), ...judged), releases(t),
  ]);
  const s3 = new FakeS3({ key: KEY, policy: [`AKIDPUBLISH=${policy}`], buckets: ['artifacts', 'other'] });
  await s3.listen();
  t.after(() => s3.stop());
  const client = (Client, of, accessKeyId) => {
    const made = new Client({ endpoint: of.url, region: REGION, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey: 'not-a-secret' } });
    t.after(() => made.destroy());
    return made;
  };
  await client(dynamodb.DynamoDBClient, table, 'AKIDOWNER').send(new dynamodb.CreateTableCommand({
    TableName: 'mayfly', BillingMode: 'PAY_PER_REQUEST', AttributeDefinitions: ['pk', 'sk', 'ix', 'age'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
    KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
    GlobalSecondaryIndexes: [{ IndexName: 'by_age', KeySchema: [{ AttributeName: 'ix', KeyType: 'HASH' }, { AttributeName: 'age', KeyType: 'RANGE' }], Projection: { ProjectionType: 'KEYS_ONLY' } }],
  }));
  for (const packages of ['', 'make']) {
    const zip = path.join(folder, 'image.zip');
    const built = spawnSync(at('deploy/image/lambda/build-zip'), ['--runner-sha256', 'a'.repeat(64), '--packages', packages, '-o', zip], { encoding: 'utf8' });
    assert.equal(built.status, 0, built.stderr);
    s3.put('artifacts', `mayfly/first${packages}.zip`, fs.readFileSync(zip));
  }
  const owner = client(lambda.LambdaMicrovmsClient, vms, 'AKIDOWNER');
  const base = `arn:aws:lambda:${REGION}:aws:microvm-image:al2023-1`;
  await owner.send(new lambda.UpdateMicrovmImageCommand({
    imageIdentifier: IMAGE, baseImageArn: base, baseImageVersion: '8', buildRoleArn: `arn:aws:iam::${ACCOUNT}:role/build`, codeArtifact: { uri: 's3://artifacts/mayfly/first.zip' },
    egressNetworkConnectors: [`arn:aws:lambda:${REGION}:aws:network-connector:aws-network-connector:INTERNET_EGRESS`],
  }));
  const config = file('mayfly.json', JSON.stringify({
    queue: `sqlite://${folder}/queue.db`, ledger: `dynamodb://mayfly?region=${REGION}&endpoint=${encodeURIComponent(table.url)}`,
    github: { app: { id: '1', private_key: 'file:/not/read' }, webhook_secrets: ['env:NOT_SET'] },
    classes: [{ name: 'arm', labels: ['self-hosted'], provider: 'lambda', lambda: { endpoint: vms.url, image: IMAGE } }],
  }));
  const env = {
    PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'AKIDPUBLISH', AWS_SECRET_ACCESS_KEY: 'not-a-secret', AWS_REGION: REGION, AWS_EC2_METADATA_DISABLED: 'true', AWS_ENDPOINT_URL_S3: s3.url,
    ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '',
  };
  const refresh = (...args) => new Promise((resolve) => {
    const child = spawn(path.join(build, 'deploy/image/lambda/publish/mayfly-publish-image'), ['refresh', '--config', config, '--github-api', api, '--poll-ms', '20', ...args], { env });
    let stderr = '';
    child.stderr.on('data', (chunk) => { stderr += chunk; });
    child.stdout.resume();
    child.on('close', (code) => resolve({ code, stderr }));
  });
  return { vms, table, s3, owner, refresh, client };
}

test('renewing_images_needs_what_its_policy_allows_and_no_more', async (t) => {
  const { vms, table, s3, owner, refresh, client } = await scene(t);
  const run = async (expected, ...args) => {
    const { code, stderr } = await refresh(...args);
    assert.doesNotMatch(stderr, /not authorized/);
    assert.equal(code, expected, stderr);
    return stderr;
  };
  await run(0);
  assert.match(await run(0, '--if-older-than', '0s'), /version 3\.0/);
  assert.match(await run(0, '--class', 'arm=s3://artifacts/mayfly/firstmake.zip', '--bucket', 'artifacts'), /version 4\.0/);
  await vms.ask('POST', '/faults', [{ vm: 'fail-start', times: 1 }]);
  assert.match(await run(1, '--if-older-than', '0s'), /version 5\.0 was built, but is INACTIVE now/);
  await vms.ask('POST', '/config', { image_build_failure: 'no room' });
  assert.match(await run(1, '--if-older-than', '0s'), /version 6\.0 failed/);
  await vms.ask('POST', '/config', { image_build_failure: null });
  assert.match(await run(0, '--if-older-than', '0s', '--keep-versions', '2'), /version 2\.0 was deleted/);

  const states = [await vms.ask('GET', '/policies'), await table.ask('GET', '/policies'), s3.policies.state()];
  assert.deepEqual(states.flatMap(({ denied }) => denied), []);
  const unused = states.map((state) => state.unused.AKIDPUBLISH);
  assert.deepEqual(unused[0].filter((part) => unused.every((list) => list.includes(part))), []);

  // What is another deployment's.
  const other = client(lambda.LambdaMicrovmsClient, vms, 'AKIDPUBLISH');
  for (const command of [new lambda.DeleteMicrovmImageVersionCommand({ imageIdentifier: `${IMAGE}-other`, imageVersion: '1.0' }), new lambda.RunMicrovmCommand({ imageIdentifier: `${IMAGE}-other` })]) {
    assert.match(await other.send(command).then(() => 'allowed', (error) => error.name), /AccessDenied/);
  }
  s3.put('other', 'mayfly/first.zip', Buffer.from('x'));
  assert.match((await refresh('--class', 'arm=s3://other/mayfly/first.zip')).stderr, /cannot read s3:\/\/other\/mayfly\/first\.zip/);
  assert.equal((await owner.send(new lambda.GetMicrovmImageCommand({ imageIdentifier: IMAGE }))).latestActiveImageVersion, '7.0');
});

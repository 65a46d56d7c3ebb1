/* Renewing the images of a configuration, as a timer does it: the real program against the fakes of Lambda and S3. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { options } from '../../fakes/lambda-microvms/lib/options.mjs';
import { FakeLambda } from '../../fakes/lambda-microvms/lib/server.mjs';
import { spawn } from '../../lib/child.mjs';

const PROGRAM = process.env.MAYFLY_PUBLISH_IMAGE ?? `${process.env.MAYFLY_BUILD}/bin/mayfly-publish-image`;
const KEY = 'AKIDEXAMPLE:not-a-secret';
const DAY_S = 86_400;

async function scene(t, settings = {}) {
  const lambda = new FakeLambda({ ...options.defaults(), list_rate: 0, image_build_ms: 20, key: [KEY], image: ['runner', 'other'], ...settings });
  const entries = [];
  lambda.log.listeners.add((entry) => entries.push(entry));
  await lambda.listen();
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-refresh-'));
  t.after(async () => {
    await lambda.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const config = path.join(dir, 'mayfly.json');
  const image = (name) => `arn:aws:lambda:us-east-1:123456789012:microvm-image:${name}`;
  fs.writeFileSync(config, JSON.stringify({
    queue: `sqlite://${dir}/queue.db`, ledger: `sqlite://${dir}/ledger.db`,
    github: { app: { id: '1', private_key: 'file:/nowhere/that/this/may/read' }, webhook_secrets: ['env:NOT_SET'] },
    classes: ['runner', 'other'].map((name) => ({ name, labels: ['self-hosted', name], provider: 'lambda', lambda: { endpoint: lambda.url, image: image(name) } })),
  }));
  const env = { PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'not-a-secret', AWS_EC2_METADATA_DISABLED: 'true', ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '' };
  const call = (...args) => new Promise((resolve) => {
    const child = spawn(PROGRAM, [...args, '--config', config, '--poll-ms', '20'], { env });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => { out[name] += chunk; });
    child.on('close', (code) => resolve({ code, ...out, result: out.stdout ? JSON.parse(out.stdout) : null }));
  });
  const requests = (operation) => entries.filter((entry) => entry.event === 'request' && entry.operation === operation);
  const versions = (name) => lambda.images.byName.get(name).versions;
  const age = (name, days) => { versions(name).at(-1).createdAt -= days * DAY_S; };
  return { lambda, call, requests, versions, age, image };
}

test('young_image_is_left_alone_with_a_line_for_each_class', async (t) => {
  const { call, requests, age } = await scene(t);
  age('runner', 19);
  const { code, stdout, stderr } = await call('--if-older-than', '20d');
  assert.deepEqual([code, stdout], [0, ''], stderr);
  assert.equal(stderr, 'class runner: version 1.0 is 19 days old, and renewed after 20d: nothing to do\n'
    + 'class other: version 1.0 is 0 days old, and renewed after 20d: nothing to do\n');
  assert.equal(requests('UpdateMicrovmImage').length, 0);
});

test('old_image_gets_a_new_version_with_what_it_had', async (t) => {
  const { call, requests, age, versions, image } = await scene(t);
  age('runner', 21);
  const { code, stderr, result } = await call('refresh', '--if-older-than', '20d');
  assert.equal(code, 0, stderr);
  assert.deepEqual(result, [{ class: 'runner', imageArn: image('runner'), imageVersion: '2.0', state: 'SUCCESSFUL', status: 'ACTIVE', tried: true }]);
  assert.equal(versions('runner').at(-1).spec.buildRoleArn, 'arn:aws:iam::123456789012:role/build');
  assert.equal((await call('refresh', '--if-older-than', '20d')).code, 0);
  assert.equal(requests('UpdateMicrovmImage').length, 1);
  const { stderr: being } = await call('refresh', '--if-older-than', '0s', '--class', 'other', '--no-try');
  assert.match(being, /^class other: version 1\.0 is 0 days old\n/);
  assert.deepEqual([versions('runner').length, versions('other').length], [2, 2]);
});

test('what_cannot_be_renewed_says_why', async (t) => {
  const { call, versions } = await scene(t);
  for (const [args, expected, text] of [
    [['refresh', '--class', 'small'], 1, /the configuration has no such class with the provider lambda: see --class/],
    [['--if-older-than', '20'], 2, /--if-older-than .*unit/], [['refresh', 'now'], 2, /unknown option/],
  ]) {
    const { code, stderr } = await call(...args);
    assert.equal(code, expected, stderr);
    assert.match(stderr, text);
  }
  versions('runner')[0].status = 'INACTIVE';
  const { code, stderr } = await call('refresh');
  assert.equal(code, 1);
  assert.match(stderr, /class runner: arn:.*:runner has no ACTIVE version to renew: publish one/);
});

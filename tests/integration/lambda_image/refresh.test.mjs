/* Renewing the images of a configuration, as a timer does it: the real program against the fakes of Lambda and S3, and GitHub's releases. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { options } from '../../fakes/lambda-microvms/lib/options.mjs';
import { FakeLambda } from '../../fakes/lambda-microvms/lib/server.mjs';
import { FakeS3 } from '../../fakes/lambda-microvms/s3.mjs';
import { spawn } from '../../lib/child.mjs';

const PROGRAM = process.env.MAYFLY_PUBLISH_IMAGE;
const CTL = process.env.MAYFLY_CTL;
const BUILD_ZIP = fileURLToPath(new URL('../../../deploy/image/lambda/build-zip', import.meta.url));
const KEY = 'AKIDEXAMPLE:not-a-secret';
const DAY_S = 86_400;
const OLD_SHA = 'a'.repeat(64);
const NEW_SHA = 'b'.repeat(64);

function releases(t, settings) {
  const server = http.createServer((request, response) => {
    const { version, days } = settings.release;
    const asset = (arch, digest) => ({ name: `actions-runner-linux-${arch}-${version}.tar.gz`, digest });
    response.end(JSON.stringify({
      tag_name: `v${version}`, published_at: new Date(Date.now() - days * DAY_S * 1000).toISOString(),
      assets: [asset('x64', `sha256:${'c'.repeat(64)}`), asset('arm64', `sha256:${NEW_SHA}`)],
    }));
  });
  t.after(() => server.close());
  return new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`)); });
}

async function scene(t, settings = {}) {
  const release = { version: '2.340.0', days: 3 };
  const lambda = new FakeLambda({ ...options.defaults(), list_rate: 0, image_build_ms: 20, key: [KEY], image: ['runner', 'other'], ...settings });
  const s3 = new FakeS3({ key: KEY });
  const entries = [];
  lambda.log.listeners.add((entry) => entries.push(entry));
  const [api] = await Promise.all([releases(t, { get release() { return release; } }), lambda.listen(), s3.listen()]);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-refresh-'));
  t.after(async () => {
    await Promise.all([lambda.stop(), s3.stop()]);
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const zip = path.join(dir, 'image.zip');
  const built = spawnSync(BUILD_ZIP, ['--runner-version', '2.337.0', '--runner-sha256', OLD_SHA, '--sudo', '-o', zip], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  s3.put('artifacts', 'mayfly/first.zip', fs.readFileSync(zip));
  const versions = (name) => lambda.images.byName.get(name).versions;
  for (const name of ['runner', 'other']) {
    versions(name)[0].spec = {
      baseImageArn: lambda.images.baseArn, baseImageVersion: '8', buildRoleArn: 'arn:aws:iam::123456789012:role/build', codeArtifact: { uri: 's3://artifacts/mayfly/first.zip' },
      resources: [{ minimumMemoryInMiB: 4096 }], additionalOsCapabilities: ['ALL'], environmentVariables: { A: 'b' },
    };
  }
  const config = path.join(dir, 'mayfly.json');
  const image = (name) => `arn:aws:lambda:us-east-1:123456789012:microvm-image:${name}`;
  fs.writeFileSync(config, JSON.stringify({
    queue: `sqlite://${dir}/queue.db`, ledger: `sqlite://${dir}/ledger.db`,
    github: { app: { id: '1', private_key: 'file:/nowhere/that/this/may/read' }, webhook_secrets: ['env:NOT_SET'] },
    classes: ['runner', 'other'].map((name) => ({ name, labels: ['self-hosted', name], provider: 'lambda', lambda: { endpoint: lambda.url, image: image(name) } })),
  }));
  const env = {
    PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'not-a-secret', AWS_EC2_METADATA_DISABLED: 'true', AWS_ENDPOINT_URL_S3: s3.url,
    ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '',
  };
  const run = (program, args) => new Promise((resolve) => {
    const child = spawn(program, args, { env });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => { out[name] += chunk; });
    child.on('close', (code) => resolve({ code, ...out, result: out.stdout && code === 0 ? JSON.parse(out.stdout) : null }));
  });
  /** The archive as the next version of the project would make it. */
  const another = path.join(dir, 'another.zip');
  const remade = spawnSync(BUILD_ZIP, ['--runner-version', '2.337.0', '--runner-sha256', OLD_SHA, '--sudo', '--packages', 'make', '-o', another], { encoding: 'utf8' });
  assert.equal(remade.status, 0, remade.stderr);
  const call = (...args) => run(PROGRAM, [...args, '--config', config, '--poll-ms', '20', '--github-api', api]);
  const ctl = async (...args) => (await run(CTL, ['--config', config, '--json', ...args])).result;
  const requests = (operation) => entries.filter((entry) => entry.event === 'request' && entry.operation === operation);
  const age = (name, days) => { versions(name).at(-1).createdAt -= days * DAY_S; };
  return { dir, another, config, lambda, s3, call, ctl, requests, versions, age, image, release };
}

/** The Dockerfile of an archive, as Python reads it. */
function dockerfileOf(dir, bytes) {
  fs.writeFileSync(path.join(dir, 'made.zip'), bytes);
  const read = spawnSync('python3', ['-c', 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(len(z.namelist())); print(z.read("Dockerfile").decode())', path.join(dir, 'made.zip')], { encoding: 'utf8' });
  assert.equal(read.status, 0, read.stderr);
  return read.stdout;
}

test('young_image_is_left_alone_with_a_line_for_each_class', async (t) => {
  const { call, requests, age } = await scene(t);
  age('runner', 19);
  const { code, stdout, stderr } = await call('--if-older-than', '20d');
  assert.deepEqual([code, stdout], [0, ''], stderr);
  assert.equal(stderr, 'class runner: version 1.0 is 19 days old and has runner 2.337.0, the newest is 2.340.0; renewed after 20d: nothing to do\n'
    + 'class other: version 1.0 is 0 days old and has runner 2.337.0, the newest is 2.340.0; renewed after 20d: nothing to do\n');
  assert.equal(requests('UpdateMicrovmImage').length, 0);
});

test('old_image_gets_a_version_with_the_newest_runner_and_what_it_had', async (t) => {
  const { dir, s3, call, requests, age, versions, image } = await scene(t);
  age('runner', 21);
  const { code, stderr, result } = await call('refresh', '--if-older-than', '20d');
  assert.equal(code, 0, stderr);
  assert.deepEqual(result, [{ class: 'runner', imageArn: image('runner'), imageVersion: '2.0', state: 'SUCCESSFUL', status: 'ACTIVE', tried: true }]);
  const { spec } = versions('runner').at(-1);
  const [, bucket, key] = /^s3:\/\/(\w+)\/(mayfly\/runner-[0-9a-f]{16}\.zip)$/.exec(spec.codeArtifact.uri);
  const made = s3.bytes(bucket, key);
  assert.equal(key, `mayfly/runner-${crypto.createHash('sha256').update(made).digest('hex').slice(0, 16)}.zip`);
  const [was, is] = [s3.bytes('artifacts', 'mayfly/first.zip'), made].map((bytes) => dockerfileOf(dir, bytes));
  assert.equal(is, was.replace('ARG RUNNER_VERSION="2.337.0"', 'ARG RUNNER_VERSION="2.340.0"').replace(`ARG RUNNER_SHA256="${OLD_SHA}"`, `ARG RUNNER_SHA256="${NEW_SHA}"`));
  assert.notEqual(is, was);
  const { codeArtifact, description, ...rest } = spec;
  assert.match(description, /^Mayfly [0-9.]+, runner 2\.340\.0, archive [0-9a-f]{16}$/);
  assert.deepEqual(rest, {
    baseImageArn: rest.baseImageArn, buildRoleArn: 'arn:aws:iam::123456789012:role/build', resources: [{ minimumMemoryInMiB: 4096 }], additionalOsCapabilities: ['ALL'], environmentVariables: { A: 'b' },
  });
  assert.equal((await call('refresh', '--if-older-than', '20d')).code, 0);
  assert.equal(requests('UpdateMicrovmImage').length, 1);
});

test('image_of_a_target_is_renewed_by_the_name_of_class_and_target', async (t) => {
  const { config, call, age, image } = await scene(t);
  const settings = JSON.parse(fs.readFileSync(config, 'utf8'));
  const { endpoint } = settings.classes[0].lambda;
  Object.assign(settings.classes[0], { lambda: { endpoint }, targets: [{ name: 'one', image: image('runner') }] });
  fs.writeFileSync(config, JSON.stringify(settings));
  for (const name of ['runner', 'other']) age(name, 21);
  const { code, stderr, result } = await call('refresh', '--if-older-than', '20d', '--class', 'runner@one');
  assert.equal(code, 0, stderr);
  assert.deepEqual(result.map((r) => [r.class, r.target, r.imageArn, r.imageVersion]), [['runner', 'one', image('runner'), '2.0']]);
  assert.match(stderr, /^class runner@one: version 1\.0 is 21 days old/m);
  assert.match((await call('refresh', '--if-older-than', '20d', '--class', 'runner@two')).stderr, /has no such class/);
});

test('image_of_another_archive_than_the_wanted_one_is_renewed_at_once_and_only_once', async (t) => {
  const { dir, another, s3, call, requests, versions, release } = await scene(t);
  const first = await call('refresh', '--no-try', '--class', `runner=${another}`);
  assert.deepEqual([first.code, first.result?.[0].imageVersion], [0, '2.0'], first.stderr);
  assert.match(first.stderr, /class runner: version 1\.0 was made of another archive than .*another\.zip: renewed/);
  const dockerfile = () => dockerfileOf(dir, s3.bytes('artifacts', versions('runner').at(-1).spec.codeArtifact.uri.replace('s3://artifacts/', '')));
  assert.match(dockerfile(), /^ARG PACKAGES="make"$/m);
  assert.match(dockerfile(), /^ARG RUNNER_VERSION="2\.340\.0"$/m);
  assert.equal((await call('refresh', '--no-try', '--class', `runner=${another}`)).result, null);

  // A newer runner alone is no other archive; and what is renewed for it keeps the contents.
  Object.assign(release, { version: '2.341.0', days: 1 });
  assert.equal((await call('refresh', '--no-try', '--zip', another, '--class', 'runner')).result, null);
  release.days = 21;
  assert.equal((await call('refresh', '--no-try', '--zip', another, '--class', 'runner')).result[0].imageVersion, '3.0');
  assert.match(dockerfile(), /^ARG PACKAGES="make"$/m);

  // In S3; a former archive is wanted again after a rollback.
  const back = await call('refresh', '--no-try', '--class', 'runner=s3://artifacts/mayfly/first.zip', '--bucket', 'artifacts', '--prefix', 'made');
  assert.equal(back.result?.[0].imageVersion, '4.0', back.stderr);
  assert.match(versions('runner').at(-1).spec.codeArtifact.uri, /^s3:\/\/artifacts\/made\/runner-[0-9a-f]{16}\.zip$/);
  assert.match(dockerfile(), /^ARG PACKAGES=""$/m);
  assert.equal(requests('UpdateMicrovmImage').length, 3);
  const missing = await call('refresh', '--class', 'runner=s3://artifacts/mayfly/none.zip');
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /class runner: cannot read s3:\/\/artifacts\/mayfly\/none\.zip/);
});

test('rejected_version_is_neither_what_is_judged_nor_built_again_each_day', async (t) => {
  const { another, dir, call, versions, requests, release, age, image } = await scene(t);
  const wanted = ['refresh', '--no-try', '--class', `runner=${another}`];
  assert.equal((await call(...wanted)).result[0].imageVersion, '2.0');
  const cell = `image=${image('runner')} good=1.0 since=1 former= canary= began=0 jobs=0 failures=0 good_failures=0 rejected=2.0 rejected_at=1 by=rule news= why=x`;
  const put = spawnSync('python3', ['-c', 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute("insert into cells (kind, name, value, version) values (\'image\', \'runner\', ?, 1)", (sys.argv[2],)); d.commit()',
    path.join(dir, 'ledger.db'), cell], { encoding: 'utf8' });
  assert.equal(put.status, 0, put.stderr);
  const refused = await call(...wanted);
  assert.deepEqual([refused.code, refused.stdout], [0, ''], refused.stderr);
  assert.match(refused.stderr, /version 2\.0 was made of the same, and was rejected or is INACTIVE: nothing to do before/);
  assert.equal(requests('UpdateMicrovmImage').length, 1);

  // Without a wanted archive the age of the version that is launched counts, and not the rejected one's.
  age('runner', 5);
  versions('runner')[0].createdAt -= 30 * DAY_S;
  const old = await call('refresh', '--no-try', '--class', 'runner');
  assert.match(old.stderr, /class runner: version 1\.0 is 30 days old/);
  assert.equal(old.result?.[0].imageVersion, '3.0');
  // One whose trial failed, or that somebody switched off, is the same; another runner is worth a try.
  versions('runner')[2].status = 'INACTIVE';
  assert.equal((await call('refresh', '--no-try', '--class', 'runner')).result, null);
  Object.assign(release, { version: '2.341.0', days: 1 });
  assert.equal((await call('refresh', '--no-try', '--class', 'runner')).result?.[0].imageVersion, '4.0');
});

test('pinned_version_of_class_or_base_stays', async (t) => {
  const { call, config, versions, requests } = await scene(t);
  const pinned = JSON.parse(fs.readFileSync(config, 'utf8'));
  pinned.classes[1].lambda.image_version = '1.0';
  fs.writeFileSync(config, JSON.stringify(pinned));
  versions('runner')[0].spec.baseImageVersion = '9';
  const kept = await call('--if-older-than', '20d', '--no-try', '--base-version', '9');
  assert.deepEqual([kept.code, kept.stdout], [0, ''], kept.stderr);
  assert.match(kept.stderr, /WARNING: version 1\.0 was built on version 9 of the base image, which is RECALLED: name another one \(--base-version\)/);
  assert.match(kept.stderr, /class other: its configuration names version 1\.0 of the image: nothing to do/);
  assert.equal(requests('UpdateMicrovmImage').length, 0);
  assert.equal((await call('--if-older-than', '20d', '--no-try', '--base-version', '8')).result?.[0].imageVersion, '2.0');
  assert.equal(versions('runner').at(-1).spec.baseImageVersion, '8');
});

test('runner_that_was_replaced_long_ago_and_a_recalled_base_make_an_image_old', async (t) => {
  const { call, versions, release } = await scene(t);
  release.days = 20.5;
  const { code, stderr, result } = await call('--if-older-than', '20d', '--class', 'runner', '--no-try');
  assert.deepEqual([code, result[0].imageVersion], [0, '2.0'], stderr);
  release.days = 1;
  versions('other')[0].spec.baseImageVersion = '9';
  const recalled = await call('--if-older-than', '20d', '--no-try');
  assert.deepEqual(recalled.result.map((r) => [r.class, r.imageVersion]), [['other', '2.0']], recalled.stderr);
  assert.match(recalled.stderr, /class other: WARNING: version 1\.0 was built on version 9 of the base image, which is RECALLED/);
  assert.equal(versions('other').at(-1).spec.baseImageVersion, undefined);
});

test('two_runs_at_once_make_one_version', async (t) => {
  const { call, requests, age } = await scene(t, { image_build_ms: 300 });
  age('runner', 30);
  const runs = await Promise.all([1, 2, 3].map(() => call('--if-older-than', '20d', '--class', 'runner', '--no-try')));
  assert.deepEqual(runs.map((r) => r.code), [0, 0, 0], runs.map((r) => r.stderr).join('\n'));
  assert.equal(runs.filter((r) => r.result).length, 1);
  assert.equal(requests('UpdateMicrovmImage').length, 1);
  assert.match(runs.map((r) => r.stderr).join('\n'), /another run renews its image: nothing to do/);
});

test('pruning_keeps_the_newest_and_what_runs', async (t) => {
  const { lambda, call, versions, age, requests } = await scene(t);
  const { spec } = versions('runner')[0];
  for (let n = 2; n <= 8; n += 1) {
    const version = lambda.images.addVersion(lambda.images.byName.get('runner'), spec);
    version.setState('SUCCESSFUL');
  }
  lambda.fleet.launch({ imageIdentifier: 'x', maximumDurationInSeconds: 600, clientToken: 'a' }, lambda.images.byName.get('runner'), versions('runner')[2]);
  age('runner', 30);
  const { code, stderr } = await call('--if-older-than', '20d', '--class', 'runner', '--no-try', '--keep-versions', '3');
  assert.equal(code, 0, stderr);
  assert.deepEqual(versions('runner').map((v) => v.version), ['3.0', '7.0', '8.0', '9.0'], stderr);
  assert.equal(requests('DeleteMicrovmImageVersion').length, 5);
});

test('what_cannot_be_renewed_says_why', async (t) => {
  const { call, versions, s3 } = await scene(t);
  for (const [args, expected, text] of [
    [['refresh', '--class', 'small'], 1, /the configuration has no such class with the provider lambda: see --class/],
    [['--if-older-than', '20'], 2, /--if-older-than .*unit/], [['refresh', 'now'], 2, /unknown option/], [['refresh', '--keep-versions', '1'], 2, /from 2 to 45/],
    [['publish', '--name', 'a', '--zip', '/x', '--build-role', 'r', '--bucket', 'bucket', '--egress', 'a', '--egress', 'b'], 2, /--egress may be given once/],
  ]) {
    const { code, stderr } = await call(...args);
    assert.equal(code, expected, stderr);
    assert.match(stderr, text);
  }
  s3.put('artifacts', 'mayfly/first.zip', Buffer.from('PK\x05\x06 no archive at all, but some bytes'));
  assert.match((await call('refresh')).stderr, /class runner: the archive is not a zip archive|class runner: the archive (is damaged|has no Dockerfile)/);
  versions('runner')[0].status = 'INACTIVE';
  const { code, stderr } = await call('refresh');
  assert.equal(code, 1);
  assert.match(stderr, /class runner: arn:.*:runner has no ACTIVE version to renew: publish one/);
});

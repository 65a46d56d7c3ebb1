/* Publishing an image: the real program against the fakes of Lambda and S3. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { options } from '../../fakes/lambda-microvms/lib/options.mjs';
import { FakeLambda } from '../../fakes/lambda-microvms/lib/server.mjs';
import { FakeS3 } from '../../fakes/lambda-microvms/s3.mjs';
import { spawn } from '../../lib/child.mjs';

const PROGRAM = process.env.MAYFLY_PUBLISH_IMAGE;
const KEY = 'AKIDEXAMPLE:not-a-secret';
const ROLE = 'arn:aws:iam::123456789012:role/build';
const PARTITIONS = [['us-gov-west-1', 'aws-us-gov'], ['cn-north-1', 'aws-cn']];

async function scene(t, settings = {}) {
  const lambda = new FakeLambda({ ...options.defaults(), list_rate: 0, image_build_ms: 20, key: [KEY], ...settings });
  const s3 = new FakeS3({ key: KEY });
  const entries = [];
  lambda.log.listeners.add((entry) => entries.push(entry));
  await Promise.all([lambda.listen(), s3.listen()]);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-publish-'));
  const zip = path.join(dir, 'image.zip');
  const bytes = Buffer.concat([Buffer.from('PK\x03\x04'), crypto.randomBytes(2_000_000)]);
  fs.writeFileSync(zip, bytes);
  t.after(async () => {
    await Promise.all([lambda.stop(), s3.stop()]);
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const env = {
    PATH: process.env.PATH, AWS_REGION: lambda.config.region, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'not-a-secret',
    AWS_EC2_METADATA_DISABLED: 'true', AWS_ENDPOINT_URL_LAMBDA: lambda.url, AWS_ENDPOINT_URL_S3: s3.url, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '',
  };
  const children = [];
  const call = (...args) => new Promise((resolve) => {
    const child = spawn(PROGRAM, args, { env });
    children.push(child);
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => { out[name] += chunk; });
    child.on('close', (code) => resolve({ code, ...out, result: code === 0 ? JSON.parse(out.stdout) : null }));
  });
  const role = settings.role ?? ROLE;
  const publish = (...more) => call('publish', '--name', 'runner', '--zip', zip, '--bucket', 'artifacts', '--build-role', role, '--poll-ms', '20', ...more);
  const requests = (operation) => entries.filter((entry) => entry.event === 'request' && entry.operation === operation);
  return { lambda, s3, call, children, publish, requests, zip, digest: crypto.createHash('sha256').update(bytes).digest('hex') };
}

const version = (lambda, n = -1) => lambda.images.byName.get('runner').versions.at(n);

test('new_image_is_uploaded_created_and_waited_for', async (t) => {
  const { lambda, s3, publish, requests, digest } = await scene(t);
  const { code, stderr, result } = await publish('--docker', '--memory-mib', '4096', '--log-group', '/mayfly/builds', '--tag', 'team=ci', '--ready-seconds', '1200');
  assert.equal(code, 0, stderr);
  assert.deepEqual(result, {
    imageArn: 'arn:aws:lambda:us-east-1:123456789012:microvm-image:runner', imageVersion: '1.0', state: 'SUCCESSFUL', status: 'ACTIVE', tried: true,
  });
  const [object] = s3.objects.values();
  assert.deepEqual(object, { bucket: 'artifacts', key: `mayfly/runner-${digest.slice(0, 16)}.zip`, bytes: 2_000_004, sha256: digest });
  const { spec } = version(lambda);
  assert.equal(spec.codeArtifact.uri, `s3://artifacts/${object.key}`);
  assert.deepEqual(spec.resources, [{ minimumMemoryInMiB: 4096 }]);
  assert.deepEqual(spec.additionalOsCapabilities, ['ALL']);
  assert.deepEqual(spec.logging, { cloudWatch: { logGroup: '/mayfly/builds' } });
  assert.deepEqual(spec.egressNetworkConnectors, ['arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS']);
  assert.equal(spec.hooks.port, 9000);
  assert.deepEqual(spec.hooks.microvmImageHooks, { ready: 'ENABLED', readyTimeoutInSeconds: 1200, validate: 'ENABLED', validateTimeoutInSeconds: 900 });
  for (const hook of ['run', 'resume', 'suspend', 'terminate']) {
    assert.deepEqual([spec.hooks.microvmHooks[hook], spec.hooks.microvmHooks[`${hook}TimeoutInSeconds`]], ['ENABLED', 60]);
  }
  assert.equal(lambda.images.byName.get('runner').tags.team, 'ci');
  assert.match(stderr, /creating the image runner\n[^]*\nSUCCESSFUL \(GRAVITON 3: SUCCESSFUL, GRAVITON 4: SUCCESSFUL\)\n/);
  assert.equal(requests('CreateMicrovmImage').length, 1);
});

test('image_that_is_there_gets_a_new_version_without_what_is_not_asked_for', async (t) => {
  const { lambda, publish, requests } = await scene(t, { empty_page_every: 1, page_size: 1, image: ['runner-old', 'mayfly'] });
  assert.equal((await publish('--docker', '--tag', 'a=b')).code, 0);
  const { code, result } = await publish('--egress', 'arn:aws:lambda:us-east-1:123456789012:network-connector:vpc', '--base-version', '7', '--tag', 'a=c');
  assert.deepEqual([code, result.imageVersion], [0, '2.0']);
  const { spec } = version(lambda);
  assert.equal(spec.additionalOsCapabilities, undefined);
  assert.deepEqual(spec.logging, { disabled: {} });
  assert.equal(spec.baseImageVersion, '7');
  assert.deepEqual(spec.egressNetworkConnectors, ['arn:aws:lambda:us-east-1:123456789012:network-connector:vpc']);
  assert.deepEqual([requests('CreateMicrovmImage').length, requests('UpdateMicrovmImage').length], [1, 1]);
});

test('other_partitions_have_arns_of_their_own', async (t) => {
  for (const [region, partition] of PARTITIONS) {
    const { lambda, publish } = await scene(t, { region, role: `arn:${partition}:iam::123456789012:role/build`, x86_64: true });
    const { code, stderr, result } = await publish('--architecture', 'x86_64');
    assert.deepEqual([code, result?.imageArn], [0, `arn:${partition}:lambda:${region}:123456789012:microvm-image:runner`], stderr);
    const own = (name) => `arn:${partition}:lambda:${region}:aws:network-connector:aws-network-connector:${name}`;
    const { spec } = version(lambda);
    assert.equal(spec.baseImageArn, `arn:${partition}:lambda:${region}:aws:microvm-image:al2023-1`);
    assert.deepEqual(spec.egressNetworkConnectors, [own('INTERNET_EGRESS')]);
    const [vm] = vms(lambda);
    assert.deepEqual([vm.spec.ingressNetworkConnectors, vm.spec.egressNetworkConnectors], [[own('NO_INGRESS')], [own('INTERNET_EGRESS')]]);
  }
});

test('x86_64_is_published_where_the_region_lists_it_and_nothing_is_uploaded_elsewhere', async (t) => {
  const { lambda, s3, publish, requests } = await scene(t, { empty_page_every: 1, page_size: 1 });
  const refused = await publish('--architecture', 'x86_64');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /nothing was uploaded: us-east-1 does not take X86_64 \(version 8 of the base image lists as its architectures: ARM_64\); build the archive for arm64/);
  assert.deepEqual([s3.objects.size, requests('CreateMicrovmImage').length], [0, 0]);
  lambda.config.x86_64 = true;
  const { code, stderr } = await publish('--architecture', 'x86_64');
  assert.equal(code, 0, stderr);
  assert.deepEqual(version(lambda).spec.cpuConfigurations, [{ architecture: 'X86_64' }]);
  assert.match(stderr, /SUCCESSFUL \(INTEL 3: SUCCESSFUL, INTEL 4: SUCCESSFUL\)/);
  for (const [base, text] of [['7', /version 7 of the base image lists as its architectures: none/], ['6', /lists no version 6 of arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1/]]) {
    const other = await publish('--architecture', 'x86_64', '--base-version', base);
    assert.equal(other.code, 1);
    assert.match(other.stderr, text);
  }
  lambda.faults.add([{ operation: 'ListManagedMicrovmImageVersions', preset: 'denied', times: 1 }]);
  assert.match((await publish('--architecture', 'x86_64')).stderr, /nothing was uploaded, since it could not be read whether us-east-1 takes X86_64 \(lambda:ListManagedMicrovmImageVersions must be allowed\): .*AccessDenied/);
  const before = requests('ListManagedMicrovmImageVersions').length;
  assert.equal((await publish()).code, 0);
  assert.deepEqual(version(lambda).spec.cpuConfigurations, [{ architecture: 'ARM_64' }]);
  assert.equal(requests('ListManagedMicrovmImageVersions').length, before);
});

test('failed_build_tells_every_reason', async (t) => {
  const { publish } = await scene(t, { image_build_failure: 'Ready hook invocation timed out after PT15M' });
  const { code, stderr } = await publish();
  assert.equal(code, 1);
  assert.match(stderr, /build [0-9a-f-]{36} \(GRAVITON 4\) failed: Ready hook invocation timed out after PT15M/);
  assert.match(stderr, /version 1\.0 failed: One or more builds failed\./);
  assert.match(stderr, /--log-group/);
});

test('lost_answers_and_throttling_make_no_second_version', async (t) => {
  const { lambda, s3, publish, requests } = await scene(t);
  s3.failures.push({ status: 503, code: 'SlowDown' });
  lambda.faults.add([
    { operation: 'CreateMicrovmImage', drop: true, times: 1 }, { operation: 'ListMicrovmImages', preset: 'internal', times: 1 },
    { operation: 'GetMicrovmImageVersion', preset: 'bad-gateway', times: 1 },
  ]);
  lambda.config.retry_after_s = 0;
  const { code, stderr } = await publish();
  assert.equal(code, 0, stderr);
  assert.ok(requests('CreateMicrovmImage').length >= 2);
  assert.equal(lambda.images.byName.get('runner').versions.length, 1);
});

test('versions_are_told_and_switched', async (t) => {
  const { lambda, call, publish } = await scene(t);
  await publish();
  await publish();
  const told = await call('versions', '--name', 'runner');
  assert.deepEqual(told.result.map((v) => [v.imageVersion, v.status]), [['2.0', 'ACTIVE'], ['1.0', 'ACTIVE']]);
  assert.equal((await call('deactivate', '--name', 'runner', '2.0')).result.status, 'INACTIVE');
  assert.equal(version(lambda).status, 'INACTIVE');
  assert.equal((await call('activate', '--name', 'runner', '2.0')).result.status, 'ACTIVE');
  const missing = await call('versions', '--name', 'runne');
  assert.match(missing.stderr, /there is no image runne in us-east-1/);
});

test('build_that_takes_too_long_is_left_and_told', async (t) => {
  const { publish } = await scene(t, { image_build_ms: 60_000 });
  const { code, stderr } = await publish('--wait-seconds', '1');
  assert.equal(code, 1);
  assert.match(stderr, /\nPENDING \(GRAVITON 3: PENDING, GRAVITON 4: PENDING\)\n/);
  assert.match(stderr, /version 1\.0 was still PENDING .* after 1 s/);
});

const vms = (lambda) => lambda.fleet.list;

test('new_version_is_tried_in_a_vm_that_is_terminated', async (t) => {
  const { lambda, publish, requests } = await scene(t);
  const { code, stderr, result } = await publish('--egress', 'arn:aws:lambda:us-east-1:123456789012:network-connector:vpc');
  assert.deepEqual([code, result.tried], [0, true], stderr);
  const [vm] = vms(lambda);
  assert.deepEqual([vms(lambda).length, vm.version.version, vm.spec.runHookPayload], [1, '1.0', 'mayfly-try']);
  assert.deepEqual(vm.spec.egressNetworkConnectors, ['arn:aws:lambda:us-east-1:123456789012:network-connector:vpc']);
  assert.deepEqual(vm.spec.ingressNetworkConnectors, ['arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:NO_INGRESS']);
  assert.ok(vm.history.some(([, state]) => state === 'RUNNING'));
  assert.match(vm.state, /^TERMINAT/);
  assert.equal(vm.spec.maximumDurationInSeconds, 240);
  assert.match(stderr, new RegExp(`trying version 1\\.0 in ${vm.id}`));
  assert.equal(requests('TerminateMicrovm').length, 1);
  assert.doesNotMatch(stderr, /not terminated/);
});

test('version_whose_vm_does_not_start_is_inactive_and_the_one_before_stays_in_use', async (t) => {
  const { lambda, publish } = await scene(t);
  assert.equal((await publish()).code, 0);
  lambda.faults.add([{ vm: 'fail-start', times: 1 }]);
  const { code, stderr } = await publish();
  assert.equal(code, 1);
  assert.match(stderr, /version 2\.0 was built, but is INACTIVE now.*its VM did not start: TERMINATED: Run hook failed: connection refused/);
  const image = lambda.images.byName.get('runner');
  assert.deepEqual(image.versions.map((v) => v.status), ['ACTIVE', 'INACTIVE']);
  assert.equal(lambda.images.versionToRun(image).version, '1.0');
});

test('version_whose_vm_never_runs_is_inactive_and_the_vm_ends', async (t) => {
  const { lambda, publish } = await scene(t, { start_ms: 60_000 });
  const { code, stderr } = await publish('--try-seconds', '1');
  assert.equal(code, 1);
  assert.match(stderr, /its VM was still PENDING after 1 s/);
  assert.equal(version(lambda).status, 'INACTIVE');
  assert.match(vms(lambda)[0].state, /^TERMINAT/);
});

test('trial_that_a_signal_ends_leaves_neither_a_vm_nor_an_active_version', async (t) => {
  for (const [signal, expected] of [['SIGINT', 130], ['SIGTERM', 143]]) {
    const { lambda, children, publish } = await scene(t, { start_ms: 60_000 });
    const tried = new Promise((resolve) => {
      lambda.log.listeners.add((entry) => { if (entry.event === 'request' && entry.operation === 'GetMicrovm') resolve(); });
    });
    const published = publish();
    await tried;
    children[0].kill(signal);
    const { code, stderr } = await published;
    assert.equal(code, expected, stderr);
    assert.match(stderr, /version 1\.0 was built, but is INACTIVE now.*stopped by a signal \(.*\) during the trial/);
    assert.equal(version(lambda).status, 'INACTIVE');
    assert.match(vms(lambda)[0].state, /^TERMINAT/);
  }
});

test('trial_that_is_refused_is_said_aloud_and_the_version_stays_active', async (t) => {
  const { lambda, publish, requests } = await scene(t);
  lambda.faults.add([{ operation: 'RunMicrovm', preset: 'denied', times: 1 }]);
  const { code, stderr, result } = await publish();
  assert.deepEqual([code, result.tried, version(lambda).status], [0, false, 'ACTIVE'], stderr);
  assert.match(stderr, /version 1\.0 is ACTIVE, but NO VM OF IT WAS TRIED: RunMicrovm: AccessDeniedException.*lambda:RunMicrovm/);
  assert.equal(requests('TerminateMicrovm').length, 0);
  lambda.faults.add([{ operation: 'RunMicrovm', preset: 'denied', times: 1 }]);
  assert.equal((await publish('--try')).code, 1);
  assert.equal(version(lambda).status, 'INACTIVE');
  const without = await publish('--no-try');
  assert.deepEqual([without.code, without.result.tried, vms(lambda).length], [0, false, 0]);
});

test('lost_response_of_the_launch_leaves_no_second_vm', async (t) => {
  const { lambda, publish } = await scene(t);
  lambda.faults.add([{ operation: 'RunMicrovm', drop: true, times: 1 }, { operation: 'GetMicrovm', preset: 'bad-gateway', times: 1 }]);
  const { code, stderr } = await publish();
  assert.equal(code, 0, stderr);
  assert.equal(vms(lambda).length, 1);
  assert.match(vms(lambda)[0].state, /^TERMINAT/);
});

test('refusals_say_what_to_do', async (t) => {
  const { call, publish, zip } = await scene(t);
  const bucket = await call('publish', '--name', 'runner', '--zip', zip, '--bucket', 'other-bucket', '--build-role', ROLE);
  assert.equal(bucket.code, 1);
  assert.match(bucket.stderr, /cannot upload to s3:\/\/other-bucket\/mayfly\/runner-.*the bucket must be in us-east-1.*404/);
  const role = await publish('--build-role', 'build');
  assert.match(role.stderr, /CreateMicrovmImage: ValidationException: buildRoleArn is not an ARN/);
  fs.writeFileSync(zip, 'no zip');
  assert.match((await publish()).stderr, /is not a zip archive: create one with build-zip/);
  for (const [args, text] of [
    [['publish', '--name', 'a b'], /--name must have/], [['publish', '--name', 'a'], /publish requires --zip/], [['deactivate', '--name', 'a'], /VERSION is missing/],
    [['publish', '--name', 'a', '--hook-seconds', '61'], /from 1 to 60/], [['remove', '--name', 'a'], /the command is/],
    [['publish', '--name', 'a', '--zip', zip, '--build-role', ROLE, '--bucket', 'b/../x'], /--bucket must be/],
    [['publish', '--name', 'a', '--zip', zip, '--build-role', ROLE, '--bucket', 'bucket', '--memory-mib', '3000'], /--memory-mib must be one of/],
    [['publish', '--name', 'a', '--zip', zip, '--build-role', ROLE, '--bucket', 'bucket', '--architecture', 'amd64'], /--architecture must be arm64 or x86_64/],
  ]) {
    const { code, stderr } = await call(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, text);
  }
});

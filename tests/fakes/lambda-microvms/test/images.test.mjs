/* Operations on images, judged by AWS's own client. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AccessDeniedException, ConflictException, CreateMicrovmImageCommand, DeleteMicrovmImageCommand, GetMicrovmImageBuildCommand, GetMicrovmImageCommand,
  GetMicrovmImageVersionCommand, ListManagedMicrovmImageVersionsCommand, ListMicrovmImageBuildsCommand, ResourceNotFoundException, RunMicrovmCommand, UpdateMicrovmImageCommand,
  UpdateMicrovmImageVersionCommand, ValidationException, paginateListMicrovmImageVersions, paginateListMicrovmImages,
} from '@aws-sdk/client-lambda-microvms';
import { client, startFake } from './support.mjs';

const spec = (fields = {}) => ({
  baseImageArn: 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1', buildRoleArn: 'arn:aws:iam::123456789012:role/build',
  codeArtifact: { uri: 's3://bucket/key.zip' }, resources: [{ minimumMemoryInMiB: 4096 }], ...fields,
});
const hooks = {
  port: 9000, microvmHooks: { run: 'ENABLED', runTimeoutInSeconds: 60 }, microvmImageHooks: { ready: 'ENABLED', readyTimeoutInSeconds: 3600 },
};
const create = (fields) => new CreateMicrovmImageCommand({ name: 'runner', ...spec(fields) });
const fails = (promise, type, message) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof type, `${error.name}: ${error.message}`);
  if (message) assert.match(error.message, message);
  return true;
});

test('image_is_built_and_updated_and_its_versions_are_told', async (t) => {
  const fake = await startFake(t, { image_build_ms: 1, empty_page_every: 1, page_size: 1 });
  const c = client(t, fake);
  const made = await c.send(create({ hooks, additionalOsCapabilities: ['ALL'], tags: { team: 'ci' }, logging: { cloudWatch: { logGroup: 'builds' } } }));
  assert.deepEqual([made.name, made.state, made.imageVersion, made.$metadata.httpStatusCode], ['runner', 'CREATING', '1.0', 201]);
  assert.deepEqual(made.hooks, hooks);
  const imageIdentifier = made.imageArn;
  await fake.happened('image_built', { version: '1.0' });
  const image = await c.send(new GetMicrovmImageCommand({ imageIdentifier }));
  assert.deepEqual([image.state, image.latestActiveImageVersion, image.tags.team], ['CREATED', '1.0', 'ci']);
  const updated = await c.send(new UpdateMicrovmImageCommand({ imageIdentifier, ...spec() }));
  assert.deepEqual([updated.state, updated.imageVersion], ['UPDATING', '2.0']);
  await fake.happened('image_built', { version: '2.0' });
  const versions = [];
  for await (const page of paginateListMicrovmImageVersions({ client: c }, { imageIdentifier })) versions.push(...page.items);
  assert.deepEqual(versions.map((v) => [v.imageVersion, v.state, v.status]), [['2.0', 'SUCCESSFUL', 'ACTIVE'], ['1.0', 'SUCCESSFUL', 'ACTIVE']]);
  const names = [];
  for await (const page of paginateListMicrovmImages({ client: c }, {})) names.push(...page.items.map((item) => item.name));
  assert.deepEqual(names, ['mayfly', 'runner']);
  const vm = await c.send(new RunMicrovmCommand({ imageIdentifier }));
  assert.equal(vm.imageVersion, '2.0');
});

test('inactive_version_is_not_run', async (t) => {
  const fake = await startFake(t, { image_build_ms: 1 });
  const c = client(t, fake);
  const { imageArn: imageIdentifier } = await c.send(create());
  const set = (status) => c.send(new UpdateMicrovmImageVersionCommand({ imageIdentifier, imageVersion: '1.0', status }));
  await fake.happened('image_built', { version: '1.0' });
  assert.equal((await set('INACTIVE')).status, 'INACTIVE');
  await fails(c.send(new RunMicrovmCommand({ imageIdentifier })), ResourceNotFoundException, /No active version/);
  await set('ACTIVE');
  await c.send(new RunMicrovmCommand({ imageIdentifier }));
  await fails(set('GONE'), ValidationException);
});

test('image_that_is_being_built_is_left_alone', async (t) => {
  const fake = await startFake(t, { image_build_ms: 60_000 });
  const c = client(t, fake);
  const { imageArn: imageIdentifier } = await c.send(create());
  await fails(c.send(new UpdateMicrovmImageCommand({ imageIdentifier, ...spec() })), ConflictException, /being built/);
  await fails(c.send(new UpdateMicrovmImageVersionCommand({ imageIdentifier, imageVersion: '1.0', status: 'INACTIVE' })), ConflictException, /PENDING/);
});

test('deleted_image_is_gone_after_a_while_and_its_name_is_free', async (t) => {
  const fake = await startFake(t, { image_build_ms: 1 });
  const c = client(t, fake);
  const { imageArn: imageIdentifier } = await c.send(create());
  const remove = () => c.send(new DeleteMicrovmImageCommand({ imageIdentifier }));
  await fake.happened('image_built', { version: '1.0' });
  fake.config.image_build_ms = 60_000;
  const { imageIdentifier: told, state } = await remove();
  assert.deepEqual([told, state], [imageIdentifier, 'DELETING']);
  assert.equal((await c.send(new GetMicrovmImageCommand({ imageIdentifier }))).state, 'DELETING');
  await fails(c.send(new RunMicrovmCommand({ imageIdentifier })), ResourceNotFoundException, /No active version/);
  await fails(c.send(create()), ConflictException, /exists already/);
  await fails(c.send(new UpdateMicrovmImageCommand({ imageIdentifier, ...spec() })), ConflictException, /being deleted/);
  fake.images.forget(fake.images.byName.get('runner'));
  await fails(c.send(new GetMicrovmImageCommand({ imageIdentifier })), ResourceNotFoundException);
  assert.equal((await remove()).state, 'DELETED');
  await fails(c.send(new DeleteMicrovmImageCommand({ imageIdentifier: `${imageIdentifier}-never` })), ResourceNotFoundException);
  assert.equal((await c.send(create())).imageVersion, '1.0');
  await fails(remove(), ConflictException, /being built/);
});

test('failed_build_tells_its_reason', async (t) => {
  const fake = await startFake(t, { image_build_ms: 1, image_build_failure: 'Ready hook invocation timed out' });
  const c = client(t, fake);
  const { imageArn: imageIdentifier } = await c.send(create());
  await fake.happened('image_built', { state: 'FAILED' });
  const version = await c.send(new GetMicrovmImageVersionCommand({ imageIdentifier, imageVersion: '1.0' }));
  assert.deepEqual([version.state, version.stateReason], ['FAILED', 'One or more builds failed.']);
  const image = await c.send(new GetMicrovmImageCommand({ imageIdentifier }));
  assert.deepEqual([image.state, image.latestFailedImageVersion, image.latestActiveImageVersion], ['CREATE_FAILED', '1.0', undefined]);
  const { items } = await c.send(new ListMicrovmImageBuildsCommand({ imageIdentifier, imageVersion: '1.0' }));
  assert.deepEqual(items.map((b) => [b.buildState, b.stateReason]), [['SUCCESSFUL', undefined], ['FAILED', 'Ready hook invocation timed out']]);
  const build = await c.send(new GetMicrovmImageBuildCommand({ imageIdentifier, imageVersion: '1.0', buildId: items[0].buildId }));
  assert.equal(build.snapshotBuild.memorySnapshotSizeInBytes, 604_000_000);
});

test('token_replays_or_conflicts', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  const first = await c.send(create({ clientToken: 'once' }));
  const again = await c.send(create({ clientToken: 'once' }));
  assert.equal(again.imageVersion, first.imageVersion);
  await fails(c.send(create({ clientToken: 'once', description: 'other' })), ConflictException, /other parameters/);
  await fails(c.send(create()), ConflictException, /exists already/);
});

test('x86_64_is_taken_where_the_region_lists_it', async (t) => {
  const fake = await startFake(t, { image_build_ms: 1 });
  const c = client(t, fake);
  const base = spec().baseImageArn;
  const x86 = (name) => create({ name, cpuConfigurations: [{ architecture: 'X86_64' }] });
  // This release of AWS's client drops a member that the newest model has, so what the body lists is read from it.
  const listed = async () => {
    const url = `${fake.url}/2025-09-09/managed-microvm-images/${encodeURIComponent(base)}/versions`;
    const { items } = await (await fetch(url, { headers: { authorization: 'none' } })).json();
    return items.find((item) => item.status === 'AVAILABLE').supportedCpuConfigurations.map((cpu) => cpu.architecture);
  };
  const { items } = await c.send(new ListManagedMicrovmImageVersionsCommand({ imageIdentifier: base }));
  assert.deepEqual(items.map((item) => [item.imageVersion, item.status, item.imageArn]), [['9', 'RECALLED', base], ['8', 'AVAILABLE', base], ['7', 'DEPRECATED', base]]);
  assert.ok(items[1].createdAt instanceof Date);
  assert.deepEqual(await listed(), ['ARM_64']);
  await fails(c.send(x86('one')), ValidationException, /architecture is one of ARM_64\./);
  fake.config.x86_64 = true;
  assert.deepEqual(await listed(), ['ARM_64', 'X86_64']);
  const { imageArn: imageIdentifier } = await c.send(x86('two'));
  const builds = await c.send(new ListMicrovmImageBuildsCommand({ imageIdentifier, imageVersion: '1.0' }));
  assert.deepEqual(builds.items.map((build) => [build.architecture, build.chipset]), [['X86_64', 'INTEL'], ['X86_64', 'INTEL']]);
});

test('each_partition_has_arns_of_its_own', async (t) => {
  for (const [region, partition] of [['us-gov-west-1', 'aws-us-gov'], ['cn-north-1', 'aws-cn']]) {
    const fake = await startFake(t, { image_build_ms: 1, region });
    const c = client(t, fake, { region });
    const own = { baseImageArn: `arn:${partition}:lambda:${region}:aws:microvm-image:al2023-1`, buildRoleArn: `arn:${partition}:iam::123456789012:role/build` };
    assert.equal((await c.send(create(own))).imageArn, `arn:${partition}:lambda:${region}:123456789012:microvm-image:runner`);
    await fails(c.send(create({ ...own, baseImageArn: `arn:aws:lambda:${region}:aws:microvm-image:al2023-1` })), ValidationException, /baseImageArn/);
    await fails(c.send(create({ ...own, buildRoleArn: spec().buildRoleArn })), ValidationException, /buildRoleArn/);
    const connector = (of) => `arn:${of}:lambda:${region}:aws:network-connector:aws-network-connector:INTERNET_EGRESS`;
    await fails(c.send(create({ ...own, egressNetworkConnectors: [connector('aws')] })), ValidationException, /egress/);
    const run = (of) => c.send(new RunMicrovmCommand({ imageIdentifier: `arn:${partition}:lambda:${region}:123456789012:microvm-image:mayfly`, egressNetworkConnectors: [connector(of)] }));
    await fails(run('aws'), ValidationException, /egress/);
    assert.deepEqual((await run(partition)).egressNetworkConnectors, [connector(partition)]);
  }
});

test('what_the_service_refuses_is_refused', async (t) => {
  const fake = await startFake(t);
  const c = client(t, fake);
  await fails(c.send(create({ name: 'a b' })), ValidationException);
  await fails(c.send(create({ baseImageArn: 'arn:aws:lambda:eu-west-1:aws:microvm-image:al2023-1' })), ValidationException, /region/);
  await fails(c.send(create({ buildRoleArn: 'role' })), ValidationException);
  await fails(c.send(create({ codeArtifact: { uri: 'https://bucket/key' } })), ValidationException);
  await fails(c.send(create({ resources: [{ minimumMemoryInMiB: 3000 }] })), ValidationException);
  await fails(c.send(create({ additionalOsCapabilities: ['SYS_ADMIN'] })), ValidationException);
  await fails(c.send(create({ egressNetworkConnectors: ['INTERNET_EGRESS'] })), ValidationException);
  await fails(c.send(create({ hooks: { ...hooks, port: undefined } })), ValidationException, /port/);
  await fails(c.send(create({ hooks: { ...hooks, microvmHooks: { run: 'ENABLED', runTimeoutInSeconds: 61 } } })), ValidationException, /between 1 and 60/);
  await fails(c.send(create({ hooks: { ...hooks, microvmImageHooks: {} } })), ValidationException, /ready/);
  await fails(c.send(new GetMicrovmImageCommand({ imageIdentifier: 'arn:aws:lambda:us-east-1:123456789012:microvm-image/mayfly' })), AccessDeniedException);
});

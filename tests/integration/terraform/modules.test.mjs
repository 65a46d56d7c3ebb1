// The submodules `image` and `webhook` applied to the stand-ins for Lambda MicroVMs and GitHub.
import assert from 'node:assert/strict';
import test from 'node:test';
import { FakeGitHub } from '../../fakes/github/lib/server.mjs';
import { options as githubOptions } from '../../fakes/github/lib/options.mjs';
import { FakeLambda } from '../../fakes/lambda-microvms/lib/server.mjs';
import { options as lambdaOptions } from '../../fakes/lambda-microvms/lib/options.mjs';
import { Terraform, options } from './terraform.mjs';

const ACCOUNT = '123456789012';
const BASE = 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1';

async function listening(t, fake) {
  t.after(() => fake.stop());
  return fake.listen();
}

const IMAGE = `
variable "memory" { default = 2048 }
variable "artifact" { default = "s3://artifacts/one.zip" }
module "image" {
  source             = "../deploy/terraform/modules/image"
  name               = "mayfly-arm"
  base_image_arn     = "${BASE}"
  base_image_version = "8"
  build_role_arn     = "arn:aws:iam::${ACCOUNT}:role/build"
  artifact_uri       = var.artifact
  memory_mib         = var.memory
  environment        = { LANG = "C.UTF-8" }
  tags               = { team = "ci" }
}
output "all" { value = module.image }
`;

async function withImage(t, settings = {}) {
  const lambda = new FakeLambda({ ...lambdaOptions.defaults(), list_rate: 0, image_build_ms: 20, ...settings });
  const url = await listening(t, lambda);
  const terraform = new Terraform(t, { files: { 'main.tf': IMAGE }, env: { MAYFLY_FAKE_LAMBDA_MICROVMS: url } });
  await terraform.init();
  return { lambda, terraform, image: () => lambda.images.byName.get('mayfly-arm') };
}

test('image_is_made_changed_in_place_and_removed', options(), async (t) => {
  const { lambda, terraform, image } = await withImage(t);
  await terraform.apply();
  const { all } = await terraform.outputs();
  assert.deepEqual(all, { image_arn: `arn:aws:lambda:us-east-1:${ACCOUNT}:microvm-image:mayfly-arm`, name: 'mayfly-arm', state: 'CREATED', version: '1.0' });
  const [{ spec, state }] = image().versions;
  assert.equal(state, 'SUCCESSFUL');
  assert.deepEqual(spec.hooks.microvmHooks.run, 'ENABLED');
  assert.deepEqual([spec.hooks.port, spec.hooks.microvmImageHooks.readyTimeoutInSeconds, spec.environmentVariables, spec.logging], [9000, 900, { LANG: 'C.UTF-8' }, { disabled: {} }]);
  assert.deepEqual(image().tags, { team: 'ci' });
  assert.deepEqual(await terraform.changes(), []);

  const [change] = await terraform.changes('-var', 'memory=4096');
  assert.deepEqual(change.actions, ['update']);
  await terraform.apply('-var', 'memory=4096');
  assert.deepEqual(image().versions.map((v) => [v.version, v.spec.resources[0].minimumMemoryInMiB]), [['1.0', 2048], ['2.0', 4096]]);
  await terraform.run('refresh', '-var', 'memory=4096');
  assert.equal((await terraform.outputs()).all.version, '2.0');

  lambda.images.forget(image());
  assert.deepEqual((await terraform.changes()).map(({ actions }) => actions), [['create']]);
  await terraform.apply();
  await terraform.destroy();
  assert.equal(image(), undefined);
  assert.deepEqual(await terraform.resources(), []);
});

test('artifact_that_another_publishes_is_no_drift_and_is_not_taken_back', options(), async (t) => {
  const { lambda, terraform, image } = await withImage(t);
  await terraform.apply();
  const { spec } = image().versions[0];
  // As mayfly-publish-image does: the same image of another archive.
  const response = await fetch(`${lambda.url}/2025-09-09/microvm-images/${encodeURIComponent(image().arn)}`, {
    method: 'PUT', headers: { authorization: 'none' }, body: JSON.stringify({ ...spec, codeArtifact: { uri: 's3://artifacts/two.zip' }, description: 'newer' }),
  });
  assert.equal(response.status, 200);
  assert.deepEqual(await terraform.changes(), []);
  assert.deepEqual(await terraform.changes('-var', 'artifact=s3://artifacts/three.zip'), []);
  await terraform.apply();
  assert.equal(image().versions.at(-1).spec.codeArtifact.uri, 's3://artifacts/two.zip');
});

test('failed_build_fails_the_apply_with_its_reason_and_the_next_one_starts_anew', options(), async (t) => {
  const { lambda, terraform, image } = await withImage(t, { image_build_failure: 'Ready hook invocation timed out after PT15M' });
  const { code, out } = await terraform.try('apply', '-auto-approve', '-input=false', '-no-color');
  assert.equal(code, 1);
  assert.match(out.replace(/[│\s]+/g, ' '), /CREATE_FAILED: Ready hook invocation timed out after PT15M/);
  lambda.config.image_build_failure = null;
  assert.deepEqual((await terraform.changes()).map(({ actions }) => actions), [['delete', 'create']]);
  await terraform.apply();
  assert.deepEqual(image().versions.map(({ state }) => state), ['SUCCESSFUL']);
  // A version that fails leaves the one before it in use, and is tried again.
  lambda.config.image_build_failure = 'CONTAINER_BUILD_FAILED';
  const failed = await terraform.try('apply', '-auto-approve', '-input=false', '-no-color', '-var', 'memory=8192');
  assert.match(failed.out.replace(/[│\s]+/g, ' '), /UPDATE_FAILED: CONTAINER_BUILD_FAILED/);
  assert.equal(lambda.images.versionToRun(image()).version, '1.0');
  lambda.config.image_build_failure = null;
  await terraform.apply('-var', 'memory=8192');
  assert.equal(lambda.images.versionToRun(image()).version, '3.0');
});

const WEBHOOK = `
provider "github" {
  owner = "acme"
  token = "ghp_test"
}
variable "repositories" {
  type    = set(string)
  default = []
}
variable "secret" { default = "It's a Secret to Everybody" }
module "webhook" {
  source       = "../deploy/terraform/modules/webhook"
  url          = "https://hooks.example.com/webhook"
  secret       = var.secret
  repositories = var.repositories
}
terraform {
  required_providers {
    github = { source = "integrations/github" }
  }
}
output "ids" { value = module.webhook.ids }
`;

test('webhook_is_made_replaced_by_those_of_repositories_and_removed', options(), async (t) => {
  const github = new FakeGitHub({ ...githubOptions.defaults(), org: 'acme', repo: ['acme/web', 'acme/app'], token: 'ghp_test' }, null);
  const url = await listening(t, github);
  const terraform = new Terraform(t, { files: { 'main.tf': WEBHOOK }, env: { MAYFLY_FAKE_GITHUB: url } });
  const hooks = () => github.webhooks.hooks.map(({ type, repository, secret, active, events }) => [type, repository?.fullName ?? '', secret, active, events.join()]);
  await terraform.init();
  await terraform.apply();
  assert.deepEqual(hooks(), [['organization', '', "It's a Secret to Everybody", true, 'workflow_job']]);
  assert.deepEqual(await terraform.changes(), []);
  const { ids } = await terraform.outputs();
  assert.deepEqual(ids, { '': String(github.webhooks.hooks[0].id) });

  const rotated = ['-var', 'secret=another secret of it'];
  assert.deepEqual((await terraform.changes(...rotated)).map(({ actions }) => actions), [['update']]);
  await terraform.apply(...rotated);
  assert.deepEqual(hooks().map(([, , secret]) => secret), ['another secret of it']);

  github.webhooks.hooks[0].active = false; // by hand
  assert.deepEqual((await terraform.changes(...rotated)).map(({ actions, after }) => [actions, after.active]), [[['update'], true]]);

  const repositories = ['-var', 'repositories=["acme/web","acme/app"]'];
  await terraform.apply(...repositories);
  assert.deepEqual(hooks().map(([type, name]) => [type, name]).sort(), [['repository', 'acme/app'], ['repository', 'acme/web']]);
  assert.deepEqual(await terraform.changes(...repositories), []);
  await terraform.destroy(...repositories);
  assert.deepEqual(hooks(), []);
});

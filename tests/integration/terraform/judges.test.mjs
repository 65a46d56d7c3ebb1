// Judges of others: cfn-lint of the module's MicroVM image as CloudFormation, whose resource awscc's is; checkov of the whole module.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { ROOT, Terraform, install, options } from './terraform.mjs';

const run = (tool, ...args) => spawnSync(path.join(ROOT, `build/terraform/${tool}/bin/${tool}`), args, { encoding: 'utf8', env: { ...process.env, AWS_DEFAULT_REGION: 'us-east-1' } });

const NAMES = { minimum_memory_in_mi_b: 'MinimumMemoryInMiB', cloudwatch: 'CloudWatch' };
const nameOf = (name) => NAMES[name] ?? name.split('_').map((word) => word[0].toUpperCase() + word.slice(1)).join('');

/** A value of Terraform as CloudFormation has it: other names, and nothing that is null. */
function converted(value) {
  if (Array.isArray(value)) return value.map(converted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null).map(([name, v]) => [nameOf(name), converted(v)]));
}

const MAIN = (more) => `module "image" {
  source             = "../deploy/terraform/modules/image"
  name               = "mayfly-arm"
  base_image_arn     = "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1"
  base_image_version = "1"
  build_role_arn     = "arn:aws:iam::123456789012:role/build"
  artifact_uri       = "s3://artifacts/mayfly.zip"
  ${more}
}
`;

async function template(t, more) {
  const terraform = new Terraform(t, { files: { 'main.tf': MAIN(more) } });
  await terraform.init();
  await terraform.run('plan', '-input=false', '-no-color', '-out=plan');
  const plan = JSON.parse(await terraform.run('show', '-json', 'plan'));
  const [{ values }] = plan.planned_values.root_module.child_modules[0].resources;
  const text = { AWSTemplateFormatVersion: '2010-09-09', Resources: { Image: { Type: 'AWS::Lambda::MicrovmImage', Properties: converted(values) } } };
  const file = path.join(terraform.root, 'template.json');
  const lint = (change = () => {}) => {
    const changed = structuredClone(text);
    change(changed.Resources.Image.Properties);
    fs.writeFileSync(file, JSON.stringify(changed, null, 2));
    return run('cfn-lint', file);
  };
  return { text, lint };
}

test('image_is_valid_as_cloudformation', options(), async (t) => {
  const reason = install('cfn-lint');
  if (reason) return t.skip(reason);
  const set = 'log_group = "/mayfly/images"\n  environment = { LANG = "C.UTF-8" }\n  tags = { team = "ci" }\n  additional_os_capabilities = []\n  memory_mib = 8192';
  for (const more of ['', set]) {
    const { lint, text } = await template(t, more);
    const { status, stdout } = lint();
    assert.equal(status, 0, `${stdout}\n${JSON.stringify(text)}`);
    // It judges: each of these is a mistake.
    for (const mistake of [(p) => { p.CpuConfigurations = [{ Architecture: 'ARM' }]; }, (p) => { delete p.Hooks; }, (p) => { p.Hooks.MicrovmHooks.RunTimeoutInSeconds = 61; }, (p) => { p.Resources[0].MinimumMemory = 1; }]) {
      assert.equal(lint(mistake).status, 2, String(mistake));
    }
  }
});

test('checkov_finds_nothing_that_is_not_explained', { timeout: 1_200_000 }, (t) => {
  const reason = install('checkov');
  if (reason) {
    t.skip(reason);
    return;
  }
  const folder = path.join(ROOT, 'deploy/terraform');
  const { status, stdout, stderr } = run('checkov', '-d', folder, '--framework', 'terraform', '--compact', '--quiet', '--download-external-modules', 'false', '--skip-download', '-o', 'json');
  const told = [JSON.parse(stdout)].flat();
  const failed = told.flatMap(({ results }) => results?.failed_checks ?? []).map(({ check_id: id, resource, check_name: name }) => `${id} ${resource}: ${name}`);
  assert.deepEqual(failed, [], stderr);
  assert.equal(status, 0);
  assert.ok(told.some(({ summary }) => summary?.passed > 50), 'it looked at the module');
  const files = fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.tf'));
  const skips = files.flatMap((name) => [...fs.readFileSync(path.join(folder, name), 'utf8').matchAll(/#checkov:skip=(\w+)(.*)$/gm)].map(([, id, reason]) => ({ name, id, reason })));
  for (const { name, id, reason } of skips) assert.match(reason, /^:\S.{5,}/, `${name}: ${id} is skipped without a reason`);
});

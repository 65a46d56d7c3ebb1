// What needs no provider: the module is formatted, its reference is up to date, its documents name what there is.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const MODULE = fileURLToPath(new URL('../../../deploy/terraform/', import.meta.url));
const hasTerraform = spawnSync('terraform', ['version'], { stdio: 'ignore' }).status === 0;
const read = (name) => fs.readFileSync(path.join(MODULE, name), 'utf8');
const sources = () => fs.readdirSync(MODULE).filter((name) => name.endsWith('.tf')).map(read).join('\n');
const named = (kind) => [...sources().matchAll(new RegExp(`^${kind} "(\\w+)"`, 'gm'))].map(([, name]) => name);

test('files_are_formatted', { skip: !hasTerraform && 'there is no terraform' }, () => {
  const { status, stdout } = spawnSync('terraform', ['fmt', '-check', '-recursive', MODULE], { encoding: 'utf8', env: { ...process.env, CHECKPOINT_DISABLE: '1' } });
  assert.equal(status, 0, `terraform fmt: ${stdout}`);
});

test('reference_is_up_to_date', () => {
  const { status, stderr } = spawnSync(path.join(MODULE, 'reference'), ['--check'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const reference = read('REFERENCE.md');
  for (const name of [...named('variable'), ...named('output')]) {
    assert.match(reference, new RegExp(`^\\| \`${name}\` \\| .{10,}`, 'm'), `${name} has a description`);
  }
});

test('every_validation_has_a_test', () => {
  const tests = read('tests/validation.tftest.hcl');
  const validated = [...sources().matchAll(/^variable "(\w+)" \{\n(.*?)^\}/gms)].filter(([, , body]) => body.includes('validation {'));
  for (const [, name] of validated) assert.match(tests, new RegExp(`^    var\\.${name},$`, 'm'), `${name} has a validation, and no test of it`);
});

/* The mapping table: each input and output of the module that it is compared with, and where it has gone. */
const INPUTS = ['github_app', 'additional_os_capabilities', 'artifacts_bucket_name', 'base_image_name', 'base_image_version', 'dispatcher_memory_size',
  'dispatcher_timeout', 'github_api_url', 'github_organization', 'github_repositories', 'image_version', 'log_retention_days', 'manage_webhooks',
  'max_duration_seconds', 'name_prefix', 'required_labels', 'runner_labels', 'runner_memory_mib', 'tags'];
const OUTPUTS = ['artifacts_bucket', 'dispatcher_function_name', 'exec_role_arn', 'image_arn', 'image_version', 'secret_param_arn', 'secret_param_name',
  'webhook_payload_url', 'webhook_secret'];

test('each_input_and_output_of_mkdev_is_here_or_in_the_table', () => {
  const rows = [...read('README.md').matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, name, here]) => [name, here]);
  const table = new Map(rows);
  for (const [kind, names] of [['variable', INPUTS], ['output', OUTPUTS]]) {
    for (const name of names) {
      assert.ok(table.has(name), `${name} is in no row of the README`);
      if (table.get(name) === 'the same') assert.ok(named(kind).includes(name), `${name} is said to be the same`);
    }
  }
});

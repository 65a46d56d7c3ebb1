// The module's own tests with mock providers (deploy/terraform/tests), the configuration that each plan would give the programs, and
// the examples.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Terraform, options, ROOT } from './terraform.mjs';

const build = path.resolve(process.env.MAYFLY_BUILD ?? path.join(ROOT, 'build/dev'));

function checkConfiguration(program, text) {
  const env = { PATH: process.env.PATH, MAYFLY_CONFIG: text, AWS_EC2_METADATA_DISABLED: 'true', AWS_EXECUTION_ENV: 'AWS_ECS_FARGATE' };
  const { status, stdout, stderr } = spawnSync(path.join(build, program, `mayfly-${program}`), ['--check-config'], { encoding: 'utf8', env });
  assert.equal(status, 0, `mayfly-${program}: ${stdout}${stderr}\n${text}`);
}

test('module_passes_its_tests_and_the_programs_accept_each_configuration', options(), async (t) => {
  const terraform = new Terraform(t, { at: 'terraform' });
  await terraform.init();
  await terraform.run('validate', '-no-color');
  const errors = [];
  const configurations = new Set();
  let summary;
  const code = await terraform.eachLine((line) => {
    const config = line.test_plan?.output_changes?.config?.after;
    if (config) configurations.add(config);
    if (line['@level'] === 'error') errors.push(`${line['@testrun']}: ${line['@message']} ${line.diagnostic?.detail}`);
    if (line.type === 'test_summary') summary = line['@message'];
  }, 'test', '-json', '-verbose');
  assert.equal(code, 0, errors.join('\n'));
  t.diagnostic(summary);
  assert.ok(configurations.size >= 5, `${configurations.size} configurations`);
  for (const text of configurations) {
    const ingress = JSON.parse(text).github.webhook_secrets ? ['ingress'] : []; // else none runs
    for (const program of [...ingress, 'worker', 'reaper']) checkConfiguration(program, text);
  }
});

test('examples_are_valid', options(), async (t) => {
  for (const name of fs.readdirSync(path.join(ROOT, 'deploy/terraform/examples'))) {
    const terraform = new Terraform(t, { at: `terraform/examples/${name}` });
    await terraform.init();
    await terraform.run('validate', '-no-color');
  }
});

// The module's own tests with mock providers (deploy/terraform/tests), the configuration that each plan would give the programs,
// the examples, and checkov.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Terraform, options, ROOT } from '../terraform/terraform.mjs';

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
  const { code, stdout } = await terraform.try('test', '-json', '-verbose');
  const lines = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const summary = lines.find(({ type }) => type === 'test_summary')['@message'];
  assert.equal(code, 0, lines.filter((line) => line['@level'] === 'error').map((line) => `${line['@testrun']}: ${line['@message']} ${line.diagnostic?.detail}`).join('\n'));
  t.diagnostic(summary);
  const configurations = new Set(lines.filter(({ type }) => type === 'test_plan').map(({ test_plan: plan }) => plan.output_changes?.config?.after).filter(Boolean));
  assert.ok(configurations.size >= 5, `${configurations.size} configurations`);
  for (const text of configurations) {
    for (const program of ['ingress', 'worker', 'reaper']) checkConfiguration(program, text);
  }
});

test('examples_are_valid', options(), async (t) => {
  for (const name of fs.readdirSync(path.join(ROOT, 'deploy/terraform/examples'))) {
    const terraform = new Terraform(t, { at: `terraform/examples/${name}` });
    await terraform.init();
    await terraform.run('validate', '-no-color');
  }
});

function checkov() {
  const folder = path.join(ROOT, 'build/checkov');
  const program = path.join(folder, 'bin/checkov');
  if (fs.existsSync(program)) return program;
  for (const [command, ...args] of [['python3', '-m', 'venv', folder], [path.join(folder, 'bin/pip'), 'install', '-q', 'checkov==3.3.30']]) {
    if (spawnSync(command, args, { stdio: 'ignore' }).status !== 0) return null;
  }
  return program;
}

test('checkov_finds_nothing_but_what_is_explained', async (t) => {
  const program = checkov();
  if (program === null) return t.skip('checkov cannot be installed');
  const { status, stdout, stderr } = spawnSync(program, ['-d', path.join(ROOT, 'deploy/terraform'), '--framework', 'terraform', '--compact', '--quiet',
    '--download-external-modules', 'false', '--skip-download'], { encoding: 'utf8', maxBuffer: 64 << 20 });
  assert.equal(status, 0, stdout + stderr);
  const skips = [...fs.readdirSync(path.join(ROOT, 'deploy/terraform'), { recursive: true })].filter((name) => name.endsWith('.tf'))
    .flatMap((name) => [...fs.readFileSync(path.join(ROOT, 'deploy/terraform', name), 'utf8').matchAll(/#checkov:skip=(\w+):?(.*)/g)]);
  for (const [, id, reason] of skips) assert.ok(reason.trim().length > 7, `${id} is skipped without a reason`);
});

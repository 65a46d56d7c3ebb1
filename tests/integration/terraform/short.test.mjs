// What every run of the tests checks of deploy/terraform: its form, its validity, and a plan of its defaults and of the submodules with mocks.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Terraform, options } from './terraform.mjs';

test('module_is_formatted_and_valid_and_its_defaults_are_as_documented', options(), async (t) => {
  const terraform = new Terraform(t, { at: 'terraform' });
  await terraform.run('fmt', '-check', '-recursive', '-diff', '-no-color');
  await terraform.init();
  await terraform.run('validate', '-no-color');
  assert.match(await terraform.run('test', '-no-color', '-filter=tests/default.tftest.hcl'), /Success! \d+ passed, 0 failed\./);
});

test('submodules_pass_their_own_tests', options(), async (t) => {
  for (const name of ['image', 'target', 'webhook']) {
    const terraform = new Terraform(t, { at: `terraform/modules/${name}` });
    await terraform.init();
    await terraform.run('validate', '-no-color');
    assert.match(await terraform.run('test', '-no-color'), /Success! \d+ passed, 0 failed\./);
  }
});

/* A fake GitHub beside the fake under test. */
import assert from 'node:assert/strict';
import { options } from '../../github/lib/options.mjs';
import { FakeGitHub } from '../../github/lib/server.mjs';

export async function startGitHub(t, settings = {}) {
  const fake = new FakeGitHub({ ...options.defaults(), org: 'acme', repo: ['acme/web'], token: 'ghp_test', ...settings });
  await fake.listen();
  t.after(() => fake.stop());
  fake.jit = async (name, labels = ['vm']) => {
    const response = await fetch(`${fake.url}/orgs/acme/actions/runners/generate-jitconfig`, {
      method: 'POST', headers: { authorization: 'Bearer ghp_test' }, body: JSON.stringify({ name, labels, runner_group_id: 1 }),
    });
    assert.equal(response.status, 201);
    return (await response.json()).encoded_jit_config;
  };
  fake.job = (command, labels = ['vm']) => fake.fleet.createJobs({ repo: 'acme/web', labels, command })[0];
  return fake;
}

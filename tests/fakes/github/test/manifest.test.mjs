import assert from 'node:assert/strict';
import test from 'node:test';
import { jwt, octokit, rejects, startFake } from './support.mjs';

const MANIFEST = {
  name: 'mayfly-acme', url: 'https://example.com', redirect_url: 'http://127.0.0.1:1/created', hook_attributes: { url: 'http://127.0.0.1:1/webhook' },
  default_permissions: { actions: 'read', organization_self_hosted_runners: 'write' }, default_events: ['workflow_job'],
};

const post = (fake, step, manifest) => fetch(`${fake.url}/organizations/acme/settings/apps/${step}`, {
  method: 'POST', redirect: 'manual', body: new URLSearchParams({ manifest: JSON.stringify(manifest), state: 's1' }),
});

test('app_is_made_from_a_manifest_and_its_code_is_good_once', async (t) => {
  const fake = await startFake(t);
  assert.match(await (await post(fake, 'new', MANIFEST)).text(), /<button type="submit">Create GitHub App/);
  const back = new URL((await post(fake, 'manifest', MANIFEST)).headers.get('location'));
  assert.equal(back.searchParams.get('state'), 's1');
  const client = octokit(fake, undefined);
  const code = back.searchParams.get('code');
  const { data, status } = await client.apps.createFromManifest({ code });
  assert.equal(status, 201);
  assert.match(data.pem, /^-----BEGIN RSA PRIVATE KEY-----/);
  await rejects(client.apps.createFromManifest({ code }), 404);
  const app = octokit(fake, jwt({ iss: data.id }, { key: data.pem }));
  assert.deepEqual((await app.apps.getAuthenticated()).data.permissions, { metadata: 'read', ...MANIFEST.default_permissions });
  assert.equal((await app.request({ method: 'PATCH', url: '/app/hook/config', data: { url: 'http://127.0.0.1:2/hook' } })).data.url, 'http://127.0.0.1:2/hook');
  assert.equal((await app.apps.getWebhookConfigForApp()).data.secret, '********');
});

test('manifest_with_a_mistake_is_refused_in_words', async (t) => {
  const fake = await startFake(t);
  for (const [change, words] of [[{ name: 'a'.repeat(35) }, /name is too long/], [{ url: undefined }, /url is missing/],
    [{ default_permissions: {} }, /Default events unsupported: workflow_job/], [{ hook_attributes: {} }, /hook_attributes\.url/]]) {
    const response = await post(fake, 'new', { ...MANIFEST, ...change });
    assert.equal(response.status, 422);
    assert.match(await response.text(), words);
  }
});

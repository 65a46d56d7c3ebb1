/* Hooks of organisations and repositories, by Octokit; each answer is judged by GitHub's description. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { octokit, rejects, startFake, startReceiver } from './support.mjs';

const config = (url, more = {}) => ({ url, content_type: 'json', insecure_ssl: '0', secret: 'one', ...more });
const queue = (fake, repo = 'acme/web') => fake.ask('POST', '/jobs', { repo, labels: ['linux'] });

test('hook_of_an_organization_is_created_changed_and_deleted', async (t) => {
  const [fake, first, second] = [await startFake(t), await startReceiver(t), await startReceiver(t)];
  const { orgs } = octokit(fake);
  const { data: hook } = await orgs.createWebhook({ org: 'acme', name: 'web', config: config(first.url), events: ['workflow_job'] });
  assert.deepEqual([hook.type, hook.active, hook.events, hook.config.secret], ['Organization', true, ['workflow_job'], '********']);
  await first.count(1);
  assert.equal(first.received[0].headers['x-github-event'], 'ping');
  await queue(fake);
  await first.count(2);
  assert.equal(first.received[1].headers['x-github-hook-id'], String(hook.id));
  assert.ok(first.received[1].headers['x-hub-signature-256']);
  const at = { org: 'acme', hook_id: hook.id };
  const { data: changed } = await orgs.updateWebhook({ ...at, config: config(second.url, { secret: undefined }) });
  assert.deepEqual([changed.config.url, changed.config.secret, changed.events], [second.url, undefined, ['workflow_job']]);
  await queue(fake);
  await second.count(1);
  assert.equal(second.received[0].headers['x-hub-signature-256'], undefined);
  assert.deepEqual((await orgs.listWebhooks({ org: 'acme' })).data.map(({ id }) => id), [hook.id]);
  assert.equal((await orgs.deleteWebhook(at)).status, 204);
  await rejects(orgs.getWebhook(at), 404);
  await rejects(orgs.deleteWebhook(at), 404);
});

test('hook_of_a_repository_is_told_of_its_own_jobs_while_it_is_active', async (t) => {
  const [fake, receiver] = [await startFake(t, { repo: ['acme/web', 'acme/app'] }), await startReceiver(t)];
  const { repos } = octokit(fake);
  const web = { owner: 'acme', repo: 'web' };
  const { data: hook } = await repos.createWebhook({ ...web, config: config(receiver.url), events: ['workflow_job'], active: false });
  const at = { ...web, hook_id: hook.id };
  await queue(fake);
  assert.equal((await repos.getWebhook(at)).data.active, false);
  await repos.updateWebhook({ ...at, active: true });
  await queue(fake, 'acme/app');
  await queue(fake);
  await receiver.count(2); // the ping, and one job
  const [, { body }] = receiver.received;
  const { webhooks_total: total } = await fake.ask('GET', '/wait?webhooks_pending_max=0');
  assert.deepEqual([body.repository.full_name, total], ['acme/web', 2]);
  await rejects(repos.getWebhook({ ...at, repo: 'app' }), 404);
});

test('hook_that_is_none_is_refused', async (t) => {
  const fake = await startFake(t);
  const { orgs, repos } = octokit(fake);
  const create = (url) => orgs.createWebhook({ org: 'acme', name: 'web', config: config(url), events: ['workflow_job'] });
  await rejects(create('ftp://example.com'), 422, /Validation Failed/);
  const { data: hook } = await create('http://127.0.0.1:1/a');
  await rejects(create('http://127.0.0.1:1/a'), 422, /Hook already exists on this organization/);
  const { data: other } = await create('http://127.0.0.1:1/b');
  await rejects(orgs.updateWebhook({ org: 'acme', hook_id: other.id, config: config('http://127.0.0.1:1/a') }), 422, /already exists/);
  await orgs.deleteWebhook({ org: 'acme', hook_id: hook.id });
  const { data: again } = await create('http://127.0.0.1:1/a');
  assert.notEqual(again.id, hook.id);
  await rejects(repos.createWebhook({ owner: 'acme', repo: 'none', config: config('http://127.0.0.1:1/a') }), 404);
  await rejects(repos.getWebhook({ owner: 'acme', repo: 'web', hook_id: other.id }), 404);
});

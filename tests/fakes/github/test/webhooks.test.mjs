import assert from 'node:assert/strict';
import test from 'node:test';
import { verify } from '@octokit/webhooks-methods';
import {
  TestRunner, octokit, rejects, startFake, startReceiver, validator,
} from './support.mjs';

const SECRET = "It's a Secret to Everybody";
const NAMES = { queued: 'queued', waiting: 'waiting', in_progress: 'in-progress', completed: 'completed' };

async function startPair(t, settings = {}, respond = undefined) {
  const receiver = await startReceiver(t, respond);
  const fake = await startFake(t, { webhook_url: receiver.url, webhook_secret: SECRET, ...settings });
  return { fake, receiver };
}

const queue = (fake, more = {}) => fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['self-hosted', 'linux'], ...more });
const settled = (fake, total) => fake.ask('GET', `/wait?webhooks_total=${total}&webhooks_pending_max=0&timeout=15`);
const told = (receiver) => receiver.received.map(({ body }) => [body.workflow_job.id, body.action, body.workflow_job.status]);

async function judge({ raw, headers, body }) {
  assert.ok(await verify(SECRET, raw, headers['x-hub-signature-256']), 'signature');
  assert.deepEqual(validator.webhook(`workflow-job-${NAMES[body.action]}`, body), []);
}

test('job_is_told_in_order_signed_and_as_github_describes', async (t) => {
  const { fake, receiver } = await startPair(t);
  const runner = await TestRunner.online(fake, 'vm-1');
  const [{ id, run_id: runId }] = await queue(fake, { environment: true });
  await receiver.count(2);
  await fake.ask('POST', `/jobs/${id}/approve`);
  await runner.poll();
  await runner.finish(0, 'out');
  await receiver.count(5);
  assert.deepEqual(told(receiver), [
    [id, 'queued', 'waiting'], [id, 'waiting', 'waiting'], [id, 'queued', 'queued'], [id, 'in_progress', 'in_progress'], [id, 'completed', 'completed'],
  ]);
  for (const delivery of receiver.received) {
    await judge(delivery);
    const { headers, body } = delivery;
    assert.match(headers['user-agent'], /^GitHub-Hookshot\/[0-9a-f]+$/);
    assert.equal(headers['x-github-event'], 'workflow_job');
    assert.match(headers['x-github-delivery'], /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.match(headers['x-hub-signature'], /^sha1=[0-9a-f]{40}$/);
    assert.equal(headers['x-github-hook-installation-target-type'], 'organization');
    assert.deepEqual([body.repository.full_name, body.organization.login, body.workflow_job.run_id], ['acme/web', 'acme', runId]);
    assert.deepEqual(body.workflow_job.labels, ['self-hosted', 'linux']);
    assert.ok(!('installation' in body));
    assert.ok('deployment' in body);
    assert.ok(delivery.raw.length > 6000);
    assert.doesNotMatch(delivery.raw, /lineville|octo-repo|wolfy/);
  }
  const { workflow_job: done } = receiver.received[4].body;
  assert.deepEqual([done.runner_name, done.runner_id, done.conclusion, done.steps.length], ['vm-1', runner.id, 'success', 3]);
  assert.equal(receiver.received[0].body.workflow_job.runner_name, null);
  assert.equal(new Set(receiver.received.map(({ guid }) => guid)).size, 5);
});

test('cancelled_job_is_completed_without_a_runner', async (t) => {
  const { fake, receiver } = await startPair(t);
  const [{ id }] = await queue(fake);
  await fake.ask('POST', `/jobs/${id}/cancel`);
  await receiver.count(2);
  const { workflow_job: job } = receiver.received[1].body;
  assert.deepEqual([job.conclusion, job.runner_name, job.steps], ['cancelled', null, []]);
  for (const delivery of receiver.received) await judge(delivery);
});

test('form_body_carries_the_same_and_is_signed_raw', async (t) => {
  const { fake, receiver } = await startPair(t, { webhook_secret_is: 'form' });
  await queue(fake);
  const [delivery] = await receiver.count(1);
  assert.equal(delivery.headers['content-type'], 'application/x-www-form-urlencoded');
  assert.match(delivery.raw, /^payload=%7B/);
  await judge(delivery);
});

test('app_hook_names_the_installation_and_no_secret_means_no_signature', async (t) => {
  const { fake, receiver } = await startPair(t, { webhook_type: 'app', app_id: 77, webhook_secret: null });
  await queue(fake);
  const [{ body, headers }] = await receiver.count(1);
  assert.equal(body.installation.id, fake.world.owner('acme').installationId);
  assert.equal(headers['x-github-hook-installation-target-type'], 'integration');
  assert.equal(headers['x-github-hook-installation-target-id'], '77');
  assert.ok(!('x-hub-signature-256' in headers));
  assert.deepEqual(validator.webhook('workflow-job-queued', body), []);
});

test('ping_is_as_described', async (t) => {
  const { fake, receiver } = await startPair(t);
  await fake.ask('POST', '/ping');
  const [{ body, headers, raw }] = await receiver.count(1);
  assert.equal(headers['x-github-event'], 'ping');
  assert.deepEqual(validator.webhook('ping', body), []);
  assert.equal(String(body.hook_id), headers['x-github-hook-id']);
  assert.ok(await verify(SECRET, raw, headers['x-hub-signature-256']));
});

test('one_guid_stands_for_an_event_at_all_hooks', async (t) => {
  const { fake, receiver } = await startPair(t);
  await fake.ask('POST', '/webhook-url', { url: receiver.url, type: 'repository', target: 'acme/web', add: true });
  await queue(fake);
  const [a, b] = await receiver.count(2);
  assert.equal(a.guid, b.guid);
  assert.notEqual(a.headers['x-github-hook-id'], b.headers['x-github-hook-id']);
});

test('queued_can_be_delivered_again_with_same_or_new_guid', async (t) => {
  const { fake, receiver } = await startPair(t);
  const [{ id }] = await queue(fake);
  const same = await fake.ask('POST', `/jobs/${id}/deliver?same_guid=1`);
  const other = await fake.ask('POST', `/jobs/${id}/deliver`);
  const [first, second, third] = await receiver.count(3);
  assert.deepEqual([second.guid, second.raw], [first.guid, first.raw]);
  assert.deepEqual([same.guid, other.guid], [first.guid, third.guid]);
  assert.notEqual(third.guid, first.guid);
});

test('deliveries_are_listed_by_cursor_and_redelivered_with_their_guid', async (t) => {
  let status = 503;
  const { fake, receiver } = await startPair(t, {}, () => status);
  const client = octokit(fake);
  await queue(fake, { count: 5 });
  await settled(fake, 5);
  const where = { org: 'acme', hook_id: fake.webhooks.hooks[0].id };
  const all = await client.paginate(client.orgs.listWebhookDeliveries, { ...where, per_page: 2 });
  assert.equal(all.length, 5);
  assert.deepEqual(all.map(({ id }) => id), all.map(({ id }) => id).sort((a, b) => b - a));
  assert.deepEqual(new Set(all.map(({ guid }) => guid)), new Set(receiver.received.map(({ guid }) => guid)));
  assert.deepEqual([all[0].status_code, all[0].status, all[0].redelivery], [503, 'Invalid HTTP Response: 503', false]);
  const one = { ...where, delivery_id: all[4].id };
  const { data } = await client.orgs.getWebhookDelivery(one);
  assert.equal(data.request.headers['X-GitHub-Delivery'], all[4].guid);
  assert.equal(data.request.payload.workflow_job.id, receiver.received[0].body.workflow_job.id);
  assert.equal(data.response.payload, 'noted');
  status = 202;
  assert.equal((await client.orgs.redeliverWebhookDelivery(one)).status, 202);
  const again = (await receiver.count(6))[5];
  assert.deepEqual([again.guid, again.raw], [receiver.received[0].guid, receiver.received[0].raw]);
  await settled(fake, 6);
  const failures = await client.orgs.listWebhookDeliveries({ ...where, status: 'failure' });
  const successes = await client.orgs.listWebhookDeliveries({ ...where, status: 'success' });
  assert.deepEqual([failures.data.length, successes.data.length, successes.data[0].redelivery], [5, 1, true]);
  await rejects(client.orgs.listWebhookDeliveries({ ...where, hook_id: 1 }), 404);
});

test('deliveries_of_app_and_repository_hooks_are_served', async (t) => {
  const { fake, receiver } = await startPair(t, { webhook_type: 'repository' });
  await fake.ask('POST', '/webhook-url', { url: receiver.url, type: 'repository', target: 'acme/web' });
  await queue(fake);
  await settled(fake, 1);
  const client = octokit(fake);
  const where = { owner: 'acme', repo: 'web', hook_id: fake.webhooks.hooks[0].id };
  const { data } = await client.repos.listWebhookDeliveries(where);
  assert.equal((await client.repos.getWebhookDelivery({ ...where, delivery_id: data[0].id })).data.guid, data[0].guid);
  assert.equal((await client.repos.redeliverWebhookDelivery({ ...where, delivery_id: data[0].id })).status, 202);
  await rejects(client.apps.listWebhookDeliveries(), 401);
});

test('slow_receiver_is_cut_off_and_recorded_as_failed', async (t) => {
  let release = null;
  const held = new Promise((resolve) => { release = resolve; });
  const { fake } = await startPair(t, { webhook_timeout_ms: 60 }, () => held.then(() => 202));
  await queue(fake);
  const entry = await fake.happened('webhook');
  release();
  assert.deepEqual([entry.status, entry.outcome], [0, 'timed out']);
});

test('unreachable_receiver_is_recorded_as_failed', async (t) => {
  const { fake } = await startPair(t, { webhook_url: 'http://127.0.0.1:9/webhook' });
  await queue(fake);
  const entry = await fake.happened('webhook');
  assert.match(entry.outcome, /failed to connect/);
});

test('webhook_faults_drop_duplicate_reorder_and_delay', async (t) => {
  const { fake, receiver } = await startPair(t);
  await fake.ask('POST', '/faults', [{ webhook: 'drop', action: 'queued', times: 1 }, { webhook: 'drop', action: 'queued', times: 1, recorded: false }]);
  await queue(fake, { count: 2 });
  await settled(fake, 1);
  assert.equal(receiver.received.length, 0);
  assert.equal(fake.webhooks.deliveries.size, 1);
  await fake.ask('POST', '/faults', { webhook: 'duplicate', times: 1 });
  await queue(fake);
  const [first, second] = await receiver.count(2);
  assert.deepEqual([first.guid, first.raw], [second.guid, second.raw]);
  await fake.ask('POST', '/faults', { webhook: 'reorder', action: 'queued', times: 1, delay_ms: 15000 });
  const [{ id }] = await queue(fake);
  await fake.ask('POST', `/jobs/${id}/cancel`);
  await receiver.count(4);
  assert.deepEqual(told(receiver).slice(2), [[id, 'completed', 'completed'], [id, 'queued', 'queued']]);
  await fake.ask('POST', '/faults', { webhook: 'delay', times: 1, delay_ms: 50 });
  const [{ id: late }] = await queue(fake);
  await fake.ask('POST', `/jobs/${late}/cancel`);
  await receiver.count(6);
  assert.deepEqual(told(receiver).slice(4).map(([, action]) => action), ['queued', 'completed']);
});

test('configuration_of_the_hook_is_told_without_its_secret', async (t) => {
  const { fake, receiver } = await startPair(t);
  const client = octokit(fake);
  const { data } = await client.orgs.getWebhookConfigForOrg({ org: 'acme', hook_id: fake.webhooks.hooks[0].id });
  assert.deepEqual(data, { content_type: 'json', insecure_ssl: '0', url: receiver.url, secret: '********' });
  await assert.rejects(client.orgs.getWebhookConfigForOrg({ org: 'acme', hook_id: 1 }), (error) => error.status === 404);
});

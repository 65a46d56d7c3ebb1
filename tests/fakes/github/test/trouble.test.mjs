/* Trouble that lasts until somebody ends it: what one owner, one repository or all callers are refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { temporary } from '../../lib/testing.mjs';
import {
  PAT, appKeys, jitBody, jwt, octokit, rejects, startFake,
} from './support.mjs';

const REPO = { owner: 'acme', repo: 'web' };
const repoBody = (repo, name) => ({ owner: 'acme', repo, name, labels: ['self-hosted'], runner_group_id: 1 });
const list = (client, org = 'acme') => client.actions.listSelfHostedRunnersForOrg({ org });

async function startWithApp(t, settings = {}) {
  const file = path.join(temporary(t), 'app.pem');
  fs.writeFileSync(file, appKeys().publicKey);
  return startFake(t, { app_id: 4242, app_key: file, token: null, repo: ['acme/web', 'other/tool'], ...settings });
}

async function tokenOf(fake, org) {
  const app = octokit(fake, jwt({}));
  const { id } = (await app.apps.getOrgInstallation({ org })).data;
  return (await app.apps.createInstallationAccessToken({ installation_id: id })).data.token;
}

test('one_installations_limit_leaves_the_others_alone', async (t) => {
  const fake = await startWithApp(t);
  const [acme, other] = [octokit(fake, await tokenOf(fake, 'acme')), octokit(fake, await tokenOf(fake, 'other'))];
  await fake.ask('POST', '/config', { installations: [{ owner: 'acme', rate_limit: 1 }] });
  assert.equal((await list(acme)).headers['x-ratelimit-limit'], '1');
  await rejects(list(acme), 403, /rate limit exceeded for installation ID/);
  assert.equal((await list(other, 'other')).headers['x-ratelimit-limit'], '5000');
});

test('suspended_installation_gets_no_token_and_its_tokens_are_refused', async (t) => {
  const fake = await startWithApp(t);
  const acme = octokit(fake, await tokenOf(fake, 'acme'));
  await fake.ask('POST', '/config', { installations: [{ owner: 'acme', suspended: true }] });
  await rejects(tokenOf(fake, 'acme'), 403, /This installation has been suspended/);
  await rejects(list(acme), 403, /This installation has been suspended/);
  assert.equal((await list(octokit(fake, await tokenOf(fake, 'other')), 'other')).status, 200);
  await fake.ask('POST', '/config', { installations: [{ owner: 'acme', suspended: false }] });
  assert.equal((await list(acme)).status, 200);
});

test('installation_made_anew_has_another_id', async (t) => {
  const fake = await startWithApp(t);
  const app = octokit(fake, jwt({}));
  const { id } = (await app.apps.getOrgInstallation({ org: 'acme' })).data;
  await fake.ask('POST', '/config', { installations: [{ owner: 'acme', id: id + 1 }] });
  await rejects(app.apps.createInstallationAccessToken({ installation_id: id }), 404);
  assert.equal((await app.apps.getOrgInstallation({ org: 'acme' })).data.id, id + 1);
  assert.equal((await list(octokit(fake, await tokenOf(fake, 'acme')))).status, 200);
});

test('new_token_is_refused_until_it_has_arrived_everywhere', async (t) => {
  const fake = await startWithApp(t, { token_lag_ms: 60_000 });
  const acme = octokit(fake, await tokenOf(fake, 'acme'));
  await rejects(list(acme), 401, /Bad credentials/);
  await fake.ask('POST', '/config', { token_lag_ms: 0 });
  assert.equal((await list(acme)).status, 200);
});

test('withdrawn_permission_is_missed_by_tokens_that_had_it', async (t) => {
  const fake = await startWithApp(t);
  const { permissions } = fake.world;
  const acme = octokit(fake, await tokenOf(fake, 'acme'));
  await fake.ask('POST', '/config', { permissions: { ...permissions, organization_self_hosted_runners: 'read' } });
  await rejects(acme.actions.generateRunnerJitconfigForOrg(jitBody('vm')), 403, /not accessible/);
  assert.equal((await list(acme)).status, 200);
  await fake.ask('POST', '/config', { permissions });
  assert.equal((await acme.actions.generateRunnerJitconfigForOrg(jitBody('vm'))).status, 201);
});

test('full_runner_group_takes_no_more', async (t) => {
  const fake = await startFake(t, { group_limit: 1 });
  const client = octokit(fake);
  const { data } = await client.actions.generateRunnerJitconfigForOrg(jitBody('a'));
  await rejects(client.actions.generateRunnerJitconfigForOrg(jitBody('b')), 422, /Runner group 1 has reached max limit of 1 runners\./);
  await client.actions.deleteSelfHostedRunnerFromOrg({ org: 'acme', runner_id: data.runner.id });
  assert.equal((await client.actions.generateRunnerJitconfigForOrg(jitBody('b'))).status, 201);
});

test('one_repositorys_refusal_has_an_empty_message_and_lasts', async (t) => {
  const fake = await startFake(t, { repo: ['acme/web', 'acme/api'] });
  const client = octokit(fake);
  await fake.ask('POST', '/faults', { name: 'off', operation: 'generate-jitconfig', repository: 'ACME/web', preset: 'runners-disabled' });
  for (let i = 0; i < 2; i++) {
    await assert.rejects(client.actions.generateRunnerJitconfigForRepo(repoBody('web', 'a')), (error) => error.status === 403 && error.response.data.message === '');
  }
  assert.equal((await client.actions.generateRunnerJitconfigForRepo(repoBody('api', 'a'))).status, 201);
  assert.equal((await client.actions.listSelfHostedRunnersForRepo(REPO)).status, 200);
  await fake.ask('DELETE', '/faults?name=off');
  assert.equal((await client.actions.generateRunnerJitconfigForRepo(repoBody('web', 'a'))).status, 201);
  assert.deepEqual(await fake.ask('GET', '/faults/used'), { off: 2 });
});

for (const [preset, status] of [['no-permission', 403], ['hidden', 404], ['suspended', 403], ['bad-credentials', 401]]) {
  test(`preset_${preset}_refuses_the_operations_that_it_names`, async (t) => {
    const fake = await startFake(t);
    await fake.ask('POST', '/faults', { owner: 'acme', operation: ['list-runners', 'delete-runner'], preset });
    await rejects(list(octokit(fake)), status);
    assert.equal((await octokit(fake).actions.generateRunnerJitconfigForOrg(jitBody('vm'))).status, 201);
  });
}

test('outage_answers_html_to_every_call_of_the_api_and_to_no_runner', async (t) => {
  const fake = await startFake(t);
  const ask = () => fetch(`${fake.url}/orgs/acme/actions/runners`, { headers: { authorization: `Bearer ${PAT}`, 'user-agent': 'test' } });
  for (const [preset, status] of [['unavailable', 503], ['bad-gateway', 502]]) {
    await fake.ask('POST', '/faults', { name: 'outage', operation: '*', preset });
    const response = await ask();
    assert.equal(response.status, status);
    assert.match(response.headers.get('content-type'), /text\/html/);
    assert.equal((await fetch(`${fake.url}/_runner/broker/session`, { method: 'POST', headers: { authorization: 'Bearer x' } })).status, 401);
    await fake.ask('DELETE', '/faults?name=outage');
  }
  assert.equal((await ask()).status, 200);
  assert.equal(fake.entries.filter((entry) => entry.event === 'fault' && entry.name === 'outage').length, 2);
});

test('hanging_call_gets_no_answer_and_is_not_carried_out', async (t) => {
  const fake = await startFake(t);
  await fake.ask('POST', '/faults', [{ operation: 'generate-jitconfig', hang: true, times: 1 }, { operation: 'generate-jitconfig', drop: 'before', times: 1 }]);
  const call = (signal) => fetch(`${fake.url}/orgs/acme/actions/runners/generate-jitconfig`, {
    method: 'POST', headers: { authorization: `Bearer ${PAT}`, 'user-agent': 'test', 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'vm', labels: ['x'], runner_group_id: 1 }), signal,
  });
  const giveUp = new AbortController();
  const hanging = call(giveUp.signal);
  await fake.happened('fault', { operation: 'generate-jitconfig' });
  giveUp.abort();
  await assert.rejects(hanging, { name: 'AbortError' });
  await fake.happened('request', { operation: 'generate-jitconfig', status: 0 });
  await assert.rejects(call());
  assert.equal((await list(octokit(fake))).data.total_count, 0);
});

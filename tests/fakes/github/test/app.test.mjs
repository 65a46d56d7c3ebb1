import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import { temporary } from '../../lib/testing.mjs';
import {
  appKeys, jitBody, jwt, octokit, rejects, startFake,
} from './support.mjs';

async function startWithApp(t, settings = {}, pem = appKeys().publicKey) {
  const file = path.join(temporary(t), 'app.pem');
  fs.writeFileSync(file, pem);
  return startFake(t, { app_id: 4242, app_key: file, token: null, ...settings });
}

const asApp = (fake, token = jwt({})) => octokit(fake, token);

async function installationToken(fake, body = {}) {
  const app = asApp(fake);
  const { data } = await app.apps.getOrgInstallation({ org: 'acme' });
  return (await app.apps.createInstallationAccessToken({ installation_id: data.id, ...body })).data;
}

test('octokits_app_authentication_works_with_id_and_client_id', async (t) => {
  const fake = await startWithApp(t, {}, appKeys().privateKey);
  const installationId = (await asApp(fake).apps.getOrgInstallation({ org: 'acme' })).data.id;
  for (const appId of [4242, fake.config.client_id]) {
    const client = new Octokit({
      baseUrl: fake.url, authStrategy: createAppAuth, auth: { appId, privateKey: appKeys().privateKey, installationId },
    });
    const { status } = await client.actions.generateRunnerJitconfigForOrg(jitBody(`vm-${appId}`));
    assert.equal(status, 201);
  }
  assert.equal(fake.entries.filter((entry) => entry.event === 'token_minted').length, 2);
});

test('app_and_its_installations_are_told', async (t) => {
  const fake = await startWithApp(t, { repo: ['acme/web', 'other/tool'] });
  const app = asApp(fake);
  assert.equal((await app.apps.getAuthenticated()).data.id, 4242);
  const { data } = await app.apps.listInstallations();
  assert.deepEqual(data.map((entry) => entry.account.login), ['acme', 'other']);
  assert.equal((await app.apps.getRepoInstallation({ owner: 'other', repo: 'tool' })).data.id, data[1].id);
  await rejects(app.apps.getOrgInstallation({ org: 'nobody' }), 404);
  await rejects(app.apps.getRepoInstallation({ owner: 'acme', repo: 'nothing' }), 404);
});

test('installation_token_is_long_and_opens_its_own_owner_only', async (t) => {
  const fake = await startWithApp(t, { repo: ['acme/web', 'other/tool'] });
  const { token, expires_at: expiresAt, permissions } = await installationToken(fake);
  assert.match(token, /^ghs_4242_[A-Za-z0-9._]{36,}$/);
  assert.ok(token.length > 480 && token.length < 600, `${token.length}`);
  assert.equal(token.split('.').length, 3);
  assert.ok(Math.abs(Date.parse(expiresAt) - Date.now() - 3600_000) < 60_000);
  assert.equal(permissions.organization_self_hosted_runners, 'write');
  const client = octokit(fake, token);
  assert.equal((await client.actions.listSelfHostedRunnersForOrg({ org: 'ACME' })).data.total_count, 0);
  await rejects(client.actions.listSelfHostedRunnersForOrg({ org: 'other' }), 404);
  await rejects(client.apps.getAuthenticated(), 401, /JSON web token could not be decoded/);
  await rejects(asApp(fake).actions.listSelfHostedRunnersForOrg({ org: 'acme' }), 403, /not accessible by integration/);
});

// Each App has an id, keys, and an installation of its own on each owner.
test('several_apps_are_distinguished', async (t) => {
  const fake = await startWithApp(t, { repo: ['acme/web', 'other/tool'] });
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', {
    modulusLength: 2048, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const file = path.join(temporary(t), 'second.pem');
  fs.writeFileSync(file, publicKey);
  await fake.ask('POST', '/config', { apps: [{ id: 77, keys: [file], owners: ['acme'] }] });
  const second = asApp(fake, jwt({ iss: 77 }, { key: privateKey }));
  assert.equal((await second.apps.getAuthenticated()).data.id, 77);
  assert.deepEqual((await second.apps.listInstallations()).data.map((entry) => entry.account.login), ['acme']);
  await rejects(second.apps.getOrgInstallation({ org: 'other' }), 404);
  const { id } = (await second.apps.getOrgInstallation({ org: 'acme' })).data;
  const first = (await asApp(fake).apps.getOrgInstallation({ org: 'acme' })).data.id;
  assert.notEqual(id, first);
  await rejects(second.apps.createInstallationAccessToken({ installation_id: first }), 404);
  await rejects(asApp(fake, jwt({ iss: 77 })).apps.getAuthenticated(), 401); // the first App's key
  const { token } = (await second.apps.createInstallationAccessToken({ installation_id: id })).data;
  assert.equal((await octokit(fake, token).actions.listSelfHostedRunnersForOrg({ org: 'acme' })).data.total_count, 0);
  assert.deepEqual((await second.apps.listWebhookDeliveries()).data, []);
  await fake.ask('POST', '/config', { apps: [{ id: 77, suspended: ['acme'] }] });
  await rejects(second.apps.createInstallationAccessToken({ installation_id: id }), 403, /suspended/);
  await installationToken(fake); // the first App's is not
});

test('installation_lists_its_own_repositories', async (t) => {
  const fake = await startWithApp(t, { repo: ['acme/web', 'acme/api', 'other/tool'] });
  const { token } = await installationToken(fake);
  const app = octokit(fake, token);
  const { data } = await app.apps.listReposAccessibleToInstallation({ per_page: 1, page: 2 });
  assert.equal(data.total_count, 2);
  assert.deepEqual(data.repositories.map((repository) => repository.full_name), ['acme/api']);
  const { token: narrow } = await installationToken(fake, { repositories: ['web'] });
  const { data: own } = await octokit(fake, narrow).apps.listReposAccessibleToInstallation();
  assert.deepEqual(own.repositories.map((repository) => repository.full_name), ['acme/web']);
  await rejects(asApp(fake).apps.listReposAccessibleToInstallation(), 403);
});

test('installation_token_of_the_old_form_is_given_on_demand', async (t) => {
  const fake = await startWithApp(t);
  const { token } = await installationToken(fake, { headers: { 'x-github-stateless-s2s-token': 'disabled' } });
  assert.equal(token.length, 40);
});

test('installation_token_expires', async (t) => {
  const fake = await startWithApp(t, { token_lifetime_s: 0 });
  const { token } = await installationToken(fake);
  await rejects(octokit(fake, token).actions.listSelfHostedRunnersForOrg({ org: 'acme' }), 401, /Bad credentials/);
});

test('narrowed_token_can_do_less', async (t) => {
  const fake = await startWithApp(t, { repo: ['acme/web', 'acme/api'] });
  const { token, repositories, repository_selection: selection } = await installationToken(fake, {
    permissions: { administration: 'write', organization_self_hosted_runners: 'read' }, repositories: ['web'],
  });
  assert.equal(selection, 'selected');
  assert.deepEqual(repositories.map((repository) => repository.full_name), ['acme/web']);
  const client = octokit(fake, token);
  assert.equal((await client.actions.listSelfHostedRunnersForOrg({ org: 'acme' })).status, 200);
  const refused = await client.actions.generateRunnerJitconfigForOrg(jitBody('x')).catch((error) => error);
  assert.equal(refused.status, 403);
  assert.equal(refused.response.headers['x-accepted-github-permissions'], 'organization_self_hosted_runners=write');
  assert.equal((await client.actions.listSelfHostedRunnersForRepo({ owner: 'acme', repo: 'web' })).status, 200);
  await rejects(client.actions.listSelfHostedRunnersForRepo({ owner: 'acme', repo: 'api' }), 404);
  await rejects(installationToken(fake, { permissions: { contents: 'write' } }), 422, /not granted/);
  await rejects(installationToken(fake, { repositories: ['nothing'] }), 422, /does not exist/);
  await rejects(asApp(fake).apps.createInstallationAccessToken({ installation_id: 1 }), 404);
});

test('app_jwt_is_verified', async (t) => {
  const fake = await startWithApp(t);
  const now = Math.floor(Date.now() / 1000);
  const other = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const attempt = (token) => asApp(fake, token).apps.getAuthenticated();
  assert.equal((await attempt(jwt({}))).status, 200);
  assert.equal((await attempt(jwt({ iss: '4242' }))).status, 200);
  await rejects(attempt(jwt({ exp: now + 900 })), 401, /too far in the future/);
  await rejects(attempt(jwt({ exp: now - 30 })), 401, /'exp'/);
  await rejects(attempt(jwt({ exp: 'soon' })), 401, /'exp'/);
  await rejects(attempt(jwt({ iat: now + 300 })), 401, /'iat'/);
  await rejects(attempt(jwt({ iss: 1 })), 404, /Integration not found/);
  await rejects(attempt(jwt({}, { key: other })), 401, /could not be decoded/);
  await rejects(attempt(jwt({}, { header: { alg: 'none' } })), 401, /could not be decoded/);
  await rejects(attempt('a.b.c'), 401, /could not be decoded/);
});

test('each_credential_has_its_own_rate_limit', async (t) => {
  const fake = await startWithApp(t, { rate_limit: 3 });
  const { token } = await installationToken(fake);
  const { headers } = await octokit(fake, token).actions.listSelfHostedRunnersForOrg({ org: 'acme' });
  assert.equal(headers['x-ratelimit-remaining'], '2');
  assert.equal((await asApp(fake).apps.getAuthenticated()).headers['x-ratelimit-remaining'], '0');
});

test('check_runs_and_cancelled_runs_take_their_permissions', async (t) => {
  const fake = await startWithApp(t);
  const where = { owner: 'acme', repo: 'web' };
  const control = async (method, route, body) => (await fetch(`${fake.url}/_fake${route}`, { method, body: body && JSON.stringify(body) })).json();
  const jobs = await control('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], count: 2, same_run: true });
  const poor = octokit(fake, (await installationToken(fake)).token);
  const { data: job } = await poor.actions.getJobForWorkflowRun({ ...where, job_id: jobs[0].id });
  const check = { ...where, name: 'Mayfly: build', head_sha: job.head_sha, external_id: 'mayfly-job-1', status: 'completed', conclusion: 'failure', output: { title: 'no', summary: 'why' } };
  await rejects(poor.checks.create(check), 403);
  await rejects(poor.actions.cancelWorkflowRun({ ...where, run_id: job.run_id }), 403);
  await control('POST', '/config', { permissions: { ...fake.world.permissions, actions: 'write', checks: 'write' } });
  const rich = octokit(fake, (await installationToken(fake)).token);
  const { data, status } = await rich.checks.create(check);
  assert.deepEqual([status, data.name, data.conclusion, data.output.summary], [201, 'Mayfly: build', 'failure', 'why']);
  await rejects(rich.checks.create({ ...check, head_sha: 'f'.repeat(40) }), 422);
  assert.equal((await control('GET', '/check-runs'))[0].external_id, 'mayfly-job-1');
  assert.equal((await rich.actions.cancelWorkflowRun({ ...where, run_id: job.run_id })).status, 202);
  const after = await rich.actions.listJobsForWorkflowRun({ ...where, run_id: job.run_id });
  assert.deepEqual(after.data.jobs.map((one) => one.conclusion), ['cancelled', 'cancelled']);
  await rejects(rich.actions.cancelWorkflowRun({ ...where, run_id: job.run_id }), 409);
  await rejects(rich.actions.cancelWorkflowRun({ ...where, run_id: 1 }), 404);
});

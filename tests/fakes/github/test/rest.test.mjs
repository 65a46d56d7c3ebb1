import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { decodeJitConfig } from '../../lib/runner_client.mjs';
import {
  PAT, TestRunner, jitBody, octokit, rejects, startFake,
} from './support.mjs';

const agent = { 'user-agent': 'test', authorization: `Bearer ${PAT}` };

test('jitconfig_for_org_has_githubs_shape_and_size', async (t) => {
  const fake = await startFake(t);
  const { data, status, headers } = await octokit(fake).actions.generateRunnerJitconfigForOrg({
    ...jitBody('vm-1', ['self-hosted', 'Linux', 'gpu']), work_folder: 'w',
  });
  assert.equal(status, 201);
  assert.match(headers['x-github-request-id'], /^[0-9A-F]+(:[0-9A-F]+){4}$/);
  const { runner } = data;
  assert.deepEqual([runner.name, runner.os, runner.status, runner.busy, runner.version], ['vm-1', 'unknown', 'offline', false, null]);
  assert.deepEqual(runner.labels.map((label) => [label.name, label.type]), [['self-hosted', 'read-only'], ['Linux', 'read-only'], ['gpu', 'custom']]);
  assert.ok(data.encoded_jit_config.length > 3500 && data.encoded_jit_config.length < 5000, `${data.encoded_jit_config.length}`);
  const jit = decodeJitConfig(data.encoded_jit_config);
  assert.equal(jit['.runner'].AgentName, 'vm-1');
  assert.equal(jit['.runner'].AgentId, String(runner.id));
  assert.equal(jit['.runner'].WorkFolder, 'w');
  assert.equal(jit['.credentials'].scheme, 'OAuth');
  const k = jit['.credentials_rsaparams'];
  const url = (text) => Buffer.from(text, 'base64').toString('base64url');
  const key = crypto.createPrivateKey({
    format: 'jwk',
    key: { kty: 'RSA', n: url(k.modulus), e: url(k.exponent), d: url(k.d), p: url(k.p), q: url(k.q), dp: url(k.dp), dq: url(k.dq), qi: url(k.inverseQ) },
  });
  assert.equal(key.asymmetricKeyDetails.modulusLength, 2048);
  assert.ok(crypto.verify('sha256', Buffer.from('x'), crypto.createPublicKey(key), crypto.sign('sha256', Buffer.from('x'), key)));
});

test('jitconfig_for_repo_registers_in_the_repository_only', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  const where = { owner: 'acme', repo: 'web' };
  const { data } = await client.actions.generateRunnerJitconfigForRepo({ ...where, name: 'r', labels: ['a'], runner_group_id: 1 });
  assert.equal((await client.actions.listSelfHostedRunnersForRepo(where)).data.total_count, 1);
  assert.equal((await client.actions.listSelfHostedRunnersForOrg({ org: 'acme' })).data.total_count, 0);
  const one = { ...where, runner_id: data.runner.id };
  assert.equal((await client.actions.getSelfHostedRunnerForRepo(one)).data.name, 'r');
  await rejects(client.actions.getSelfHostedRunnerForOrg({ org: 'acme', runner_id: data.runner.id }), 404);
  assert.equal((await client.actions.deleteSelfHostedRunnerFromRepo(one)).status, 204);
  await rejects(client.actions.deleteSelfHostedRunnerFromRepo(one), 404);
});

test('jitconfig_wrong_input_is_refused_as_github_does', async (t) => {
  const fake = await startFake(t, { validate: false });
  const client = octokit(fake);
  const attempt = (changes) => client.request('POST /orgs/{org}/actions/runners/generate-jitconfig', { ...jitBody('x'), ...changes });
  await attempt({});
  await rejects(attempt({}), 409, /Already exists - A runner with the name x already exists/);
  await rejects(attempt({ name: 'X' }), 409);
  await rejects(attempt({ name: 'y', runner_group_id: undefined }), 422, /object is missing required key: runner_group_id/);
  await rejects(attempt({ name: 'y', labels: undefined }), 422, /missing required key: labels/);
  await rejects(attempt({ name: 'y', labels: [] }), 422);
  await rejects(attempt({ name: 'y', labels: Array.from({ length: 101 }, (_, i) => `l${i}`) }), 422);
  await rejects(attempt({ name: 'y'.repeat(65) }), 422, /64/);
  await rejects(attempt({ name: 'y', runner_group_id: 2 }), 403);
  await rejects(attempt({ name: 'y', runner_group_id: 99 }), 404);
  await rejects(attempt({ name: 'y', org: 'nobody' }), 404);
});

test('runner_list_filters_by_name_and_pages', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  for (let i = 0; i < 25; i++) await client.actions.generateRunnerJitconfigForOrg(jitBody(`vm-${i}`));
  const all = await client.paginate(client.actions.listSelfHostedRunnersForOrg, { org: 'acme', per_page: 10 });
  assert.deepEqual(all.map((runner) => runner.name).sort(), Array.from({ length: 25 }, (_, i) => `vm-${i}`).sort());
  const page = await client.actions.listSelfHostedRunnersForOrg({ org: 'acme', per_page: 10, page: 2 });
  assert.equal(page.data.total_count, 25);
  for (const rel of ['prev', 'next', 'last', 'first']) assert.match(page.headers.link, new RegExp(`rel="${rel}"`));
  const named = await client.actions.listSelfHostedRunnersForOrg({ org: 'acme', name: 'vm-7' });
  assert.deepEqual(named.data.runners.map((runner) => runner.name), ['vm-7']);
  assert.equal(named.headers.link, undefined);
});

test('runner_delete_while_busy_is_422', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  const runner = await TestRunner.online(fake, 'busy');
  const [{ id }] = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'] });
  assert.equal((await runner.poll()).job, id);
  const one = { org: 'acme', runner_id: runner.id };
  const { data } = await client.actions.getSelfHostedRunnerForOrg(one);
  assert.deepEqual([data.status, data.busy, data.os, typeof data.version], ['online', true, 'Linux', 'string']);
  await rejects(client.actions.deleteSelfHostedRunnerFromOrg(one), 422, /currently running a job/);
  assert.equal(await runner.finish(), 200);
  await rejects(client.actions.deleteSelfHostedRunnerFromOrg(one), 404);
});

test('request_without_its_due_headers_is_refused', async (t) => {
  const fake = await startFake(t);
  const get = (headers) => new Promise((resolve, reject) => {
    import('node:http').then(({ default: http }) => http.get(`${fake.url}/orgs/acme/actions/runners`, { headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => resolve({ status: response.statusCode, text }));
    }).on('error', reject));
  });
  assert.equal((await get(agent)).status, 200);
  const nameless = await get({ authorization: agent.authorization });
  assert.equal(nameless.status, 403);
  assert.match(nameless.text, /User-Agent/);
  assert.equal((await get({ ...agent, 'x-github-api-version': '2001-01-01' })).status, 400);
  assert.equal((await get({ ...agent, 'x-github-api-version': '2026-03-10' })).status, 200);
  assert.equal((await get({ 'user-agent': 'test' })).status, 401);
  assert.match((await get({ ...agent, authorization: 'Bearer wrong' })).text, /Bad credentials/);
  assert.equal((await get({ ...agent, authorization: 'Basic eDp5' })).status, 401);
});

test('unknown_path_is_404_and_wrong_method_is_not_success', async (t) => {
  const fake = await startFake(t);
  assert.equal((await fetch(`${fake.url}/orgs/acme/nothing`, { headers: agent })).status, 404);
  assert.equal((await fetch(`${fake.url}/orgs/acme/actions/runners`, { headers: agent, method: 'PATCH' })).status, 405);
});

test('runner_groups_are_listed_and_unchanged_ones_cost_nothing', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  await fake.ask('POST', '/config', { groups: [{ name: 'vms', visibility: 'selected', repositories: ['acme/web'] }] });
  const list = (headers) => client.request('GET /orgs/{org}/actions/runner-groups', { org: 'acme', headers });
  const first = await list();
  assert.deepEqual(first.data.runner_groups.map((group) => [group.id, group.name, group.default]), [[1, 'Default', true], [3, 'vms', false]]);
  assert.equal((await client.request('GET /orgs/{org}/actions/runner-groups/{runner_group_id}', { org: 'acme', runner_group_id: 3 })).data.name, 'vms');
  const again = list({ 'if-none-match': first.headers.etag });
  await rejects(again, 304);
  const left = (await client.rateLimit.get()).data.rate;
  assert.equal(left.used, 2);
  assert.equal(left.limit - left.remaining, 2);
});

test('primary_limit_refuses_until_its_window_ends', async (t) => {
  const fake = await startFake(t, { rate_limit: 2, rate_window_s: 5 });
  const client = octokit(fake);
  const list = () => client.actions.listSelfHostedRunnersForOrg({ org: 'acme' });
  assert.equal((await list()).headers['x-ratelimit-remaining'], '1');
  await list();
  const refused = await list().catch((error) => error);
  assert.equal(refused.status, 403);
  assert.match(refused.message, /API rate limit exceeded/);
  assert.equal(refused.response.headers['x-ratelimit-remaining'], '0');
  const reset = Number(refused.response.headers['x-ratelimit-reset']);
  await fake.ask('POST', '/config', { rate_status: 429 });
  await rejects(list(), 429);
  await new Promise((resolve) => { setTimeout(resolve, Math.max(0, reset * 1000 - Date.now()) + 20); });
  assert.equal((await list()).status, 200);
});

test('secondary_limit_counts_points_and_tells_when_to_come_back', async (t) => {
  const fake = await startFake(t, { secondary_points: 10 });
  const client = octokit(fake);
  await client.actions.generateRunnerJitconfigForOrg(jitBody('a'));
  await client.actions.generateRunnerJitconfigForOrg(jitBody('b'));
  const refused = await client.actions.generateRunnerJitconfigForOrg(jitBody('c')).catch((error) => error);
  assert.equal(refused.status, 403);
  assert.match(refused.message, /secondary rate limit/);
  assert.ok(Number(refused.response.headers['retry-after']) >= 1);
  assert.notEqual(refused.response.headers['x-ratelimit-remaining'], '0');
  assert.equal((await client.actions.listSelfHostedRunnersForOrg({ org: 'acme' })).data.total_count, 2);
});

test('registrations_per_five_minutes_are_bounded', async (t) => {
  const fake = await startFake(t, { registrations_per_5min: 1 });
  const client = octokit(fake);
  await client.actions.generateRunnerJitconfigForOrg(jitBody('a'));
  await rejects(client.actions.generateRunnerJitconfigForOrg(jitBody('b')), 403, /secondary/);
});

test('fault_applies_as_often_as_asked_and_drop_does_the_work', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  await fake.ask('POST', '/faults', [
    { operation: 'generate-jitconfig', status: 502, body: '<html>502</html>', times: 1 },
    { operation: 'generate-jitconfig', drop: true, times: 1 },
    { operation: '*', preset: 'secondary-rate-limit', times: 1 },
  ]);
  const attempt = () => client.actions.generateRunnerJitconfigForOrg(jitBody('a'));
  await rejects(attempt(), 502);
  await assert.rejects(attempt(), (error) => error.status === 500 && !error.response);
  await rejects(attempt(), 403, /secondary/);
  await rejects(attempt(), 409);
  assert.equal(fake.entries.filter((entry) => entry.event === 'runner_registered').length, 1);
  assert.deepEqual(fake.entries.filter((e) => e.event === 'request').map((e) => e.status), [502, 0, 403, 409]);
});

test('enterprise_server_prefix_serves_the_same', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake, PAT, { baseUrl: `${fake.url}/api/v3` });
  for (const name of ['a', 'b']) await client.actions.generateRunnerJitconfigForOrg(jitBody(name));
  const { data, headers } = await client.actions.listSelfHostedRunnersForOrg({ org: 'acme', per_page: 1 });
  assert.equal(data.total_count, 2);
  assert.match(headers.link, /\/api\/v3\/orgs\//);
});

test('meta_rate_limit_and_downloads_answer', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  assert.ok((await client.meta.get()).data.hooks.length > 0);
  assert.equal((await octokit(fake, undefined).meta.get()).status, 200);
  assert.equal((await client.rateLimit.get()).data.resources.core.limit, 5000);
  const { data } = await client.actions.listRunnerApplicationsForOrg({ org: 'acme' });
  assert.deepEqual(data.map((entry) => entry.architecture), ['x64', 'arm64']);
  assert.equal((await client.actions.listRunnerApplicationsForRepo({ owner: 'acme', repo: 'web' })).data.length, 2);
});

test('jobs_and_runs_are_told_in_each_state', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  const repo = { owner: 'acme', repo: 'web' };
  const [first, second] = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], count: 2 });
  const job = async () => (await client.actions.getJobForWorkflowRun({ ...repo, job_id: first.id })).data;
  const runs = async (status) => (await client.actions.listWorkflowRunsForRepo({ ...repo, status })).data.workflow_runs.map((run) => run.id);
  assert.deepEqual([(await job()).status, (await job()).runner_id], ['queued', null]);
  assert.deepEqual(await runs('queued'), [second.run_id, first.run_id]);
  const runner = await TestRunner.online(fake, 'vm');
  assert.equal((await runner.poll()).job, first.id);
  assert.deepEqual([(await job()).status, (await job()).runner_name], ['in_progress', 'vm']);
  assert.deepEqual(await runs('in_progress'), [first.run_id]);
  await runner.finish(1);
  const done = await job();
  assert.deepEqual([done.status, done.conclusion, done.runner_name], ['completed', 'failure', 'vm']);
  assert.deepEqual(await runs('failure'), [first.run_id]);
  const { data } = await client.actions.listJobsForWorkflowRun({ ...repo, run_id: first.run_id });
  assert.deepEqual(data.jobs.map((entry) => entry.id), [first.id]);
  await rejects(client.actions.getJobForWorkflowRun({ ...repo, job_id: 1 }), 404);
  await rejects(client.actions.listJobsForWorkflowRun({ ...repo, run_id: 1 }), 404);
});

test('runs_are_searched_by_time_and_their_jobs_by_attempt', async (t) => {
  const fake = await startFake(t);
  const client = octokit(fake);
  const repo = { owner: 'acme', repo: 'web' };
  const [first] = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'] });
  const [again] = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], run_id: first.run_id, run_attempt: 2 });
  const jobs = async (filter) => (await client.actions.listJobsForWorkflowRun({ ...repo, run_id: first.run_id, filter })).data.jobs.map((entry) => entry.id);
  assert.deepEqual(await jobs(), [again.id]);
  assert.deepEqual(await jobs('all'), [first.id, again.id]);
  const runs = async (created) => (await client.actions.listWorkflowRunsForRepo({ ...repo, status: 'queued', created })).data.workflow_runs.length;
  assert.equal(await runs('<=2020-01-01T00:00:00Z'), 0);
  assert.equal(await runs('>=2020-01-01T00:00:00Z'), 1);
  await rejects(client.actions.listWorkflowRunsForRepo({ ...repo, created: 'yesterday' }), 422);
});

test('request_against_the_description_fails_loudly', async (t) => {
  const fake = await startFake(t);
  const post = (body) => fetch(`${fake.url}/orgs/acme/actions/runners/generate-jitconfig`, {
    method: 'POST', headers: { ...agent, 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  assert.equal((await post({ name: 'a', labels: ['x'], runner_group_id: '1' })).status, 500);
  const entry = await fake.happened('invalid_request', { operation: 'generate-jitconfig' });
  assert.match(entry.problems.join(), /runner_group_id must be integer/);
  assert.equal((await fetch(`${fake.url}/orgs/acme/actions/runners?nmae=x`, { headers: agent })).status, 500);
  assert.equal((await fetch(`${fake.url}/orgs/acme/actions/runners?per_page=many`, { headers: agent })).status, 500);
  assert.equal((await fake.ask('GET', '/state')).invalid_requests, 3);
  assert.equal((await post({ name: 'a', labels: ['x'], runner_group_id: 1 })).status, 201);
});

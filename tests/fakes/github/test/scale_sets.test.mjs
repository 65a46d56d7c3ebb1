/* The service of scale sets: judged by GitHub's own client (Go), and what that client does not show. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { spawn } from '../../../lib/child.mjs';
import { temporary } from '../../lib/testing.mjs';
import { PAT, TestRunner, octokit, startFake } from './support.mjs';

const SOURCE = path.join(path.dirname(fileURLToPath(import.meta.url)), 'scaleset_client');

/** GitHub's client as a program, or why it cannot be had. The long run's: compiling it takes longer than all other tests of this stand-in. */
function buildClient(t) {
  if (process.env.MAYFLY_QUICK) {
    t.skip("GitHub's client of scale sets is compiled in the long run");
    return null;
  }
  const file = path.join(temporary(t), 'client');
  const built = spawnSync('go', ['build', '-o', file, '.'], { cwd: SOURCE, encoding: 'utf8', timeout: 120_000 });
  if (built.error || built.status !== 0) t.skip(`GitHub's client of scale sets cannot be built: ${built.error?.code ?? built.stderr.trim().split('\n').at(-1)}`);
  return built.status === 0 ? file : null;
}

/** Calls as GitHub's client makes them, for what it hides. */
async function connect(fake) {
  const { data } = await octokit(fake).actions.createRegistrationTokenForOrg({ org: 'acme' });
  const parse = async (response) => ({ status: response.status, json: JSON.parse((await response.text()).replace(/^\ufeff/, '') || 'null') });
  const call = async (method, url, authorization, body, headers = {}) => parse(await fetch(url, { method, headers: { authorization, ...headers }, body: body && JSON.stringify(body) }));
  const admin = await call('POST', `${fake.url}/actions/runner-registration`, `RemoteAuth ${data.token}`, { url: `${fake.url}/acme`, runner_event: 'register' });
  assert.equal(admin.status, 200);
  const { url, token } = admin.json;
  const service = (method, where, body) => call(method, `${url}_apis/runtime/runnerscalesets${where}?api-version=6.0-preview`, `Bearer ${token}`, body);
  const poll = (session, last = 0) => call('GET', session.messageQueueUrl + (last ? `&lastMessageId=${last}` : ''), `Bearer ${session.messageQueueAccessToken}`, undefined,
    { accept: 'application/json; api-version=6.0-preview', 'x-scalesetmaxcapacity': '3' });
  const forget = (session, id) => call('DELETE', session.messageQueueUrl.replace('?', `/${id}?`), `Bearer ${session.messageQueueAccessToken}`);
  const queue = (method, where, session, body) => call(method, `${url}_apis/runtime/runnerscalesets${where}?api-version=6.0-preview`, `Bearer ${session.messageQueueAccessToken}`, body);
  return { call, service, poll, forget, queue };
}

async function openSet(fake, { name = 'blue' } = {}) {
  const client = await connect(fake);
  const { json: set } = await client.service('POST', '', { name, runnerGroupId: 1, labels: [{ type: 'System', name }] });
  const { status, json: session } = await client.service('POST', `/${set.id}/sessions`, { ownerName: 'test' });
  assert.equal(status, 200);
  return { ...client, set, session };
}

const messages = ({ json }) => JSON.parse(json.body).map((m) => m.messageType);

test('githubs_own_client_runs_a_set_from_its_creation_to_its_removal', async (t) => {
  const client = buildClient(t);
  if (!client) return;
  const fake = await startFake(t, { set_token_s: 0.3, set_poll_s: 0.2, set_admin_token_s: 70 });
  const child = spawn(client, [`${fake.url}/acme`, PAT, 'blue'], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const seen = [];
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (event, wanted = () => true) => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `the client ended before "${event}": ${JSON.stringify(seen)}`);
      const line = JSON.parse(value);
      seen.push(line);
      if (line.event === event && wanted(line)) return line;
    }
  };
  const turn = (text) => child.stdin.write(`${text}\n`);
  assert.deepEqual(await next('created'), { event: 'created', id: 1, same: true, labels: 1, group: 'Default' });
  turn('go');
  assert.equal((await next('session')).assigned, 0);
  turn('conflict');
  assert.equal((await next('conflict')).refused, true);
  const [{ run_id: run }] = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['blue'], command: 'true' });
  await next('desired', ({ count }) => count === 1);
  turn('jit r1');
  const jit = await next('jit');
  assert.deepEqual([jit.same, jit.set], [true, 1]);
  turn('jit r1');
  await next('exists');
  const runner = new TestRunner(fake, 'r1', jit.id, jit.config);
  assert.equal((await runner.open()).status, 200);
  assert.equal((await runner.poll()).status, 200);
  const started = await next('started');
  assert.deepEqual([started.runner, started.runner_id, started.run], ['r1', jit.id, run]);
  assert.equal(await runner.finish(), 200);
  assert.equal((await next('completed')).result, 'succeeded');
  await next('desired', ({ count }) => count === 0);
  turn('jit r2');
  await next('jit');
  turn('remove r2');
  assert.equal((await next('removed')).gone, true);
  for (let renewed = 0; !renewed;) renewed = (await fake.ask('GET', '/state')).requests['set-session-renew']; // the queue token has expired
  turn('end');
  await next('ended');
  assert.deepEqual(await fake.ask('GET', '/scale-sets'), []);
});

test('message_stays_until_it_is_deleted_and_its_statistics_are_of_its_moment', async (t) => {
  const fake = await startFake(t, { set_poll_s: 0.05 });
  const { poll, forget, session } = await openSet(fake);
  assert.equal((await poll(session)).status, 202);
  await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['blue'], count: 5 });
  const first = await poll(session);
  assert.deepEqual([first.status, first.json.statistics.totalAssignedJobs, messages(first).length], [200, 3, 3]); // the capacity
  assert.deepEqual(await poll(session, first.json.messageId), first);
  assert.equal((await forget(session, first.json.messageId)).status, 204);
  assert.equal((await poll(session, first.json.messageId)).status, 202);
  const [{ id }] = await fake.ask('GET', '/jobs');
  await fake.ask('POST', `/jobs/${id}/cancel`);
  const second = await poll(session, first.json.messageId);
  assert.deepEqual(messages(second), ['JobCompleted', 'JobAssigned']);
  assert.equal(second.json.statistics.totalAssignedJobs, 3);
});

test('enterprise_server_assigns_what_is_acquired', async (t) => {
  const fake = await startFake(t, { set_poll_s: 0.05, set_assignment: 'acquire' });
  const { poll, forget, queue, set, session } = await openSet(fake);
  await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['blue'], count: 2 });
  const offered = await poll(session);
  assert.deepEqual([messages(offered), offered.json.statistics.totalAssignedJobs], [['JobAvailable', 'JobAvailable'], 0]);
  const [{ runnerRequestId: request }] = JSON.parse(offered.json.body);
  await forget(session, offered.json.messageId);
  const won = await queue('POST', `/${set.id}/acquirejobs`, session, [request, 7]);
  assert.deepEqual(won.json.value, [request]);
  const assigned = await poll(session);
  assert.deepEqual([messages(assigned), assigned.json.statistics.totalAssignedJobs], [['JobAssigned'], 1]);
});

test('session_is_one_at_a_time_and_ends_some_time_after_its_last_poll', async (t) => {
  const fake = await startFake(t, { set_poll_s: 0.05, set_session_s: 0.3 });
  const { service, poll, set, session } = await openSet(fake);
  const open = () => service('POST', `/${set.id}/sessions`, { ownerName: 'another' });
  const refused = await open();
  assert.equal(refused.status, 409);
  assert.match(refused.json.typeName, /RunnerScaleSetSessionConflictException/);
  await fake.happened('set_session_ended');
  assert.equal((await poll(session)).status, 401);
  assert.equal((await service('PATCH', `/${set.id}/sessions/${session.sessionId}`)).status, 404);
  assert.equal((await open()).status, 200);
});

test('runner_without_the_set_gets_none_of_its_jobs_before_they_are_assigned', async (t) => {
  const fake = await startFake(t, { set_poll_s: 0.05 });
  const { poll, session } = await openSet(fake);
  const runner = await TestRunner.online(fake, 'r', { labels: ['blue'] });
  const [{ id }] = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['blue'] });
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).state, 'queued');
  await poll(session);
  await fake.happened('job_assigned', { job: id, runner: runner.name });
});

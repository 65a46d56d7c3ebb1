import assert from 'node:assert/strict';
import test from 'node:test';
import { matches, normalise } from '../lib/matcher.mjs';
import { TestRunner, octokit, startFake } from './support.mjs';

const queue = async (fake, more = {}) => (await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['self-hosted', 'linux'], ...more }))[0].id;
const job = (fake, id) => fake.ask('GET', `/jobs/${id}`);
const events = (fake, ...names) => fake.entries.filter((entry) => names.includes(entry.event)).map((entry) => entry.event);

const owner = { login: 'acme' };
const repository = { owner, fullName: 'acme/web', private: true };
const group = (settings = {}) => ({ id: 1, name: 'Default', visibility: 'all', allows_public_repositories: false, repositories: [], ...settings });
const wants = (labels, more = {}) => ({ repository, groupName: null, wanted: normalise(labels), ...more });
const offers = (labels, more = {}) => ({ owner, repository: null, group: group(), offered: normalise(labels), ...more });

test('match_needs_all_labels_whatever_their_case', () => {
  assert.ok(matches(wants(['Linux', 'GPU']), offers(['linux', 'gpu', 'x64'])));
  assert.ok(!matches(wants(['linux', 'arm64']), offers(['linux', 'x64'])));
  assert.ok(!matches(wants([]), offers(['linux'])));
  assert.ok(matches(wants([], { groupName: 'default' }), offers(['linux'])));
});

test('match_minds_scope_and_group', () => {
  const other = { owner: { login: 'other' }, fullName: 'other/x', private: true };
  const open = { owner, fullName: 'acme/open', private: false };
  const labels = ['linux'];
  assert.ok(!matches(wants(labels, { repository: other }), offers(labels)));
  assert.ok(matches(wants(labels), offers(labels, { repository })));
  assert.ok(!matches(wants(labels, { repository: open }), offers(labels, { repository })));
  assert.ok(!matches(wants(labels, { repository: open }), offers(labels)));
  assert.ok(matches(wants(labels, { repository: open }), offers(labels, { group: group({ allows_public_repositories: true }) })));
  const selected = group({ visibility: 'selected', repositories: ['acme/web'] });
  assert.ok(matches(wants(labels), offers(labels, { group: selected })));
  assert.ok(!matches(wants(labels, { repository: { ...repository, fullName: 'acme/api' } }), offers(labels, { group: selected })));
  assert.ok(!matches(wants(labels, { groupName: 'big' }), offers(labels)));
});

test('oldest_job_goes_first_across_kinds_of_jobs', async (t) => {
  const fake = await startFake(t);
  const a = await queue(fake);
  const b = await queue(fake, { repo: 'acme/api', labels: ['linux'] });
  const c = await queue(fake);
  const order = [];
  for (const name of ['r1', 'r2', 'r3']) {
    const runner = await TestRunner.online(fake, name);
    order.push((await runner.poll()).job);
  }
  assert.deepEqual(order, [a, b, c]);
});

test('runner_idle_longest_gets_the_job', async (t) => {
  const fake = await startFake(t);
  const first = await TestRunner.online(fake, 'first');
  await TestRunner.online(fake, 'second', { labels: ['linux', 'self-hosted', 'extra'] });
  const id = await queue(fake);
  assert.equal((await job(fake, id)).runner, 'first');
  assert.equal((await job(fake, id)).state, 'assigned');
  assert.equal((await first.poll()).job, id);
  assert.equal((await job(fake, id)).state, 'in_progress');
});

test('job_is_taken_by_a_runner_that_was_made_for_another', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'for-b');
  const [a, b] = (await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], count: 2 })).map(({ id }) => id);
  assert.equal((await runner.poll()).job, a);
  assert.equal((await job(fake, b)).state, 'queued');
});

test('repository_runner_takes_no_other_repositorys_job', async (t) => {
  const fake = await startFake(t);
  const elsewhere = await queue(fake, { repo: 'acme/api' });
  const runner = await TestRunner.online(fake, 'r', { repo: 'acme/web' });
  assert.equal((await runner.poll()).status, 202);
  const id = await queue(fake);
  assert.equal((await runner.poll()).job, id);
  assert.equal((await job(fake, elsewhere)).state, 'queued');
});

test('job_not_picked_up_is_queued_again_and_keeps_its_place', async (t) => {
  const fake = await startFake(t, { pickup_timeout_s: 0.2 });
  await TestRunner.online(fake, 'deaf');
  const old = await queue(fake);
  await queue(fake);
  await fake.happened('job_requeued', { job: old, runner: 'deaf' });
  await fake.happened('runner_offline', { runner: 'deaf' });
  await fake.ask('POST', '/config', { pickup_timeout_s: 60 });
  const runner = await TestRunner.online(fake, 'hearing');
  assert.equal((await runner.poll()).job, old);
  assert.equal((await job(fake, old)).requeues, 1);
});

test('silent_runner_goes_offline_and_comes_back_with_its_next_poll', async (t) => {
  const fake = await startFake(t, { offline_after_s: 0.2 });
  const runner = await TestRunner.online(fake, 'r');
  await fake.happened('runner_offline', { runner: 'r', why: 'silent' });
  await fake.ask('POST', '/config', { offline_after_s: 60 });
  const id = await queue(fake);
  assert.equal((await job(fake, id)).state, 'queued');
  assert.equal((await runner.poll()).job, id);
});

test('registration_never_used_is_removed_but_one_with_a_job_stays', async (t) => {
  const fake = await startFake(t);
  const idle = await TestRunner.online(fake, 'idle', { labels: ['other'] });
  const busy = await TestRunner.online(fake, 'busy');
  const id = await queue(fake);
  assert.equal((await busy.poll()).job, id);
  await fake.ask('POST', '/config', { jit_idle_s: 0.01 });
  await fake.happened('runner_removed', { runner: 'idle', reason: 'never-used' });
  assert.equal((await idle.poll()).status, 404);
  assert.equal(await busy.finish(), 200);
  await fake.happened('runner_removed', { runner: 'busy', reason: 'job-done' });
});

test('vanished_registration_gives_its_assigned_job_back', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  const id = await queue(fake);
  await fake.ask('POST', `/runners/${runner.id}/vanish`);
  assert.equal((await runner.poll()).status, 404);
  assert.equal((await job(fake, id)).state, 'queued');
  await fake.happened('runner_removed', { runner: 'r', reason: 'vanished' });
});

test('cancelled_jobs_end_in_every_state_once', async (t) => {
  const fake = await startFake(t);
  const queued = await queue(fake);
  const waiting = await queue(fake, { environment: 'production' });
  for (const id of [queued, waiting]) assert.equal((await fake.ask('POST', `/jobs/${id}/cancel`)).done, true);
  assert.equal((await fake.ask('POST', `/jobs/${queued}/cancel`)).done, false);
  const runner = await TestRunner.online(fake, 'r');
  assert.equal((await runner.poll()).status, 202);
  const assigned = await queue(fake);
  assert.equal((await job(fake, assigned)).state, 'assigned');
  await fake.ask('POST', `/jobs/${assigned}/cancel`);
  const running = await queue(fake);
  assert.equal((await runner.poll()).job, running);
  await fake.ask('POST', `/jobs/${running}/cancel`);
  assert.equal(await runner.finish(), 404);
  for (const id of [queued, waiting, assigned, running]) assert.equal((await job(fake, id)).conclusion, 'cancelled');
  assert.equal((await job(fake, running)).runner, 'r');
  assert.equal(events(fake, 'job_finished').length, 4);
  assert.equal((await fake.ask('GET', '/state')).runners_total, 0);
});

test('job_whose_runner_was_lost_fails_in_the_end', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  const id = await queue(fake);
  await runner.poll();
  await fake.ask('POST', '/config', { job_timeout_s: 0.01 });
  await fake.happened('job_lost', { job: id });
  assert.deepEqual([(await job(fake, id)).conclusion, (await job(fake, id)).runner], ['failure', 'r']);
});

test('environment_job_waits_for_approval', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  const id = await queue(fake, { environment: true });
  assert.equal((await runner.poll()).status, 202);
  assert.equal((await octokit(fake).actions.getJobForWorkflowRun({ owner: 'acme', repo: 'web', job_id: id })).data.status, 'waiting');
  assert.equal((await fake.ask('POST', `/jobs/${id}/approve`)).done, true);
  assert.equal((await fake.ask('POST', `/jobs/${id}/approve`)).done, false);
  assert.equal((await runner.poll()).job, id);
});

test('hundreds_of_jobs_on_as_many_runners_run_once_each', async (t) => {
  const fake = await startFake(t, { validate: false, rate_limit: 10000, pickup_timeout_s: 600, offline_after_s: 600 });
  const runners = [];
  for (let i = 0; i < 300; i += 50) {
    runners.push(...await Promise.all(Array.from({ length: 50 }, (_, k) => {
      const acme = fake.world.owner('acme');
      const known = fake.fleet.register({
        owner: acme, repository: null, group: acme.groups.get(1), name: `vm-${i + k}`, labels: ['linux'], workFolder: '_work',
      });
      return fake.mint.mint(known, fake.protocol.addresses(known), 'https://github.com').then(async (blob) => {
        const runner = new TestRunner(fake, known.name, known.id, blob);
        assert.equal((await runner.open()).status, 200);
        return runner;
      });
    })));
  }
  const jobs = await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], count: 300 });
  for (let i = 0; i < runners.length; i += 50) {
    await Promise.all(runners.slice(i, i + 50).map(async (runner) => {
      await runner.poll();
      return runner.finish();
    }));
  }
  const state = await fake.ask('GET', '/state');
  assert.deepEqual([state.jobs_succeeded, state.runners_total, state.jobs_queued], [300, 0, 0]);
  const finished = fake.entries.filter((entry) => entry.event === 'job_finished').map((entry) => entry.job);
  assert.deepEqual(finished.sort(), jobs.map(({ id }) => id).sort());
});

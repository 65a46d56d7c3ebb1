/* What VMs do: runners against the fake GitHub, ends, faults. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GetMicrovmCommand, RunMicrovmCommand, TerminateMicrovmCommand } from '@aws-sdk/client-lambda-microvms';
import { many } from '../../lib/quick.mjs';
import { interpret } from '../lib/guest.mjs';
import { startGitHub } from './github.mjs';
import { pack } from './pack.mjs';
import { IMAGE, client, startFake } from './support.mjs';

/** A fake, a fake GitHub, and a function that launches a VM with a runner of that name. */
async function scene(t, settings = {}, github = {}) {
  const hub = await startGitHub(t, github);
  const fake = await startFake(t, settings);
  const c = client(t, fake);
  const launch = async (name, { idle_seconds: idle = 60, max_duration_seconds: max = 600, ...fields } = {}) => {
    const payload = pack({ jit_config: await hub.jit(name), idle_seconds: idle, max_duration_seconds: max });
    const { microvmId } = await c.send(new RunMicrovmCommand({
      imageIdentifier: IMAGE, runHookPayload: payload, maximumDurationInSeconds: max, clientToken: name, ...fields,
    }));
    return microvmId;
  };
  const state = async (id) => {
    const told = await c.send(new GetMicrovmCommand({ microvmIdentifier: id }));
    return [told.state, told.stateReason];
  };
  const end = (id) => c.send(new TerminateMicrovmCommand({ microvmIdentifier: id }));
  return { hub, fake, launch, state, end };
}

const done = (hub, job) => new Promise((resolve) => {
  const check = () => {
    if (job.status !== 'completed') return;
    hub.fleet.off('change', check);
    resolve(job);
  };
  hub.fleet.on('change', check);
  check();
});

test('vm_runs_one_job_and_stays_until_it_is_terminated', async (t) => {
  const { hub, fake, launch, state, end } = await scene(t);
  const id = await launch('r1');
  await fake.happened('vm_listening', { microvm: id });
  const job = hub.job('echo hello; sleep 0.01; exit 3');
  await done(hub, job);
  assert.deepEqual([job.conclusion, job.exit, job.output, job.runner.name], ['failure', 3, 'hello\n', 'r1']);
  await fake.happened('vm_runner_ended', { microvm: id, reason: 'job-done' });
  assert.deepEqual(await state(id), ['RUNNING', undefined]);
  await end(id);
  await fake.happened('vm_ended', { microvm: id, job: job.id, runner: 'r1' });
  assert.equal(hub.fleet.runners.size, 0);
});

test('vm_with_a_role_ends_itself', async (t) => {
  const { hub, fake, launch, state } = await scene(t);
  const job = hub.job('true');
  const id = await launch('r1', { executionRoleArn: 'arn:aws:iam::123456789012:role/vm' });
  await done(hub, job);
  await fake.happened('vm_ended', { microvm: id });
  assert.deepEqual(await state(id), ['TERMINATED', 'Terminated by the MicroVM']);
});

test('vm_without_a_job_gives_up_and_maximum_duration_ends_it', async (t) => {
  const { hub, fake, launch, state } = await scene(t);
  const id = await launch('r1', { idle_seconds: 1, max_duration_seconds: 2 });
  await fake.happened('vm_runner_ended', { microvm: id, reason: 'idle-timeout' });
  await fake.happened('vm_ended', { microvm: id });
  assert.deepEqual(await state(id), ['TERMINATED', 'Maximum duration exceeded']);
  assert.equal(hub.fleet.runners.size, 1);
});

test('terminated_vm_leaves_its_job_running_for_github_to_lose', async (t) => {
  const { hub, fake, launch, end } = await scene(t);
  const job = hub.job('sleep 600');
  const id = await launch('r1');
  await fake.happened('vm_job', { microvm: id, job: job.id });
  await end(id);
  await fake.happened('vm_ended', { microvm: id });
  assert.equal(job.status, 'in_progress');
});

test('bad_payload_dies_in_the_run_hook', async (t) => {
  const { fake, launch, state } = await scene(t);
  const id = await launch('r1', { runHookPayload: 'bm90IGEgcGF5bG9hZA==' });
  await fake.happened('vm_ended', { microvm: id });
  const [word, reason] = await state(id);
  assert.equal(word, 'TERMINATED');
  assert.match(reason, /Run hook failed/);
  assert.equal(fake.entries.filter((e) => e.event === 'vm_state' && e.state === 'RUNNING').length, 0);
});

test('vanished_registration_ends_the_runner', async (t) => {
  const { hub, fake, launch } = await scene(t, { start_ms: 50 });
  const id = await launch('r1');
  hub.fleet.remove([...hub.fleet.runners.values()][0], 'vanished');
  await fake.happened('vm_runner_ended', { microvm: id, reason: 'job-done' });
});

test('faults_of_vms', async (t) => {
  const { hub, fake, launch, state, end } = await scene(t, { runner_start_ms: 1 });
  const launchWith = async (vm, name, more) => {
    await fake.ask('POST', '/faults', { vm, times: 1 });
    return launch(name, more);
  };
  const silent = await launchWith('never-start', 'r1');
  await fake.happened('vm_state', { microvm: silent, state: 'RUNNING' });
  const unborn = await launchWith('fail-start', 'r2');
  await fake.happened('vm_ended', { microvm: unborn });
  assert.equal((await state(unborn))[0], 'TERMINATED');
  const dying = await launchWith('die', 'r3');
  const lost = hub.job('sleep 0.02');
  await fake.happened('vm_ended', { microvm: dying, job: lost.id });
  assert.equal(lost.status, 'in_progress');
  const hanging = await launchWith('hang', 'r4', { max_duration_seconds: 1 });
  const stuck = hub.job('true');
  await fake.happened('vm_job', { microvm: hanging, job: stuck.id });
  const control = await launch('r5', { max_duration_seconds: 1 });
  await fake.happened('vm_ended', { microvm: control });
  assert.equal((await state(hanging))[0], 'RUNNING');
  await end(hanging);
  await end(silent);
  await fake.happened('vm_ended', { microvm: hanging });
  assert.equal(fake.entries.filter((e) => e.event === 'vm_listening' && e.microvm === silent).length, 0);
  assert.equal((await fake.ask('GET', '/state')).faults, 4);
});

test('lost_answers_of_github_do_not_lose_the_job', async (t) => {
  const { hub, fake, launch } = await scene(t, {}, { pickup_timeout_s: 1, offline_after_s: 1 });
  hub.faults.add([
    ...['token', 'session', 'acquire', 'renew', 'complete'].map((name) => ({ operation: `runner-${name}`, status: 500, times: 1 })),
    ...['token', 'session', 'message', 'acquire', 'complete'].map((name) => ({ operation: `runner-${name}`, drop: true, times: 1 })),
  ]);
  const job = hub.job('true');
  const id = await launch('r1');
  await fake.happened('vm_job_done', { microvm: id, told: 200 });
  assert.equal(job.conclusion, 'success');
});

test('many_vms_at_once_run_as_many_jobs', async (t) => {
  /* A slow machine is no fault: nobody is given up here. */
  const patient = { offline_after_s: 600, pickup_timeout_s: 600 };
  const { hub, fake, launch } = await scene(t, { memory_quota_mib: 1e9, self_terminate: true, start_ms: 100, jitter: 0.9 }, patient);
  const count = many;
  const jobs = hub.fleet.createJobs({ repo: 'acme/web', labels: ['vm'], command: 'sleep 0.2', count });
  for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => launch(`r${i + k}`, { idle_seconds: 600 })));
  const state = await fake.ask('GET', `/wait?terminated=${count}&timeout=300`);
  assert.equal(state.met, true);
  assert.equal(jobs.filter((job) => job.conclusion === 'success').length, count);
  const ran = fake.entries.filter((entry) => entry.event === 'vm_job');
  assert.equal(new Set(ran.map((entry) => entry.microvm)).size, count);
  assert.equal(new Set(ran.map((entry) => entry.job)).size, count);
});

test('interpret_knows_the_commands_of_tests', () => {
  assert.deepEqual(interpret('sleep 0.5; echo a b && sleep 1'), { ms: 1500, exit: 0, output: 'a b\n' });
  assert.deepEqual(interpret('false'), { ms: 0, exit: 1, output: '' });
  assert.deepEqual(interpret('exit 7; sleep 9'), { ms: 0, exit: 7, output: '' });
});

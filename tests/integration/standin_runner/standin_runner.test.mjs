/*
 * The stand-in for GitHub's runner: what it does with its configuration, its job, signals and a server that errs; as a process
 * without root, on a machine that has busybox and nothing else.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { options } from '../../fakes/github/lib/options.mjs';
import { FakeGitHub } from '../../fakes/github/lib/server.mjs';
import { serve } from '../../fakes/lib/testing.mjs';

const SCRIPTS = fileURLToPath(new URL('../../../deploy/image/standin', import.meta.url));
const LISTENER = process.env.MAYFLY_STANDIN;

const startFake = (t, settings = {}) => serve(t, new FakeGitHub({ ...options.defaults(), org: 'acme', repo: ['acme/web'], token: 'ghp_test', ...settings }));
const queue = async (fake, command) => (await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], command }))[0].id;
const job = (fake, id) => fake.ask('GET', `/jobs/${id}`);
const fault = (fake, operation, fields) => fake.ask('POST', '/faults', { operation: `runner-${operation}`, times: 1, ...fields });

async function register(fake, name) {
  const response = await fetch(`${fake.url}/orgs/acme/actions/runners/generate-jitconfig`, {
    method: 'POST', headers: { authorization: 'Bearer ghp_test', 'user-agent': 'test' }, body: JSON.stringify({ name, labels: ['linux'], runner_group_id: 1 }),
  });
  assert.equal(response.status, 201);
  return (await response.json()).encoded_jit_config;
}

/** The layout of an image, with busybox as the only tools. */
function layOut(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-standin-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const tools = path.join(dir, 'tools');
  for (const folder of [tools, path.join(dir, 'bin')]) fs.mkdirSync(folder);
  assert.equal(spawnSync('busybox', ['--install', '-s', tools]).status, 0, 'busybox, which deploy/packages image installs');
  fs.copyFileSync(LISTENER, path.join(dir, 'bin/Runner.Listener'));
  for (const script of ['run.sh', 'run-helper.sh']) {
    fs.writeFileSync(path.join(dir, script), fs.readFileSync(path.join(SCRIPTS, script), 'utf8').replace('#!/bin/sh', `#!${tools}/sh`), { mode: 0o755 });
  }
  return { dir, tools };
}

/** Runs run.sh; `ended` resolves with its exit code and output. */
function start(t, blob, environment = {}) {
  const { dir, tools } = layOut(t);
  const child = spawn(path.join(dir, 'run.sh'), [], { cwd: '/', env: { PATH: tools, ACTIONS_RUNNER_INPUT_JITCONFIG: blob, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  const waiting = new Set();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
      for (const look of waiting) look();
    });
  }
  const ended = new Promise((resolve) => { child.on('close', (code, signal) => resolve({ code: code ?? signal, output, dir })); });
  const printed = (text) => new Promise((resolve) => {
    const look = () => { if (output.includes(text)) resolve(); };
    waiting.add(look);
    look();
  });
  return { child, dir, ended, printed };
}

const plain = (output) => output.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: /gm, '').trim().split('\n');

test('runs_one_job_and_reports_its_output', async (t) => {
  const fake = await startFake(t, { log_runner_requests: true });
  const runner = start(t, await register(fake, 'vm-1'));
  await fake.happened('runner_online', { runner: 'vm-1' });
  const id = await queue(fake, "printf 'one\\n\\n\\ttwo \"three\" %%\\n'; echo four >&2; echo $RUNNER_NAME in $PWD");
  const { code, output, dir } = await runner.ended;
  assert.equal(code, 0, output);
  assert.deepEqual(plain(output).slice(0, 3), ['Listening for Jobs', 'Running job: build', 'Job build completed with result: Succeeded']);
  const { conclusion, exit, output: printed, runner: name, steps } = await job(fake, id);
  assert.deepEqual([conclusion, exit, name], ['success', 0, 'vm-1']);
  assert.equal(printed, `one\n\n\ttwo "three" %\nfour\nvm-1 in ${dir}/_work/${id}\n`);
  assert.deepEqual(steps.map(({ status, conclusion: how }) => [status, how]), [[6, 2]]);
  const calls = fake.entries.filter((entry) => entry.event === 'runner_request').map(({ operation }) => operation.slice('runner-'.length));
  for (const name of ['token', 'session', 'message', 'acknowledge', 'acquire', 'renew', 'steps', 'log-url', 'blob', 'log-metadata', 'complete', 'session-delete']) {
    assert.ok(calls.includes(name), `${name} is not in ${calls}`);
  }
  assert.deepEqual(fs.readdirSync(dir).filter((file) => file.startsWith('.')), []);
});

test('signs_for_its_token_as_its_configuration_says', async (t) => {
  const fake = await startFake(t);
  const plainKeys = (text) => JSON.parse(Buffer.from(text, 'base64').toString());
  for (const fips of ['True', 'False']) {
    const files = plainKeys(await register(fake, fips));
    const credentials = plainKeys(files['.credentials']);
    credentials.data.requireFipsCryptography = fips;
    files['.credentials'] = Buffer.from(JSON.stringify(credentials)).toString('base64');
    const runner = start(t, Buffer.from(JSON.stringify(files)).toString('base64'));
    await fake.happened('runner_online', { runner: fips });
    assert.deepEqual(fs.readdirSync(runner.dir).filter((file) => file.startsWith('.')).sort(), ['.credentials', '.credentials_rsaparams', '.runner']);
    runner.child.kill('SIGKILL');
  }
});

test('reports_failure_with_its_exit_code_and_keeps_the_configuration_from_the_step', async (t) => {
  const fake = await startFake(t);
  const id = await queue(fake, 'env; exit 7');
  const { code, output } = await start(t, await register(fake, 'vm-1')).ended;
  assert.equal(code, 0, output);
  assert.match(output, /completed with result: Failed/);
  const { conclusion, exit, output: printed } = await job(fake, id);
  assert.deepEqual([conclusion, exit], ['failure', 7]);
  assert.doesNotMatch(printed, /JITCONFIG/);
});

test('what_a_step_leaves_behind_does_not_hold_the_job', async (t) => {
  const fake = await startFake(t);
  const id = await queue(fake, 'sleep 1000 & echo $!');
  const { code, output } = await start(t, await register(fake, 'vm-1')).ended;
  assert.equal(code, 0, output);
  const { output: pid } = await job(fake, id);
  process.kill(Number(pid), 'SIGKILL');
});

test('term_to_run_sh_cancels_the_job_and_deletes_the_session', async (t) => {
  const fake = await startFake(t);
  const runner = start(t, await register(fake, 'vm-1'), { RUNNER_MANUALLY_TRAP_SIG: '1' });
  const id = await queue(fake, "trap 'echo interrupted; exit 1' INT; echo begun; while :; do sleep 0.1; done");
  await runner.printed('Running job');
  await fake.happened('job_started', { job: id });
  runner.child.kill('SIGTERM');
  const { code, output } = await runner.ended;
  assert.equal(code, 143, output);
  assert.match(output, /Job build completed with result: Canceled/);
  assert.equal((await job(fake, id)).conclusion, 'cancelled');
});

test('term_to_run_sh_without_a_job_deletes_the_session', async (t) => {
  const fake = await startFake(t);
  const runner = start(t, await register(fake, 'vm-1'), { RUNNER_MANUALLY_TRAP_SIG: '1' });
  await runner.printed('Listening for Jobs');
  runner.child.kill('SIGTERM');
  assert.equal((await runner.ended).code, 143);
  await fake.happened('runner_offline', { runner: 'vm-1', why: 'session deleted' });
});

test('helper_has_no_trap', async (t) => {
  const fake = await startFake(t);
  const runner = start(t, await register(fake, 'vm-1'), { RUNNER_MANUALLY_TRAP_SIG: '1' });
  await runner.printed('Listening for Jobs');
  const [helper] = fs.readFileSync(`/proc/${runner.child.pid}/task/${runner.child.pid}/children`, 'utf8').trim().split(' ').map(Number);
  const [listener] = fs.readFileSync(`/proc/${helper}/task/${helper}/children`, 'utf8').trim().split(' ').map(Number);
  process.kill(helper, 'SIGTERM');
  assert.equal((await new Promise((resolve) => { runner.child.on('exit', (code) => resolve(code)); })), 143);
  process.kill(listener, 'SIGKILL');
});

test('job_that_is_cancelled_is_the_runners_to_end', async (t) => {
  const fake = await startFake(t);
  const runner = start(t, await register(fake, 'vm-1'));
  const id = await queue(fake, 'echo begun; sleep 600');
  await fake.happened('job_started', { job: id });
  for (let open = false; !open;) [{ polling: open }] = await fake.ask('GET', '/runners');
  await fake.ask('POST', `/jobs/${id}/cancel`);
  const { code, output } = await runner.ended;
  assert.equal(code, 0);
  assert.match(output, /completed with result: Canceled/);
  assert.equal((await job(fake, id)).conclusion, 'cancelled');
});

const ENDS = [
  ['registration_gone', 'token', { preset: 'registration-gone' }, /registration has been deleted.*\n.*terminated error/],
  ['runner_not_found', 'message', { preset: 'runner-not-found' }, /The runner no longer exists on the server/],
  ['version_too_old', 'message', { preset: 'version-too-old' }, /is deprecated and cannot receive messages/],
  ['job_gone', 'acknowledge', { preset: 'acknowledge-not-found' }, /no longer there/],
];

for (const [what, operation, fields, says] of ENDS) {
  test(`ends_with_0_when_${what}`, async (t) => {
    const fake = await startFake(t);
    await queue(fake, 'true');
    await fault(fake, operation, fields);
    const { code, output } = await start(t, await register(fake, 'vm-1')).ended;
    assert.equal(code, 0, output);
    assert.match(output, says);
    assert.equal(fake.entries.filter((entry) => entry.event === 'job_started').length, 0);
  });
}

test('version_too_old_has_an_exit_code_of_its_own_where_that_is_wanted', async (t) => {
  const fake = await startFake(t);
  await fault(fake, 'message', { preset: 'version-too-old' });
  const environment = { RUNNER_MANUALLY_TRAP_SIG: '1', ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE: '1' };
  assert.equal((await start(t, await register(fake, 'vm-1'), environment).ended).code, 7);
});

test('goes_on_listening_when_its_job_went_to_another', async (t) => {
  const fake = await startFake(t, { pickup_timeout_s: 1 });
  const id = await queue(fake, 'true');
  await fault(fake, 'acquire', { preset: 'job-taken' });
  const { code, output } = await start(t, await register(fake, 'vm-1')).ended;
  assert.equal(code, 0);
  assert.match(output, /Skipping message Job\. job assignment is invalid/);
  assert.equal((await job(fake, id)).conclusion, 'success');
});

test('goes_on_when_the_server_errs', async (t) => {
  const fake = await startFake(t, { pickup_timeout_s: 1 });
  const id = await queue(fake, 'echo hello');
  for (const name of ['token', 'session', 'message', 'acquire', 'renew', 'steps', 'log-url', 'blob', 'complete']) await fault(fake, name, { status: 502 });
  await fault(fake, 'message', { preset: 'unauthorized' });
  await fault(fake, 'complete', { drop: true });
  const { code, output } = await start(t, await register(fake, 'vm-1')).ended;
  assert.equal(code, 0, output);
  const { conclusion, output: printed } = await job(fake, id);
  assert.deepEqual([conclusion, printed], ['success', 'hello\n']);
});

test('opens_another_session_when_its_own_is_invalid', async (t) => {
  const fake = await startFake(t, { offline_after_s: 0.5 });
  await fault(fake, 'message', { preset: 'session-invalid' });
  const runner = start(t, await register(fake, 'vm-1'));
  await fake.happened('runner_offline', { runner: 'vm-1' });
  await fake.ask('POST', '/config', { offline_after_s: 50 });
  await queue(fake, 'true');
  assert.match((await runner.ended).output, /completed with result: Succeeded/);
});

test('refuses_a_bad_configuration', async (t) => {
  for (const blob of ['', 'nonsense', Buffer.from('{}').toString('base64')]) {
    const { output } = await start(t, blob).ended;
    assert.match(output, /cannot be read\.\nRunner listener exit with terminated error/);
  }
});

test('goes_through_the_proxy_that_it_is_given', async (t) => {
  const seen = [];
  const proxy = http.createServer((request, response) => {
    seen.push(request.url);
    const onward = http.request(request.url, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  t.after(() => proxy.close());
  const fake = await startFake(t);
  await queue(fake, 'echo hello');
  const { code, output } = await start(t, await register(fake, 'vm-1'), { http_proxy: `http://127.0.0.1:${proxy.address().port}` }).ended;
  assert.equal(code, 0, output);
  assert.ok(seen.length >= 10 && seen.every((url) => url.startsWith(`${fake.url}/_runner/`)), seen.join('\n'));
});

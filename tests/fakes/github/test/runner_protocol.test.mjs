import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporary } from '../../lib/testing.mjs';
import { TestRunner, startFake } from './support.mjs';

const SCRIPT = fileURLToPath(new URL('../../../../deploy/image/standin/run.sh', import.meta.url));
const hasBusybox = spawnSync('busybox', ['true']).status === 0;
const SYSTEM_PATH = '/usr/local/bin:/usr/bin:/bin';

const queue = async (fake, command) => (await fake.ask('POST', '/jobs', { repo: 'acme/web', labels: ['linux'], command }))[0].id;

/** The environment of a machine that has busybox and nothing else, where there is busybox. */
function shell(folder) {
  if (!hasBusybox) return { program: '/bin/sh', searchPath: SYSTEM_PATH };
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  assert.equal(spawnSync('busybox', ['--install', '-s', bin]).status, 0);
  return { program: path.join(bin, 'sh'), searchPath: bin };
}

/** Runs run.sh with a JIT configuration; resolves with its exit status and output. */
function startRunner(t, blob, environment = {}) {
  const folder = temporary(t);
  const { program, searchPath } = shell(folder);
  fs.copyFileSync(SCRIPT, path.join(folder, 'run.sh'));
  const child = spawn(program, ['./run.sh'], {
    cwd: folder, env: { PATH: searchPath, ACTIONS_RUNNER_INPUT_JITCONFIG: blob, RUNNER_WAIT_SECONDS: '5', ...environment },
  });
  const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output += chunk; });
  return new Promise((resolve) => {
    child.on('close', (status) => {
      clearTimeout(deadline);
      resolve({ status, output });
    });
  });
}

test('session_is_one_at_a_time_and_gone_is_404', async (t) => {
  const fake = await startFake(t, { offline_after_s: 2 });
  const runner = await TestRunner.register(fake, 'r');
  assert.equal((await runner.open()).status, 200);
  assert.equal((await runner.open()).status, 409);
  await fake.happened('runner_offline', { runner: 'r' });
  assert.equal((await runner.open()).status, 200);
  await fake.ask('POST', '/runners/r/vanish');
  assert.equal((await runner.open()).status, 404);
  assert.equal((await runner.poll()).status, 404);
  assert.equal((await fetch(`${fake.url}/_runner/session`, { method: 'POST' })).status, 404);
});

test('session_whose_answer_was_lost_is_told_again_to_the_same_process_alone', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.register(fake, 'r');
  assert.equal((await runner.open({ 'x-runner-process': 'one' })).status, 200);
  const { session } = runner;
  assert.equal((await runner.open({ 'x-runner-process': 'two' })).status, 409);
  assert.equal((await runner.open()).status, 409);
  assert.equal((await runner.open({ 'x-runner-process': 'one' })).status, 200);
  assert.equal(runner.session, session);
});

test('poll_waits_for_a_job_and_is_answered_when_one_comes', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  assert.deepEqual(await runner.poll(0), { status: 204 });
  const polling = runner.poll(30);
  const id = await queue(fake, 'echo "a b"');
  assert.deepEqual(await polling, { status: 200, job: id, command: 'echo "a b"' });
  assert.equal((await runner.poll()).job, id);
  assert.equal(fake.entries.filter((entry) => entry.event === 'job_started').length, 1);
});

test('poll_is_told_at_once_when_the_registration_goes', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  const polling = runner.poll(30);
  for (let polls = false; !polls;) [{ polling: polls }] = await fake.ask('GET', '/runners');
  await fake.ask('POST', '/runners/r/vanish');
  assert.equal((await polling).status, 404);
});

test('poll_of_a_machine_that_died_takes_no_job', async (t) => {
  const fake = await startFake(t, { pickup_timeout_s: 2 });
  const runner = await TestRunner.online(fake, 'r');
  await fake.ask('POST', '/faults', { operation: 'runner-message', delay_ms: 1000, times: 1 });
  const dying = new AbortController();
  const polling = runner.poll(30, dying.signal);
  await fake.happened('fault', { operation: 'runner-message' });
  dying.abort();
  await assert.rejects(polling);
  const id = await queue(fake, 'true');
  await fake.happened('job_requeued', { job: id });
  assert.equal(fake.entries.filter((entry) => entry.event === 'job_started').length, 0);
});

test('finish_repeated_after_a_lost_answer_counts_once', async (t) => {
  const fake = await startFake(t);
  const runner = await TestRunner.online(fake, 'r');
  const id = await queue(fake, 'true');
  await runner.poll();
  await fake.ask('POST', '/faults', { operation: 'runner-finish', drop: true, times: 1 });
  await assert.rejects(runner.finish(id, 0, 'hello'));
  assert.equal(await runner.finish(id, 0, 'hello'), 200);
  assert.equal(await runner.finish(id + 1), 404);
  assert.equal(fake.entries.filter((entry) => entry.event === 'job_finished').length, 1);
  assert.equal((await fake.ask('GET', `/jobs/${id}`)).output, 'hello');
});

test('run_sh_runs_one_job_and_reports_its_output', async (t) => {
  const fake = await startFake(t);
  const { blob } = await TestRunner.register(fake, 'vm-1');
  const ending = startRunner(t, blob);
  await fake.happened('runner_online', { runner: 'vm-1' });
  const id = await queue(fake, "printf 'one\\n\\ttwo \"three\" %%\\n'; echo four >&2; echo $RUNNER_NAME");
  const { status, output } = await ending;
  assert.equal(status, 0, output);
  assert.equal(output, `Listening for Jobs\nRunning job: ${id}\nJob ${id} completed with result: Succeeded\n`);
  const job = await fake.ask('GET', `/jobs/${id}`);
  assert.deepEqual([job.conclusion, job.exit, job.output, job.runner], ['success', 0, 'one\n\ttwo "three" %\nfour\nvm-1\n', 'vm-1']);
});

test('run_sh_reports_failure_and_keeps_the_configuration_from_the_job', async (t) => {
  const fake = await startFake(t);
  const { blob } = await TestRunner.register(fake, 'vm-1');
  const id = await queue(fake, 'env; for p in /proc/[0-9]*; do if [ -r $p/environ ]; then cat $p/environ; fi; done 2>/dev/null | grep -c "INPUT_JITCONFIG=[e]"; exit 7');
  const { status, output } = await startRunner(t, blob);
  assert.equal(status, 0, output);
  assert.match(output, /completed with result: Failed/);
  const job = await fake.ask('GET', `/jobs/${id}`);
  assert.deepEqual([job.conclusion, job.exit], ['failure', 7]);
  assert.doesNotMatch(job.output, /JITCONFIG/);
  assert.match(job.output, /\n0\n$/);
});

test('run_sh_ends_well_when_its_registration_is_gone', async (t) => {
  const fake = await startFake(t);
  const first = await TestRunner.register(fake, 'before');
  await fake.ask('POST', '/runners/before/vanish');
  const second = await TestRunner.register(fake, 'while');
  const ending = startRunner(t, second.blob);
  await fake.happened('runner_online', { runner: 'while' });
  await fake.ask('POST', '/runners/while/vanish');
  for (const { status, output } of [await startRunner(t, first.blob), await ending]) {
    assert.equal(status, 0, output);
    assert.match(output, /The runner no longer exists on the server\./);
  }
});

test('run_sh_refuses_a_bad_configuration', async (t) => {
  for (const blob of ['', 'nonsense', Buffer.from('{}').toString('base64')]) {
    const { status } = await startRunner(t, blob);
    assert.equal(status, 1);
  }
});

test('run_sh_goes_through_the_proxy_it_is_given', async (t) => {
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
  const { blob } = await TestRunner.register(fake, 'vm-1');
  await queue(fake, 'echo hello');
  const { status, output } = await startRunner(t, blob, { http_proxy: `http://127.0.0.1:${proxy.address().port}` });
  assert.equal(status, 0, output);
  assert.deepEqual(seen.map((url) => url.replace(/\?.*/, '')), ['session', 'message', 'finish'].map((name) => `${fake.url}/_runner/${name}`));
});

test('run_sh_tries_again_when_the_server_errs', async (t) => {
  const fake = await startFake(t);
  const { blob } = await TestRunner.register(fake, 'vm-1');
  await queue(fake, 'true');
  await fake.ask('POST', '/faults', ['session', 'message', 'finish'].map((name) => ({ operation: `runner-${name}`, status: 502, times: 1 })));
  const { status, output } = await startRunner(t, blob);
  assert.equal(status, 0, output);
  assert.match(output, /Succeeded/);
});

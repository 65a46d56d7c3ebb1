/*
 * The real agent as a process without root, and the platform's part played as AWS does it: a TLS greeting on the port first,
 * `ready` until it is 200, `validate`, then (a snapshot in between is what we cannot make) `run` with a payload that the
 * product packed. The stand-in runner takes its job from the fake GitHub.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startGitHub } from '../../fakes/lambda-microvms/test/github.mjs';
import { spawn } from '../../lib/child.mjs';

const { MAYFLY_AGENT: AGENT, MAYFLY_PAYLOAD_TOOL: TOOL, MAYFLY_STANDIN: LISTENER } = process.env;
const STANDIN = fileURLToPath(new URL('../../../deploy/image/standin', import.meta.url));
const HOOKS = '/aws/lambda-microvms/runtime/v1';

/** What the worker puts into runHookPayload: packed by the C code. */
function pack(fields) {
  const line = execFileSync(TOOL, { input: `${JSON.stringify({ op: 'pack', ...fields })}\n` }).toString();
  const { packed, error } = JSON.parse(line);
  assert.equal(error, undefined);
  return packed;
}

/** The stand-in runner with what it has in an image: busybox, not what happens to be on this machine. */
function writeRunner(dir) {
  const tools = path.join(dir, 'busybox');
  fs.mkdirSync(tools);
  const installed = spawnSync('busybox', ['--install', '-s', tools]);
  assert.equal(installed.status, 0, `busybox, which deploy/packages image installs: ${installed.error ?? installed.stderr}`);
  fs.copyFileSync(path.join(STANDIN, 'run-helper.sh'), path.join(dir, 'run-helper.sh'));
  fs.copyFileSync(path.join(STANDIN, 'run.sh'), path.join(dir, 'standin.sh'));
  fs.writeFileSync(path.join(dir, 'run.sh'), `#!/bin/sh\nPATH='${tools}' exec sh '${dir}/standin.sh'\n`, { mode: 0o755 });
  fs.copyFileSync(LISTENER, path.join(dir, 'bin', 'listener'));
  fs.writeFileSync(path.join(dir, 'bin', 'Runner.Listener'), `#!/bin/sh
if [ "$1" = warmup ]; then echo "$1" >> "\${0%/*}/../warmed"; fi
exec "\${0%/*}/listener" "$@"
`, { mode: 0o755 });
}

/** The agent with an image of its own: the runner's directory, a listener that can be warmed. */
async function startAgent(t, extra = []) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-image-'));
  fs.mkdirSync(path.join(dir, 'bin'));
  writeRunner(dir);
  const agent = spawn(AGENT, ['--lambda', '--port', '0', '--bind', '127.0.0.1', '--user', '', '--no-unique',
    '--runner', path.join(dir, 'run.sh'), ...extra], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(agent, 'exit');
  t.after(() => {
    agent.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const log = [];
  const output = [];
  const lines = createInterface({ input: agent.stderr });
  createInterface({ input: agent.stdout }).on('line', (line) => output.push(line));
  const waiting = [];
  lines.on('line', (line) => {
    if (!line.startsWith('{')) return;
    log.push(JSON.parse(line));
    for (const look of [...waiting]) look();
  });
  let over = false;
  lines.on('close', () => {
    over = true;
    for (const look of [...waiting]) look();
  });
  const logged = (accepts) => new Promise((resolve, reject) => {
    const look = () => {
      const found = log.find(accepts);
      if (!found && !over) return;
      waiting.splice(waiting.indexOf(look), 1);
      if (found) resolve(found);
      else reject(new Error(`the agent ended before that: ${output.slice(-3).join('; ')} ${log.slice(-3).map(JSON.stringify).join(' ')}`));
    };
    waiting.push(look);
    look();
  });
  const { port } = await logged((entry) => entry.msg === 'hook_server_started');
  const hook = async (name, body = {}) => (await fetch(`http://127.0.0.1:${port}${HOOKS}/${name}`, { method: 'POST', body: JSON.stringify(body) })).status;
  const status = (line) => logged((entry) => entry.msg === 'status' && entry.line.startsWith(line));
  return { agent, dir, port, hook, status, ended, log, output };
}

const run = (payload) => ({ microvmId: 'microvm-0001', runHookPayload: payload });

/** As the platform: at once again while it is 503. */
async function until200(hook, name) {
  for (let status = 0; status !== 200;) {
    status = await hook(name);
    assert.ok(status === 200 || status === 503, `${name}: ${status}`);
    if (status === 503) await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

function greetWithTls(port) {
  return new Promise((resolve, reject) => {
    const hello = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), Buffer.alloc(506, 7)]);
    const socket = net.connect(port, '127.0.0.1', () => socket.write(hello));
    let text = '';
    socket.on('data', (chunk) => { text += chunk; });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

test('image_is_warmed_and_a_machine_runs_its_one_job', async (t) => {
  const hub = await startGitHub(t);
  const job = hub.job('echo done-in-lambda');
  const { hook, port, status, ended, dir, output } = await startAgent(t);
  assert.match(await greetWithTls(port), /^HTTP\/1\.1 400 /);
  // 503 while it warms up, which test_agent_lambda holds; on a slow machine that is over by now.
  assert.ok([503, 200].includes(await hook('ready')));
  await until200(hook, 'ready');
  await until200(hook, 'validate');
  assert.equal(fs.readFileSync(path.join(dir, 'warmed'), 'utf8'), 'warmup\nwarmup\n');
  const payload = pack({ jit_config: await hub.jit('mf-lambda-1'), idle_seconds: 60, max_duration_seconds: 600, runner_name: 'mf-lambda-1' });
  assert.ok(Buffer.byteLength(payload) <= 4096);
  assert.equal(await hook('run', run(payload)), 200);
  await status('LISTENING');
  await status('JOB');
  const [code] = await ended;
  assert.equal(code, 0);
  assert.equal(job.conclusion, 'success');
  assert.equal(job.runner?.name ?? job.runner_name, 'mf-lambda-1');
  assert.ok(output.some((line) => line.endsWith(': Listening for Jobs')));
});

test('platform_repeats_itself_and_one_job_runs', async (t) => {
  const hub = await startGitHub(t);
  const jobs = [hub.job('sleep 0.2'), hub.job('sleep 0.2')];
  const { hook, ended } = await startAgent(t);
  const payload = (name, jit) => pack({ jit_config: jit, idle_seconds: 60, runner_name: name });
  const first = payload('mf-lambda-1', await hub.jit('mf-lambda-1'));
  const other = payload('mf-lambda-2', await hub.jit('mf-lambda-2'));
  const answers = await Promise.all([run(first), run(first), run(first)].map((body) => hook('run', body)));
  assert.deepEqual(answers, [200, 200, 200]);
  assert.equal(await hook('run', run(other)), 409);
  const [code] = await ended;
  assert.equal(code, 0);
  assert.deepEqual(jobs.map((job) => job.conclusion).filter(Boolean), ['success']);
});

test('terminated_machine_stops_its_runner_before_it_answers', async (t) => {
  const hub = await startGitHub(t);
  const job = hub.job('sleep 600');
  const { hook, status, ended, log } = await startAgent(t);
  assert.equal(await hook('run', run(pack({ jit_config: await hub.jit('mf-lambda-1'), runner_name: 'mf-lambda-1' }))), 200);
  await status('JOB');
  assert.equal(await hook('suspend'), 200);
  assert.equal(await hook('resume'), 200);
  assert.equal(job.status, 'in_progress');
  assert.equal(await hook('terminate'), 200);
  await ended;
  assert.ok(log.some((entry) => entry.line?.endsWith(' terminated')));
});

test('payload_without_sense_fails_the_launch', async (t) => {
  const { hook, ended } = await startAgent(t);
  assert.equal(await hook('run', run('bm9uc2Vuc2U=')), 400);
  const [code] = await ended;
  assert.equal(code, 1);
});

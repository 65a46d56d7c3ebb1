/*
 * The policies of deploy/aws/policies, held by the programs themselves: each runs with a key that may do what its role's policy
 * allows and nothing else, through launches, retries, a lost delivery, a stray machine and the online checks. Nothing may be denied,
 * and every action and every resource of a statement must have been needed. What the policies keep the roles from is tried, too.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, temporary } from '../../fakes/lib/testing.mjs';
import { spawn } from '../../lib/child.mjs';
import { until } from '../../lib/wait.mjs';

const require = createRequire(new URL('../../fakes/package.json', import.meta.url));
const dynamodb = require('@aws-sdk/client-dynamodb');
const kms = require('@aws-sdk/client-kms');
const lambda = require('@aws-sdk/client-lambda-microvms');
const sqs = require('@aws-sdk/client-sqs');

const build = process.env.MAYFLY_BUILD ?? 'build/dev';
const fake = (name) => fileURLToPath(new URL(`../../fakes/${name}/main.mjs`, import.meta.url));
const policies = fileURLToPath(new URL('../../../deploy/aws/policies/', import.meta.url));
const REGION = 'us-east-1';
const ACCOUNT = '123456789012';
const SQS_ACCOUNT = '000000000000'; // the emulator's is fixed
const IMAGE = `arn:aws:lambda:${REGION}:${ACCOUNT}:microvm-image:mayfly-arm`;
const ROLES = ['ingress', 'worker', 'reaper'];
const HOLDERS = [...ROLES, 'ctl', 'console']; // of a policy; the last but one is an operator, with mayflyctl; the last serves its page
const keyOf = (role) => `AKID${role.toUpperCase()}`;
const OWNER = 'AKIDOWNER'; // who sets all up; it has no policy

const ARM = (s) => ({ name: 'arm', labels: ['self-hosted', 'arm64'], provider: 'lambda', max_vms: 4, lambda: { endpoint: s.lambda.url, image: IMAGE } });

/** A folder with the policies as an operator would fill them in. */
function filledIn(t) {
  const folder = temporary(t);
  return Object.fromEntries(HOLDERS.map((role) => {
    const file = path.join(folder, `${role}.json`);
    const text = fs.readFileSync(path.join(policies, `${role}.json`), 'utf8');
    const ofSqs = text.replaceAll('arn:aws:sqs:REGION:ACCOUNT:', `arn:aws:sqs:REGION:${SQS_ACCOUNT}:`);
    fs.writeFileSync(file, ofSqs.replaceAll('REGION', REGION).replaceAll('ACCOUNT', ACCOUNT).replaceAll('APP-KEY', 'app-key')
      .replaceAll('DEPLOYMENT', 'mayfly').replaceAll('IMAGE', 'mayfly-arm'));
    return [role, file];
  }));
}

class Scene {
  constructor(t) {
    Object.assign(this, { t, folder: temporary(t), policy: filledIn(t), running: {} });
  }

  file(name, text) {
    fs.writeFileSync(path.join(this.folder, name), text, { mode: 0o600 });
    return path.join(this.folder, name);
  }

  async start() {
    const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', {
      modulusLength: 2048, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    const keys = [OWNER, ...HOLDERS.map(keyOf)].flatMap((id) => ['--key', `${id}:not-a-secret`]);
    const judged = [...keys, ...HOLDERS.flatMap((role) => ['--policy', `${keyOf(role)}=${this.policy[role]}`])];
    const pem = this.file('app.pem', privateKey);
    const secret = 'It is one, of some length';
    [this.github, this.aws, this.lambda, this.sqs, this.dynamodb] = await Promise.all([
      launch(this.t, fake('github'), '--port', '0', '--org', 'acme', '--app-id', '4242', '--app-key', this.file('public.pem', publicKey), '--runner-url', 'http://127.0.0.1:{PORT}'),
      launch(this.t, fake('aws'), '--port', '0', ...judged, '--kms-key', `app-key=${pem}`, '--parameter', `/mayfly/webhook-secret=${secret}`,
        '--quota', 'lambda/L-CD1C0CC4=5', '--quota', 'lambda/L-535CA9B6=1024', '--quota', 'lambda/L-91B95582=10'),
      launch(this.t, fake('lambda-microvms'), '--port', '0', ...judged, '--image', 'mayfly-arm', '--image', 'mayfly-arm-eu'),
      launch(this.t, fake('sqs'), '--port', '0', ...judged),
      launch(this.t, fake('dynamodb'), '--port', '0', ...judged),
    ]);
    this.secret = secret;
    await this.makeStores();
    this.writeConfig();
  }

  client(Client, of, accessKeyId = OWNER) {
    const made = new Client({ endpoint: of.url, region: REGION, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey: 'not-a-secret' } });
    this.t.after(() => made.destroy());
    return made;
  }

  async makeStores() {
    const queues = this.client(sqs.SQSClient, this.sqs);
    for (const lane of ['mayfly-events', 'mayfly-launch_arm', 'mayfly-launch_box', 'mayfly-eu-events', 'mayfly-eu-launch_arm']) {
      for (const name of [lane, `${lane}-dead`]) await queues.send(new sqs.CreateQueueCommand({ QueueName: name, Attributes: { MessageRetentionPeriod: '1209600' } }));
    }
    const table = this.client(dynamodb.DynamoDBClient, this.dynamodb);
    await table.send(new dynamodb.CreateTableCommand({
      TableName: 'mayfly', BillingMode: 'PAY_PER_REQUEST', AttributeDefinitions: ['pk', 'sk', 'ix', 'age'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
      KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
      GlobalSecondaryIndexes: [{ IndexName: 'by_age', KeySchema: [{ AttributeName: 'ix', KeyType: 'HASH' }, { AttributeName: 'age', KeyType: 'RANGE' }], Projection: { ProjectionType: 'KEYS_ONLY' } }],
    }));
    await table.send(new dynamodb.UpdateTimeToLiveCommand({ TableName: 'mayfly', TimeToLiveSpecification: { AttributeName: 'expires', Enabled: true } }));
  }

  writeConfig(classes = [ARM(this)]) {
    const at = (of) => `region=${REGION}&endpoint=${encodeURIComponent(of.url)}`;
    this.config = this.file('mayfly.json', JSON.stringify({
      state_dir: path.join(this.folder, 'vms'), queue: `sqs://mayfly?poll_wait=1s&${at(this.sqs)}`, ledger: `dynamodb://mayfly?${at(this.dynamodb)}`,
      github: { api_url: this.github.url, app: { id: '4242', private_key: `kms:arn:aws:kms:${REGION}:${ACCOUNT}:key/app-key` }, webhook_secrets: ['ssm:/mayfly/webhook-secret'] },
      ingress: { listen: '127.0.0.1:0', admin_listen: '127.0.0.1:0', threads: 1 },
      worker: { admin_listen: '127.0.0.1:0', terminate_grace_period: '0s', drain_timeout: '5s', capacity_poll: '250ms' },
      reaper: { admin_listen: '127.0.0.1:0', interval: '500ms', confirm_after: '400ms', stale_runner_scan_interval: '1s', vm_list_interval: '500ms', startup_timeout: '3s', relaunch_after: '2s', deliveries: { interval: '1s', overlap: '10s' } },
      retry: { max_attempts: 8, base_delay: '50ms', max_delay: '500ms' },
      classes,
    }));
  }

  environment(role) {
    return {
      PATH: process.env.PATH, AWS_ACCESS_KEY_ID: keyOf(role), AWS_SECRET_ACCESS_KEY: 'not-a-secret', AWS_REGION: REGION, AWS_ENDPOINT_URL: this.aws.url, AWS_EC2_METADATA_DISABLED: 'true',
      ...(process.env.ASAN_OPTIONS ? { ASAN_OPTIONS: process.env.ASAN_OPTIONS } : {}),
    };
  }

  /** Findings of the online check. */
  check(role) {
    const { status, stdout, stderr } = spawnSync(path.join(build, role, `mayfly-${role}`), ['--config', this.config, '--check-config', '--online', '--json'], { encoding: 'utf8', env: this.environment(role) });
    assert.equal(stderr, '');
    return { status, findings: stdout.trim().split('\n').map((line) => JSON.parse(line)) };
  }

  async run(role) {
    const child = spawn(path.join(build, role, `mayfly-${role}`), ['--config', this.config], { stdio: ['ignore', 'pipe', 'pipe'], env: this.environment(role) });
    this.t.after(() => child.kill('SIGKILL'));
    const lines = [];
    child.lines = lines;
    for (const stream of [child.stdout, child.stderr]) readline.createInterface({ input: stream }).on('line', (line) => lines.push(line));
    this.running[role] = child;
    const told = (line) => line.includes('"msg":"started"');
    await until(`${role} has started: ${lines.join('\n')}`, () => lines.some(told) || (child.exitCode !== null && assert.fail(lines.join('\n'))), { seconds: 30 });
    if (role !== 'ingress') return;
    const { port } = JSON.parse(lines.find(told));
    await this.github.ask('POST', '/webhook-url', { url: `http://127.0.0.1:${port}/webhook`, secret: this.secret });
  }

  stop(role) {
    const child = this.running[role];
    const ended = new Promise((resolve) => { child.once('exit', resolve); });
    child.kill('SIGTERM');
    return ended;
  }

  jobs(count) {
    return this.github.ask('POST', '/jobs', { repo: 'acme/app', labels: ['self-hosted', 'arm64'], command: 'true', count });
  }

  async completed(count) {
    const state = await this.github.ask('GET', `/wait?jobs_completed=${count}&timeout=60`);
    assert.ok(state.met, Object.values(this.running).map((child) => child.lines.slice(-8).join('\n')).join('\n\n'));
  }

  /** What no service had a use for in a role's policy, and what was denied, over all services. */
  async told() {
    const states = await Promise.all([this.aws, this.lambda, this.sqs, this.dynamodb].map((of) => of.ask('GET', '/policies')));
    const [first, ...others] = states.map((s) => s.unused);
    const unused = Object.fromEntries(HOLDERS.map((role) => [role, first[keyOf(role)].filter((part) => others.every((s) => s[keyOf(role)].includes(part)))]));
    return { unused, denied: states.flatMap((s) => s.denied) };
  }

  queueUrl(name) {
    return `${this.sqs.url}/${SQS_ACCOUNT}/${name}`;
  }
}

/** The statements of the table in aws-reference.md: name, actions, and which roles have it. */
function documentedRows() {
  const text = fs.readFileSync(fileURLToPath(new URL('../../../deploy/docs/aws-reference.md', import.meta.url)), 'utf8');
  return [...text.matchAll(/^\| `(\w+)` \| (.+) \| (.+) \| (yes|) ?\| (yes|) ?\| (yes|) ?\|$/gm)].map(([, name, actions, , ...has]) => ({
    name, actions: actions.split(', ').map((a) => a.replaceAll('`', '')), roles: ROLES.filter((_, i) => has[i] === 'yes'),
  }));
}

test('aws_page_lists_each_statement_of_each_policy', () => {
  const rows = documentedRows();
  for (const role of ROLES) {
    const { Statement: statements } = JSON.parse(fs.readFileSync(path.join(policies, `${role}.json`), 'utf8'));
    const told = rows.filter(({ roles }) => roles.includes(role)).map(({ name, actions }) => [name, actions]);
    assert.deepEqual(told.sort(), statements.map(({ Sid, Action }) => [Sid, Action]).sort(), role);
  }
});

/** What no role reaches: another deployment, and what is another program's. */
async function triesWhatIsRefused(s) {
  const refused = async (role, client, command, what) => {
    const name = await client.send(command).then(() => 'allowed', (error) => error.name);
    assert.match(name, /AccessDenied/, `${role}: ${what}`);
  };
  const { microvmId: microvmIdentifier } = await s.client(lambda.LambdaMicrovmsClient, s.lambda).send(new lambda.RunMicrovmCommand({ imageIdentifier: `${IMAGE}-eu`, clientToken: 'another' }));
  for (const role of ROLES) {
    const [queues, table, vms, keys] = [[sqs.SQSClient, s.sqs], [dynamodb.DynamoDBClient, s.dynamodb], [lambda.LambdaMicrovmsClient, s.lambda], [kms.KMSClient, s.aws]]
      .map(([Client, of]) => s.client(Client, of, keyOf(role)));
    const others = ['mayfly-eu-events', 'mayfly-eu-launch_arm', 'mayfly-eu-events-dead', 'mayfly-eu-launch_arm-dead'];
    for (const name of role === 'ingress' ? [...others, 'mayfly-events-dead', 'mayfly-launch_arm-dead'] : others) {
      const QueueUrl = s.queueUrl(name);
      await refused(role, queues, new sqs.SendMessageCommand({ QueueUrl, MessageBody: 'x' }), `send to ${name}`);
      await refused(role, queues, new sqs.ReceiveMessageCommand({ QueueUrl }), `receive from ${name}`);
      await refused(role, queues, new sqs.GetQueueAttributesCommand({ QueueUrl }), `look at ${name}`);
    }
    await refused(role, table, new dynamodb.QueryCommand({ TableName: 'mayfly-eu', KeyConditionExpression: 'pk = :p', ExpressionAttributeValues: { ':p': { S: 'x' } } }), 'a table');
    await refused(role, vms, new lambda.RunMicrovmCommand({ imageIdentifier: `${IMAGE}-eu` }), 'a VM');
    await refused(role, vms, new lambda.GetMicrovmCommand({ microvmIdentifier }), 'a look at another VM');
    await refused(role, vms, new lambda.TerminateMicrovmCommand({ microvmIdentifier }), 'the end of another VM');
    const shell = `arn:aws:lambda:${REGION}:aws:network-connector:aws-network-connector:SHELL_INGRESS`;
    await refused(role, vms, new lambda.RunMicrovmCommand({ imageIdentifier: IMAGE, ingressNetworkConnectors: [shell] }), 'a VM with a shell');
    for (const [SigningAlgorithm, MessageType] of [['RSASSA_PSS_SHA_256', 'DIGEST'], ['RSASSA_PKCS1_V1_5_SHA_256', 'RAW']]) {
      await refused(role, keys, new kms.SignCommand({ KeyId: 'app-key', Message: Buffer.alloc(32), MessageType, SigningAlgorithm }), `${SigningAlgorithm} ${MessageType}`);
    }
  }
  await refused('ingress', s.client(kms.KMSClient, s.aws, keyOf('ingress')),
    new kms.SignCommand({ KeyId: 'app-key', Message: Buffer.alloc(32), MessageType: 'DIGEST', SigningAlgorithm: 'RSASSA_PKCS1_V1_5_SHA_256' }), 'the App\'s key');
}

test('each_program_needs_what_its_policy_allows_and_no_more', async (t) => {
  const s = new Scene(t);
  await s.start();
  for (const role of ROLES) await s.run(role);

  /* The way of a job; a launch that waits, and one that spends an attempt. */
  await s.lambda.ask('POST', '/faults', [{ operation: 'RunMicrovm', preset: 'throttle', times: 1 },
    { operation: 'RunMicrovm', preset: 'conflict', times: 1 }]);
  await s.jobs(3);
  await s.completed(3);
  await until('the worker ended the machines', async () => (await s.lambda.ask('GET', '/state')).held === 0);

  /* A delivery that nobody took. */
  await s.stop('ingress');
  await s.jobs(1);
  await s.completed(4);

  /* A message that nobody can read. */
  const queues = s.client(sqs.SQSClient, s.sqs);
  const dead = () => queues.send(new sqs.GetQueueAttributesCommand({ QueueUrl: s.queueUrl('mayfly-events-dead'), AttributeNames: ['ApproximateNumberOfMessages'] }));
  await queues.send(new sqs.SendMessageCommand({ QueueUrl: s.queueUrl('mayfly-events'), MessageBody: 'no record' }));
  await until('the worker gave the message up', async () => (await dead()).Attributes.ApproximateNumberOfMessages === '1');

  /* A dead letter whose job is long over, for a reaper that starts. */
  await queues.send(new sqs.SendMessageCommand({
    QueueUrl: s.queueUrl('mayfly-launch_arm-dead'), MessageBody: '{}',
    MessageAttributes: { key: { DataType: 'String', StringValue: '999' }, dead_lettered: { DataType: 'Number', StringValue: '1700000000000' } },
  }));
  await s.stop('reaper');
  await s.run('reaper');
  await until('the reaper deleted it', () => s.running.reaper.lines.some((line) => line.includes('"msg":"dead_letter_deleted"')));

  /* A machine of our image that no row knows. */
  const vms = s.client(lambda.LambdaMicrovmsClient, s.lambda);
  await vms.send(new lambda.RunMicrovmCommand({ imageIdentifier: IMAGE, clientToken: 'stray' }));
  await until('the reaper ended the stray', async () => (await s.lambda.ask('GET', '/state')).held === 0);

  /* A version of the image that is rejected. */
  await s.lambda.ask('POST', '/config', { images: [{ name: 'mayfly-arm', versions: ['1.0', '2.0'].map((version) => ({ version })) }] });
  const ctl = (...args) => spawnSync(path.join(build, 'deploy/ctl/mayflyctl'), ['--config', s.config, '--json', ...args], { encoding: 'utf8', env: s.environment('ctl') });
  await until('the reaper found it', () => JSON.parse(ctl('image', 'list').stdout)[0].canary?.version === '2.0');
  assert.equal(ctl('image', 'reject', 'arm').status, 0);
  const versions = async () => (await vms.send(new lambda.ListMicrovmImageVersionsCommand({ imageIdentifier: IMAGE }))).items;
  await until('the reaper made it INACTIVE', async () => (await versions()).find(({ imageVersion }) => imageVersion === '2.0').status === 'INACTIVE');
  await s.stop('worker');
  await s.stop('reaper');

  for (const role of ROLES) {
    const { status, findings } = s.check(role);
    assert.deepEqual(findings.filter((f) => f.level === 'FAIL'), []);
    assert.equal(status, 0);
    assert.deepEqual(findings.filter((f) => /not authorized/.test(f.answer)), []);
  }

  const { unused, denied } = await s.told();
  assert.deepEqual(denied, []);
  /* A worker puts an event when the ledger does not take a VM's id for a whole lease (worker/launch.c), which does not happen here. */
  unused.worker = unused.worker.filter((part) => part !== `QueuePut: arn:aws:sqs:${REGION}:${SQS_ACCOUNT}:mayfly-events`);
  assert.deepEqual(ROLES.map((role) => unused[role]), [[], [], []]); // the others have tests of their own
  await triesWhatIsRefused(s);
});

/** The operator's table in aws-reference.md. */
test('aws_page_lists_each_statement_of_the_operators_policy', () => {
  const text = fs.readFileSync(fileURLToPath(new URL('../../../deploy/docs/aws-reference.md', import.meta.url)), 'utf8');
  const rows = [...text.matchAll(/^\| `((?:Look|Change|Take|Put)\w+)` \| ([^|]+) \| [^|]+ \|$/gm)].map(([, name, actions]) => [name, actions.split(', ').map((a) => a.replaceAll('`', ''))]);
  const { Statement: statements } = JSON.parse(fs.readFileSync(path.join(policies, 'ctl.json'), 'utf8'));
  assert.deepEqual(rows, statements.map(({ Sid, Action }) => [Sid, Action]));
});

/* On hosts of the operator's own. */
const standIn = (name) => path.resolve(build, 'tests/fakes/qemu', name);
const BOX = {
  name: 'box', labels: ['self-hosted', 'box'], provider: 'qemu', max_vms: 1,
  qemu: { image: standIn('image'), binary: standIn('fake-qemu'), accel: 'tcg', cpus: 1, memory: '64MiB', memory_overcommit: 1000, restore: false, confine: false, boot_timeout: '2s' },
};

/** A worker that runs VMs on its host, and whose launches on Lambda are refused until a circuit is open. */
async function hostAndCircuit(s, done) {
  s.writeConfig([ARM(s), BOX]);
  await s.lambda.ask('POST', '/faults', [{ operation: 'RunMicrovm', preset: 'denied', times: 1000 }]);
  for (const role of ['ingress', 'worker']) await s.run(role);
  await s.jobs(1);
  const first = (command) => until(`${command}: ${s.running.worker.lines.join('\n')}`, () => [done(command)].flat().flatMap((answer) => answer[command] ?? answer)[0]);
  const { subject } = await first('circuits');
  const { host: id } = await first('hosts');
  return { subject, id };
}

/** The data of the stream's first event of that name. */
async function firstEvent(url, name) {
  const abort = new AbortController();
  const { body } = await fetch(url, { signal: abort.signal });
  let text = '';
  for await (const bytes of body) {
    text += Buffer.from(bytes).toString();
    const event = text.split('\n\n').slice(0, -1).find((one) => one.startsWith(`event: ${name}\n`));
    if (event) return JSON.parse(/^data: (.*)$/m.exec(event)[1]);
  }
  return assert.fail(text);
}

/** All that the page reads, of a fleet with a job that waits and dead letters. */
async function readAllOfConsole(s, job) {
  const program = spawn(path.join(build, 'deploy/ctl/mayflyctl'), ['--config', s.config, '--json', 'console', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'], env: s.environment('console') });
  s.t.after(() => program.kill('SIGKILL'));
  const [line] = await once(readline.createInterface({ input: program.stdout }), 'line');
  const { url } = JSON.parse(line);
  for (const what of ['status', 'classes', 'jobs', `why?job=${job}`, 'usual?class=arm', 'vms', 'hosts', 'workers', 'circuits', 'images', 'dlq', 'cost?by=repository']) {
    const response = await fetch(`${url}api/${what}`);
    assert.equal(response.status, 200, `${what}: ${await response.text()}`);
  }
  assert.ok(await firstEvent(`${url}api/stream`, 'snapshot'));
  const ended = once(program, 'exit');
  program.kill('SIGTERM');
  await ended;
}

test('an_operator_and_the_console_need_what_their_policies_allow_and_no_more', async (t) => {
  const s = new Scene(t);
  await s.start();
  for (const role of ROLES) await s.run(role);
  await s.jobs(1);
  await s.completed(1);
  const queues = s.client(sqs.SQSClient, s.sqs);
  const putDead = (lane, key) => queues.send(new sqs.SendMessageCommand({
    QueueUrl: s.queueUrl(`mayfly-${lane}-dead`), MessageBody: '{}', MessageAttributes: { key: { DataType: 'String', StringValue: key }, dead_lettered: { DataType: 'Number', StringValue: String(Date.now()) } },
  }));
  const run = (...args) => {
    const { status, stdout, stderr } = spawnSync(path.join(build, 'deploy/ctl/mayflyctl'), ['--config', s.config, '--json', ...args], { encoding: 'utf8', env: s.environment('ctl') });
    assert.doesNotMatch(stderr, /not authorized/, args.join(' '));
    return { status, stderr, answer: status === 0 ? JSON.parse(stdout) : null };
  };
  const done = (...args) => {
    const { status, stderr, answer } = run(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return answer;
  };
  done('pause', 'arm', '--reason', 'a test');
  await s.jobs(1);
  await until('its job waits', () => done('jobs').jobs.some(({ state }) => state === 'waiting'));
  const { ingress, worker, reaper } = s.running;
  for (const role of ROLES) await s.stop(role);
  assert.deepEqual([ingress, worker, reaper].filter((child) => child.exitCode !== 0), []);

  for (const command of ['status', 'jobs', 'vms', 'hosts', 'workers', 'classes', 'circuits']) done(command);
  const [{ job }] = done('jobs', '--state', 'waiting').jobs;
  assert.match(run('why', String(job)).stderr, /^$/); // its exit code says how the job is
  done('resume', 'arm');
  done('recover', '--since', '1h');
  run('vm', 'terminate', 'mayfly-arm-none');
  run('upgrade', 'finish');

  for (const [lane, key] of [['events', '1'], ['launch_arm', '2'], ['launch_arm', '3']]) await putDead(lane, key);
  const dead = await until('all dead letters are listed', () => { const messages = done('dlq', 'list', 'all'); return messages.length === 3 && messages; });
  await readAllOfConsole(s, job);
  done('dlq', 'show', dead[0].message);
  done('dlq', 'delete', dead[2].message);
  done('dlq', 'redrive', 'all');

  const { subject, id } = await hostAndCircuit(s, done);
  done('host', 'drain', id);
  done('host', 'undrain', id);
  for (const role of ['ingress', 'worker']) await s.stop(role);
  done('circuits', 'close', subject);
  run('host', 'forget', id);

  s.writeConfig([{ ...ARM(s), max_vms: 0 },
    { name: 'other', labels: ['self-hosted', 'other'], provider: 'lambda', max_vms: 1, lambda: { endpoint: s.lambda.url, image: `${IMAGE}-eu` } }]);
  run('class', 'retire', 'arm');

  const { unused, denied } = await s.told();
  /* `why` would ask GitHub, too, where the App's key may be used. */
  const deniedTo = (holder) => denied.filter(({ key, action }) => key === keyOf(holder) && !(holder === 'ctl' && action === 'kms:Sign'));
  assert.deepEqual([deniedTo('ctl'), deniedTo('console')], [[], []]);
  assert.deepEqual([unused.ctl, unused.console], [[], []]);
});

/*
 * Emulators of AWS that others wrote, as programs on the loopback address. A stand-in with --emulator NAME stands before one of them
 * instead of its own engine. What an emulator does against AWS's documentation is made up for here, and nowhere else.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { spawn } from '../../lib/child.mjs';

const BUILD = fileURLToPath(new URL('../../../build', import.meta.url));
const JSON_1_0 = 'application/x-amz-json-1.0';

const ELASTICMQ_SETTINGS = {
  'rest-sqs.bind-hostname': '127.0.0.1', 'rest-sqs.bind-port': 0, 'rest-sqs.sqs-limits': 'strict', 'rest-stats.enabled': false, 'generate-node-address': true,
  'aws.region': 'us-east-1', 'aws.accountId': '000000000000',
};

/* `folder`: in build/. moto's DynamoDB is no second opinion: the stand-in for DynamoDB is made of it. */
export const EMULATORS = {
  ministack: {
    services: ['sqs', 'dynamodb'], folder: 'ministack', command: `${BUILD}/ministack/bin/python`, started: /Running on (http:\/\/127\.0\.0\.1:[1-9]\d*)/,
    args: ['-m', 'hypercorn', 'ministack.app:app', '--workers', '0', '--bind', '127.0.0.1:0', '--keep-alive', '75'],
    env: { BIND_HOST: '127.0.0.1', MINISTACK_HOST: '127.0.0.1', GATEWAY_PORT: '0', SERVICES: 'sqs,dynamodb', IOT_MTLS_ENABLED: '0', SFTP_ENABLED: '0' },
  },
  moto: {
    services: ['sqs'], folder: 'fakes-python', command: `${BUILD}/fakes-python/bin/moto_server`, started: /Running on (http:\/\/127\.0\.0\.1:\d+)/,
    args: ['-H', '127.0.0.1', '-p', '0'],
  },
  elasticmq: {
    services: ['sqs'], folder: 'elasticmq', command: 'java', started: /visible server address (http:\/\/127\.0\.0\.1:\d+)/,
    args: ['-Xmx192m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData', ...Object.entries(ELASTICMQ_SETTINGS).map(([key, value]) => `-D${key}=${value}`),
      '-cp', `${BUILD}/elasticmq/*`, 'org.elasticmq.server.Main'],
  },
};
export const NAMES = Object.keys(EMULATORS);
export const EMULATOR_OPTION = { key: 'emulator', kind: 'text', default: null, values: NAMES, help: `stand before this one: ${NAMES.join(', ')} (emulators/)` };

/** Why it cannot be started, or null. */
export const missing = (name) => (fs.existsSync(path.join(BUILD, EMULATORS[name].folder, 'made-of')) ? null
  : `${name} is not installed (tests/fakes/${name === 'moto' ? 'dynamodb/setup' : `emulators/setup ${name}`})`);

export class Emulator {
  constructor(name, service) {
    Object.assign(this, { name, service, ...EMULATORS[name] });
    if (!this.services.includes(service)) throw new RangeError(`${name} is no emulator of ${service}`);
  }

  /** Resolves when it accepts connections. */
  async start({ region }) {
    const reason = missing(this.name);
    if (reason) throw new Error(reason);
    this.authorization = `AWS4-HMAC-SHA256 Credential=x/20260101/${region}/${this.service}/aws4_request, SignedHeaders=host, Signature=0`;
    this.child = spawn(this.command, this.args, { cwd: os.tmpdir(), env: { ...process.env, ...this.env, PYTHONUNBUFFERED: '1' }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.gone = new Promise((resolve) => { this.child.once('exit', resolve); });
    this.url = await new Promise((resolve, reject) => {
      const said = [];
      this.gone.then((code) => reject(new Error(`${this.name} ended with ${code}: ${said.slice(-20).join('\n')}`)));
      for (const stream of [this.child.stdout, this.child.stderr]) {
        readline.createInterface({ input: stream }).on('line', (line) => {
          if (said.length < 1000) said.push(line);
          const [, url] = this.started.exec(line) ?? [];
          if (url) resolve(url);
        });
      }
    });
  }

  async stop() {
    this.child.kill('SIGKILL');
    await this.gone;
  }

  /** {status, headers, body}, with the body as text. */
  async call(target, body) {
    const response = await fetch(this.url, { method: 'POST', headers: { 'Content-Type': JSON_1_0, 'X-Amz-Target': target, Authorization: this.authorization }, body });
    const queryError = response.headers.get('x-amzn-query-error');
    return { status: response.status, headers: { 'Content-Type': JSON_1_0, ...(queryError && { 'x-amzn-query-error': queryError }) }, body: await response.text() };
  }
}

/** What the stand-in for DynamoDB asks of its engine. */
export class DynamoEmulator extends Emulator {
  constructor(name) { super(name, 'dynamodb'); }

  run(operation, _lagMs, body) { return this.call(`DynamoDB_20120810.${operation}`, body); }
}

/** What the stand-in for SQS asks of its emulator. */
export class SqsEmulator extends Emulator {
  constructor(name) {
    super(name, 'sqs');
    this.handles = new Set();
  }

  async run(operation, body) {
    const answer = await this.call(`AmazonSQS.${operation}`, JSON.stringify(body));
    if (operation === 'ReceiveMessage' && answer.status === 200) for (const m of JSON.parse(answer.body).Messages ?? []) this.handles.add(m.ReceiptHandle);
    return operation.startsWith('DeleteMessage') ? this.deleted(body, answer) : answer;
  }

  /**
   * MiniStack and ElasticMQ refuse to delete with the handle of a message that is deleted, or was received again. SQS's reference of
   * DeleteMessage: "you must provide the most recently received ReceiptHandle for the message (otherwise, the request succeeds, but the
   * message will not be deleted)". A handle that no receive has given stays refused.
   */
  deleted(body, answer) {
    const known = (handle) => this.handles.has(handle);
    if (answer.status !== 200) return known(body.ReceiptHandle) && answer.body.includes('ReceiptHandleIsInvalid') ? this.answer(200, {}) : answer;
    if (!body.Entries) return answer;
    const { Successful = [], Failed = [] } = JSON.parse(answer.body);
    const handleOf = new Map(body.Entries.map(({ Id, ReceiptHandle }) => [Id, ReceiptHandle]));
    const gone = ({ Id, Code }) => Code === 'ReceiptHandleIsInvalid' && known(handleOf.get(Id));
    return this.answer(200, { Successful: [...Successful, ...Failed.filter(gone).map(({ Id }) => ({ Id }))], Failed: Failed.filter((entry) => !gone(entry)) });
  }

  answer(status, value) {
    return { status, headers: { 'Content-Type': JSON_1_0 }, body: JSON.stringify(value) };
  }

  async queues() {
    const asked = async (operation, body) => JSON.parse((await this.run(operation, body)).body);
    const { QueueUrls = [] } = await asked('ListQueues', {});
    return Promise.all(QueueUrls.map(async (url) => {
      const { Attributes: a } = await asked('GetQueueAttributes', { QueueUrl: url, AttributeNames: ['All'] });
      const count = (key) => Number(a[key] ?? 0);
      return { name: url.split('/').at(-1), url, arn: a.QueueArn, ready: count('ApproximateNumberOfMessages'), in_flight: count('ApproximateNumberOfMessagesNotVisible'), delayed: count('ApproximateNumberOfMessagesDelayed') };
    }));
  }
}

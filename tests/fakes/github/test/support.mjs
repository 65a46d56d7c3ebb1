/* What the tests share: a fake in this process, a receiver of webhooks, Octokit with every answer judged. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import { Octokit } from '@octokit/rest';
import { RunnerClient, decodeJitConfig } from '../../lib/runner_client.mjs';
import { GIVE_UP_MS, serve } from '../../lib/testing.mjs';
import { loadValidator } from '../lib/openapi.mjs';
import { options } from '../lib/options.mjs';
import { FakeGitHub } from '../lib/server.mjs';

export const PAT = 'ghp_test';
export const validator = await loadValidator();

/** Starts a fake with the helps of `serve`. */
export function startFake(t, settings = {}) {
  const config = { ...options.defaults(), org: 'acme', repo: ['acme/web'], token: PAT, ...settings };
  return serve(t, new FakeGitHub(config, settings.validate === false ? null : validator));
}

const operationOf = ({ method, url }) => {
  for (const [operationId, operation] of validator.operations) {
    if (operation.method === method && operation.path === url) return operationId;
  }
  throw new Error(`${method} ${url} is no operation of GitHub's`);
};

/** Octokit whose every answer must conform to GitHub's description. */
export function octokit(fake, auth = PAT, settings = {}) {
  const client = new Octokit({ baseUrl: fake.url, auth, log: { debug() {}, info() {}, warn() {}, error() {} }, ...settings });
  client.hook.wrap('request', async (request, parameters) => {
    const plain = parameters.url.startsWith('{') || /^https?:/.test(parameters.url) ? null : operationOf(parameters);
    try {
      const response = await request(parameters);
      if (plain) assert.deepEqual(validator.response(plain, response.status, response.data), [], plain);
      return response;
    } catch (error) {
      if (plain && typeof error.response?.data === 'object' && error.status !== 304) {
        assert.deepEqual(validator.response(plain, error.status, error.response.data), [], plain);
        assert.equal(typeof error.response.data.message, 'string');
      }
      throw error;
    }
  });
  return client;
}

export const rejects = (promise, status, message) => assert.rejects(promise, (error) => {
  assert.equal(error.status, status, error.message);
  if (message) assert.match(error.message, message);
  return true;
});

export const jitBody = (name, labels = ['self-hosted', 'linux'], group = 1) => ({ org: 'acme', name, labels, runner_group_id: group });

/** A runner that speaks the protocol with fetch: registers, opens its session, takes and finishes jobs. */
export class TestRunner {
  constructor(fake, name, id, blob) {
    Object.assign(this, { fake, name, id, blob, jit: decodeJitConfig(blob) });
    this.client = new RunnerClient(blob, async ({ url, method, headers, body, signal }) => {
      const response = await fetch(url, { method, headers, signal, ...(body === '' ? {} : { body }) });
      return { status: response.status, text: await response.text() };
    });
  }

  static async register(fake, name, { labels, group = 1, repo = null } = {}) {
    const client = octokit(fake);
    const body = jitBody(name, labels, group);
    const { data } = repo
      ? await client.actions.generateRunnerJitconfigForRepo({ ...body, owner: repo.split('/')[0], repo: repo.split('/')[1] })
      : await client.actions.generateRunnerJitconfigForOrg({ ...body, org: 'acme' });
    return new TestRunner(fake, name, data.runner.id, data.encoded_jit_config);
  }

  static async online(fake, name, options) {
    const runner = await TestRunner.register(fake, name, options);
    assert.equal((await runner.open()).status, 200);
    return runner;
  }

  /** A session, with a token if there is none yet. */
  async open() {
    const refused = this.client.token ? null : await this.client.fetchToken();
    return refused && refused.status !== 200 ? refused : this.client.open();
  }

  /** One poll, and if it brings a job all that makes it the runner's: {status, kind, job, command}. */
  async poll(seconds = 0, signal = undefined) {
    this.fake.config.poll_wait_s = seconds;
    const answer = await this.client.message('Online', { signal });
    if (answer.type !== 'RunnerJobRequest') return answer;
    assert.equal((await this.client.acknowledge(answer.body)).status, 200);
    const { status } = await this.client.acquire(answer.body);
    return status === 200 ? { status, job: this.client.job.number, command: this.client.job.command } : { status };
  }

  async finish(exit = 0, output = '') {
    if (output !== '' || exit !== 0) await this.client.log(output, exit);
    return (await this.client.complete(exit === 0 ? 'succeeded' : 'failed')).status;
  }
}

/** A server that notes what is posted to it; `respond(delivery)` gives the status, and may be a promise. */
export async function startReceiver(t, respond = () => 202) {
  const received = [];
  const waiting = [];
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      const raw = Buffer.concat(chunks).toString();
      const form = request.headers['content-type'] === 'application/x-www-form-urlencoded';
      const body = JSON.parse(form ? new URLSearchParams(raw).get('payload') : raw);
      const delivery = { headers: request.headers, raw, body, guid: request.headers['x-github-delivery'] };
      received.push(delivery);
      for (const check of [...waiting]) check();
      response.writeHead(await respond(delivery), { 'x-answer': 'yes' }).end('noted');
    });
  });
  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const count = (number) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${received.length} of ${number} deliveries arrived`)), GIVE_UP_MS);
    const check = () => {
      if (received.length < number) return;
      clearTimeout(timer);
      waiting.splice(waiting.indexOf(check), 1);
      resolve(received);
    };
    waiting.push(check);
    check();
  });
  return { url: `http://127.0.0.1:${server.address().port}/webhook`, received, count };
}

let keys = null;

/** An App's key pair, made once for each test process. */
export function appKeys() {
  keys ??= crypto.generateKeyPairSync('rsa', {
    modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return keys;
}

export function jwt(claims, { key = appKeys().privateKey, header = { alg: 'RS256', typ: 'JWT' } } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part(header)}.${part({ iat: now - 60, exp: now + 540, iss: 4242, ...claims })}`;
  return `${signed}.${crypto.sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

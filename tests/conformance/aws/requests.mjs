/*
 * Whether our requests are those of AWS's own clients: both make the same calls of a server that records what comes, and
 * method, path, query, content type and body must be the same, byte for byte where bytes count.
 *
 *   MAYFLY_REQUESTS_DRIVER=… node --test requests.mjs
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from '../../fakes/lib/testing.mjs';
import { spawn } from '../../lib/child.mjs';

const require = createRequire(new URL('../../fakes/package.json', import.meta.url));
const lambda = require('@aws-sdk/client-lambda-microvms');
const quotas = require('@aws-sdk/client-service-quotas');
const sqs = require('@aws-sdk/client-sqs');
const sts = require('@aws-sdk/client-sts');

const DRIVER = process.env.MAYFLY_REQUESTS_DRIVER;
const KEYS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'not-a-secret' };
const IMAGE = 'arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly';
const CONNECTOR = 'arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:';
const MICROVM = 'microvm-7b0b6a9c-8f6e-4b6e-9d3a-0c2f3b1d5e11';
const CURSOR = 'eyJhIjoxfQ+/&=='; // all that a query must encode

const VM = { microvmId: MICROVM, state: 'RUNNING', imageArn: IMAGE, imageVersion: '3.0', startedAt: 1790000000.5 };
const version = { imageArn: IMAGE, imageVersion: '3.0', state: 'SUCCESSFUL', status: 'ACTIVE', createdAt: 1790000000, resources: [{ minimumMemoryInMiB: 2048 }] };
const IDENTITY = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/u</Arn>
  <UserId>U</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`;

/** Every list has two pages. */
function answer({ method, path, query, body, target }) {
  const last = query.some((pair) => pair.startsWith('nextToken='));
  const page = (items) => JSON.stringify(last ? { items } : { items, nextToken: CURSOR });
  if (target) return JSON.stringify({ Quota: { QuotaName: 'Max allocated memory', Value: 1024, Unit: 'Gigabytes', ServiceCode: 'lambda' } });
  if (method === 'POST' && path === '/') return IDENTITY;
  if (path.endsWith('/versions')) return page([version]);
  if (path.includes('/microvm-images/')) return JSON.stringify({ imageArn: IMAGE, name: 'mayfly', state: 'CREATED', createdAt: 1790000000 });
  if (method === 'GET' && path.endsWith('/microvms')) return page([VM]);
  return method === 'DELETE' ? '' : JSON.stringify({ ...VM, ...(body ? { maximumDurationInSeconds: 3600 } : {}) });
}

const sorted = (value) => (value && typeof value === 'object' && !Array.isArray(value)
  ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, sorted(v)])) : value);

function bodyOf(text, type) {
  if (text === '') return null;
  return type?.includes('json') ? sorted(JSON.parse(text)) : [...new URLSearchParams(text)].sort();
}

/** What came since the last `take()`, each as the comparison sees it. With `behind`, what answers stands there. */
async function recorder(t, behind = null) {
  let seen = [];
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      const [path, query = ''] = request.url.split(/\?(.*)/s, 2);
      const text = Buffer.concat(chunks).toString();
      const type = request.headers['content-type'] ?? null;
      const entry = {
        method: request.method, path, query: query.split('&').filter((pair) => pair !== '').sort(), type, target: request.headers['x-amz-target'] ?? null,
        body: bodyOf(text, type), scope: /Credential=[^/]+\/\d+\/([^,]+)/.exec(request.headers.authorization)?.[1],
      };
      seen.push(entry);
      if (behind) {
        const { host, connection, 'content-length': length, ...headers } = request.headers;
        const told = await fetch(behind + request.url, { method: request.method, headers, body: text });
        response.writeHead(told.status, { 'Content-Type': told.headers.get('content-type') ?? '' }).end(await told.text());
        return;
      }
      const told = answer(entry);
      const form = told.startsWith('<') ? 'text/xml' : type ?? 'application/json';
      response.writeHead(200, { 'Content-Type': form, 'x-amzn-RequestId': 'r-1' }).end(told);
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, take: () => seen.splice(0).map((entry) => JSON.stringify(entry)) };
}

/** The driver makes its calls; resolves with what came. */
async function ours(record, what) {
  const env = {
    ...process.env, AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: record.url,
  };
  for (const name of ['AWS_SESSION_TOKEN', 'AWS_PROFILE']) delete env[name];
  const child = spawn(DRIVER, [record.url, what], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => { said += chunk; });
  const code = await new Promise((resolve) => { child.once('close', resolve); });
  assert.equal(code, 0, said);
  return record.take();
}

function client(t, Client, record) {
  const made = new Client({ endpoint: record.url, region: 'us-east-1', credentials: KEYS, maxAttempts: 1 });
  t.after(() => made.destroy());
  return made;
}

async function theirs(record, made, commands) {
  for (const command of commands) await made.send(command);
  return record.take();
}

/** The same requests; how often one is made, and in which order, is each side's own affair. */
function same(a, b) {
  assert.deepEqual([...new Set(a)].sort().map((e) => JSON.parse(e)), [...new Set(b)].sort().map((e) => JSON.parse(e)));
}

const life = (run) => [
  new lambda.RunMicrovmCommand({
    imageIdentifier: IMAGE, clientToken: 'mf-t-arm-1', runHookPayload: 'cGF5bG9hZCB3aXRoIC8gYW5kICs=', maximumDurationInSeconds: 3600, ...run,
  }),
  new lambda.GetMicrovmCommand({ microvmIdentifier: MICROVM }),
  new lambda.ListMicrovmsCommand({ maxResults: 50 }),
  new lambda.ListMicrovmsCommand({ maxResults: 50, nextToken: CURSOR }),
  new lambda.TerminateMicrovmCommand({ microvmIdentifier: MICROVM }),
];

test('life_of_a_plain_vm_is_asked_for_as_by_the_sdk', async (t) => {
  const record = await recorder(t);
  const plain = {
    egressNetworkConnectors: [`${CONNECTOR}INTERNET_EGRESS`], ingressNetworkConnectors: [`${CONNECTOR}NO_INGRESS`], logging: { disabled: {} },
  };
  same(await ours(record, 'plain'), await theirs(record, client(t, lambda.LambdaMicrovmsClient, record), life(plain)));
});

test('life_of_a_vm_with_every_setting_is_asked_for_as_by_the_sdk', async (t) => {
  const record = await recorder(t);
  const full = {
    imageVersion: '3.0', executionRoleArn: 'arn:aws:iam::123456789012:role/vm',
    egressNetworkConnectors: ['arn:aws:lambda:us-east-1:123456789012:network-connector:vpc-1'],
    ingressNetworkConnectors: [`${CONNECTOR}HTTP_INGRESS`, `${CONNECTOR}SHELL_INGRESS`],
    logging: { cloudWatch: { logGroup: '/mayfly/vms', logStream: 'mf-t-arm-1' } },
  };
  same(await ours(record, 'full'), await theirs(record, client(t, lambda.LambdaMicrovmsClient, record), life(full)));
});

test('checks_are_asked_as_by_the_sdks', async (t) => {
  const record = await recorder(t);
  const mine = await ours(record, 'checks');
  const sdk = [
    ...await theirs(record, client(t, sts.STSClient, record), [new sts.GetCallerIdentityCommand({})]),
    ...await theirs(record, client(t, lambda.LambdaMicrovmsClient, record), [
      new lambda.GetMicrovmImageCommand({ imageIdentifier: IMAGE }),
      new lambda.ListMicrovmImageVersionsCommand({ imageIdentifier: IMAGE }),
      new lambda.ListMicrovmImageVersionsCommand({ imageIdentifier: IMAGE, nextToken: CURSOR }),
      new lambda.ListMicrovmsCommand({ imageIdentifier: IMAGE }),
      new lambda.GetMicrovmCommand({ microvmIdentifier: MICROVM }),
    ]),
    ...await theirs(record, client(t, quotas.ServiceQuotasClient, record),
      ['L-CD1C0CC4', 'L-535CA9B6', 'L-91B95582', 'L-74787B8A', 'L-2CCA0501', 'L-CE98C9E3', 'L-C9C2110E'].map((QuotaCode) => new quotas.GetServiceQuotaCommand({ ServiceCode: 'lambda', QuotaCode }))),
  ];
  same(mine, sdk);
});

/* The driver's calls reach a real emulator, so that they are those of a whole life of messages. Each of them is then made
 * once more by the SDK from the members of our body: what it sends must be what we sent. */
test('queue_is_asked_as_by_the_sdk', async (t) => {
  const fake = await launch(t, fileURLToPath(new URL('../../fakes/sqs/main.mjs', import.meta.url)), '--port', '0');
  const record = await recorder(t, fake.url);
  const mine = await ours(record, 'queue');
  const made = client(t, sqs.SQSClient, record);
  const operations = new Set();
  for (const entry of [...new Set(mine)].map((text) => JSON.parse(text))) {
    const operation = entry.target.replace('AmazonSQS.', '');
    operations.add(operation);
    await made.send(new sqs[`${operation}Command`](entry.body)).catch(() => { /* a handle is used up by now: what was sent counts */ });
  }
  same(mine, record.take());
  assert.deepEqual([...operations].sort(), [
    'ChangeMessageVisibility', 'ChangeMessageVisibilityBatch', 'CreateQueue', 'DeleteMessage', 'DeleteMessageBatch', 'GetQueueAttributes', 'GetQueueUrl',
    'ListQueues', 'ReceiveMessage', 'SendMessage', 'SendMessageBatch']);
});

/* `--check-config --online` of the real programs against the stand-ins for GitHub, AWS and Lambda MicroVMs, which judge signatures. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, temporary } from '../../fakes/lib/testing.mjs';

const build = process.env.MAYFLY_BUILD ?? 'build/dev';
const fake = (name) => fileURLToPath(new URL(`../../fakes/${name}/main.mjs`, import.meta.url));
const KEY = 'AKIDEXAMPLE:not-a-secret';
const IMAGE = 'arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly';

async function start(t) {
  const folder = temporary(t);
  const file = (name, text) => {
    fs.writeFileSync(path.join(folder, name), text, { mode: 0o600 });
    return path.join(folder, name);
  };
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', {
    modulusLength: 2048, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const key = file('app.pem', privateKey);
  const [github, aws, lambda] = await Promise.all([
    launch(t, fake('github'), '--port', '0', '--org', 'acme', '--app-id', '4242', '--app-key', file('public.pem', publicKey),
      '--webhook-url', 'http://127.0.0.1:9/webhook', '--webhook-secret', 'It is one'),
    launch(t, fake('aws'), '--port', '0', '--key', KEY, '--quota', 'lambda/L-CD1C0CC4=1024', '--quota', 'lambda/L-535CA9B6=5'),
    launch(t, fake('lambda-microvms'), '--port', '0', '--key', KEY),
  ]);
  const config = (more) => file('mayfly.json', JSON.stringify({
    queue: `sqlite://${folder}/queue.db`, ledger: `sqlite://${folder}/ledger.db`,
    github: { api_url: github.url, app: { id: '4242', private_key: `file:${key}` }, webhook_secrets: ['It is one, of some length'], ...more },
    classes: [{ name: 'arm', labels: ['self-hosted', 'arm64'], provider: 'lambda', lambda: { endpoint: lambda.url, image: IMAGE } }],
  }));
  const check = (program, { secret = 'not-a-secret', args = ['--json'], settings = {} } = {}) => new Promise((resolve) => {
    const env = { PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: secret, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: aws.url };
    execFile(path.join(build, program, `mayfly-${program}`), ['--config', config(settings), '--check-config', '--online', ...args], { env }, (error, stdout, stderr) => {
      assert.equal(stderr, '');
      resolve({ status: error?.code ?? 0, stdout, findings: args.length ? stdout.trim().split('\n').map((line) => JSON.parse(line)) : [] });
    });
  });
  return { folder, check, github, lambda };
}

const by = (findings, level) => findings.filter((f) => f.level === level).map((f) => `${f.subject}: ${f.request}: ${f.result}`);

test('every_program_tells_what_it_can_and_what_is_wrong', async (t) => {
  const { check, lambda } = await start(t);
  const { status, findings } = await check('worker');
  assert.deepEqual(by(findings, 'FAIL'), []);
  assert.equal(status, 0);
  assert.ok(by(findings, 'ok').some((line) => /aws: sts:GetCallerIdentity: calls are made as arn:aws/.test(line)), JSON.stringify(findings));
  assert.ok(by(findings, 'ok').some((line) => /class arm: ListMicrovmImageVersions: launches use version 1\.0 with 2048 MiB/.test(line)));
  assert.ok(by(findings, 'ok').some((line) => /github: webhook's settings: the URL is http:\/\/127\.0\.0\.1:9\/webhook/.test(line)));
  assert.ok(by(findings, 'warn').some((line) => /L-91B95582 could not be read/.test(line)));
  assert.ok(by(findings, 'warn').some((line) => /last deliveries: there is none/.test(line)));
  assert.ok(by(findings, 'ok').some((line) => /runner groups: Default of acme does not admit public repositories$/.test(line)), JSON.stringify(findings));
  assert.equal((await lambda.ask('GET', '/state')).launched, 0);
  assert.equal((await check('reaper')).status, 0);
  const ingress = await check('ingress', { args: [] });
  assert.match(ingress.stdout, /ok {4}queue: ping: sqlite opened/);
  assert.doesNotMatch(ingress.stdout, /github/);
});

test('keys_that_are_refused_and_an_image_without_a_version_fail', async (t) => {
  const { check, github, lambda } = await start(t);
  await lambda.ask('POST', '/config', { images: [{ name: 'mayfly', versions: [{ version: '1.0', status: 'INACTIVE' }] }] });
  await github.ask('POST', '/faults', [{ operation: 'get-app', status: 401 }]);
  const { status, findings } = await check('worker');
  assert.equal(status, 1);
  const failed = by(findings, 'FAIL');
  assert.equal(failed.length, 2, JSON.stringify(failed));
  assert.match(failed[0], /^class arm: ListMicrovmImageVersions: the image has no ACTIVE version/);
  assert.match(failed[1], /^github: GET \/app: reading the App: GitHub answered 401/);
  const wrong = await check('worker', { secret: 'secret-of-nobody' });
  assert.ok(by(wrong.findings, 'FAIL').some((line) => /GetCallerIdentity: (InvalidSignature|SignatureDoesNotMatch)/.test(line)), JSON.stringify(wrong.findings));
  assert.ok(by(wrong.findings, 'FAIL').some((line) => /class arm: ListMicrovms: InvalidSignature/.test(line)));
  assert.ok(!wrong.stdout.includes('secret-of-nobody'));
});

/* As of a GitHub Enterprise Server: HTTPS, with a certificate from a CA that no machine knows. */
async function behindTls(t, url, folder) {
  const file = (name) => path.join(folder, name);
  const certificate = (name, ...more) => execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-keyout', file(`${name}.key`),
    '-out', file(`${name}.pem`), '-subj', `/CN=${name}`, ...more], { stdio: 'pipe' });
  certificate('ca');
  certificate('localhost', '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE');
  const server = https.createServer({ key: fs.readFileSync(file('localhost.key')), cert: fs.readFileSync(file('localhost.pem')) }, (request, response) => {
    request.pipe(http.request(new URL(request.url, url), { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { url: `https://localhost:${server.address().port}`, ca: file('ca.pem') };
}

test('github_whose_certificate_only_its_own_ca_vouches_for_needs_the_setting', async (t) => {
  const { folder, check, github } = await start(t);
  const { url, ca } = await behindTls(t, github.url, folder);
  const { status, findings } = await check('worker', { settings: { api_url: url, ca } });
  assert.deepEqual([status, by(findings, 'FAIL')], [0, []]);
  assert.ok(by(findings, 'ok').some((line) => /^github: webhook's settings/.test(line)), JSON.stringify(findings));
  const without = by((await check('worker', { settings: { api_url: url } })).findings, 'FAIL');
  assert.ok(without.some((line) => /^github: .*certificate/.test(line)), JSON.stringify(without));
});

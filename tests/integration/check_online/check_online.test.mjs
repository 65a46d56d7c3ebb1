/* `--check-config --online` of the real programs against the stand-ins for GitHub, AWS and Lambda MicroVMs, which judge signatures. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { createInterface } from 'node:readline';
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
  const config = ({ top, ...more }) => file('mayfly.json', JSON.stringify({
    ingress: { listen: '127.0.0.1:0', admin_listen: '127.0.0.1:0' }, worker: { admin_listen: '127.0.0.1:0' }, reaper: { admin_listen: '127.0.0.1:0' },
    queue: `sqlite://${folder}/queue.db`, ledger: `sqlite://${folder}/ledger.db`,
    github: { api_url: github.url, app: { id: '4242', private_key: `file:${key}` }, webhook_secrets: ['It is one, of some length'], ...more },
    classes: [{ name: 'arm', labels: ['self-hosted', 'arm64'], provider: 'lambda', lambda: { endpoint: lambda.url, image: IMAGE } }],
    ...top,
  }));
  const check = (program, { secret = 'not-a-secret', args = ['--json'], settings = {} } = {}) => new Promise((resolve) => {
    const env = { PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: secret, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: aws.url };
    execFile(path.join(build, program, `mayfly-${program}`), ['--config', config(settings), '--check-config', '--online', ...args], { env }, (error, stdout, stderr) => {
      assert.equal(stderr, '');
      resolve({ status: error?.code ?? 0, stdout, findings: args.length ? stdout.trim().split('\n').map((line) => JSON.parse(line)) : [] });
    });
  });
  /* The stores are made by the programs, and by no check. Resolves to the ingress, its "started" in `own`. */
  const startIngress = async () => {
    const child = spawn(path.join(build, 'ingress/mayfly-ingress'), ['--config', path.join(folder, 'mayfly.json')], { stdio: ['ignore', 'ignore', 'pipe'] });
    t.after(() => child.kill('SIGKILL'));
    let own;
    for await (const line of createInterface({ input: child.stderr })) if ((own = JSON.parse(line)).msg === 'started') break;
    return { child, own };
  };
  return { folder, check, startIngress, github, lambda };
}

const by = (findings, level) => findings.filter((f) => f.level === level).map((f) => `${f.subject}: ${f.request}: ${f.result}`);

test('every_program_tells_what_it_can_and_what_is_wrong', async (t) => {
  const { check, folder, startIngress, lambda } = await start(t);
  const { status, findings } = await check('worker');
  assert.ok(by(findings, 'warn').some((line) => /^queue: open: there is no queue file .*no daemon has run with it yet$/.test(line)), JSON.stringify(findings));
  assert.ok(by(findings, 'warn').some((line) => /^ledger: open: .*there is no ledger file/.test(line)), JSON.stringify(findings));
  assert.deepEqual(by(findings, 'FAIL'), []);
  assert.equal(status, 0);
  assert.ok(by(findings, 'ok').some((line) => /aws: sts:GetCallerIdentity: calls are made as arn:aws/.test(line)), JSON.stringify(findings));
  assert.ok(by(findings, 'ok').some((line) => /class arm: ListMicrovmImageVersions: the newest is version 1\.0 with 2048 MiB/.test(line)));
  assert.ok(by(findings, 'ok').some((line) => /github: webhook's settings: the URL is http:\/\/127\.0\.0\.1:9\/webhook/.test(line)));
  assert.ok(by(findings, 'warn').some((line) => /L-91B95582 could not be read/.test(line)));
  assert.ok(by(findings, 'warn').some((line) => /last deliveries: there is none/.test(line)));
  assert.ok(by(findings, 'ok').some((line) => /runner groups: Default of acme does not admit public repositories$/.test(line)), JSON.stringify(findings));
  assert.equal((await lambda.ask('GET', '/state')).launched, 0);
  assert.equal((await check('reaper')).status, 0);
  const spec = { baseImageArn: 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1', baseImageVersion: '9', resources: [{ minimumMemoryInMiB: 2048 }] };
  await lambda.ask('POST', '/config', { images: [{ name: 'mayfly', versions: [{ version: '1.0', spec }] }] });
  const recalled = await check('reaper');
  assert.equal(recalled.status, 0);
  assert.ok(by(recalled.findings, 'warn').some((line) => /class arm: ListManagedMicrovmImageVersions: version 1\.0 was built on version 9 of AWS's image, which is RECALLED/.test(line)), recalled.stdout);
  assert.deepEqual(fs.readdirSync(folder).filter((name) => /\.db/.test(name)), [], 'a check makes no store');
  await startIngress();
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

/* A server of the test's own; answer(request, response). */
async function serve(t, answer) {
  const server = http.createServer(answer);
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { url: `http://127.0.0.1:${server.address().port}`, port: server.address().port };
}

test('what_answers_as_github_and_is_not_its_api_is_named_once', async (t) => {
  const { check } = await start(t);
  const page = await serve(t, (request, response) => { response.setHeader('content-type', 'text/html; charset=utf-8'); response.end('<html>Sign in</html>'); });
  const login = await serve(t, (request, response) => { response.writeHead(302, { location: 'https://login.example/sso?token=hidden' }); response.end(); });
  for (const [url, words] of [[page.url, /answers 200 with a web page: this is not GitHub's API$/], [login.url, /redirects \(302\) to https:\/\/login\.example\/sso: this is not GitHub's API, or a login/]]) {
    const { status, findings } = await check('worker', { settings: { api_url: url } });
    const failed = findings.filter((f) => f.level === 'FAIL');
    assert.deepEqual([status, failed.length], [1, 1], JSON.stringify(failed));
    assert.deepEqual([failed[0].subject, failed[0].request], ['github', 'GET /rate_limit']);
    assert.match(failed[0].result, words);
    assert.match(failed[0].hint, /set github\.api_url to https:\/\/api\.github\.com/);
  }
});

test('clock_that_differs_from_githubs_is_told_with_how_much', async (t) => {
  const { check, github } = await start(t);
  const skewed = (seconds) => serve(t, (request, response) => {
    request.pipe(http.request(new URL(request.url, github.url), { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, { ...answer.headers, date: new Date(Date.now() - seconds * 1000).toUTCString() });
      answer.pipe(response);
    }));
  });
  const clock = async (seconds) => (await check('worker', { settings: { api_url: (await skewed(seconds)).url } })).findings.find((f) => f.request === "this host's clock");
  assert.deepEqual(await clock(0).then((f) => [f.level, f.result]), ['ok', "it differs from GitHub's by less than 5 s"]);
  const ahead = await clock(300);
  assert.equal(ahead.level, 'FAIL');
  assert.match(ahead.result, /^it is (299|300|301)\.\d s ahead of GitHub's$/);
  assert.match(ahead.hint, /synchronize/);
  const behind = await clock(-20);
  assert.equal(behind.level, 'warn');
  assert.match(behind.result, /^it is (19|20|21)\.\d s behind GitHub's$/);
});

test('address_in_use_is_told_with_who_has_it', async (t) => {
  const { check, startIngress } = await start(t);
  const { port } = await serve(t, (request, response) => response.end());
  const on = (listen) => ({ top: { ingress: { listen, admin_listen: '127.0.0.1:0' } } });
  const taken = await check('ingress', { settings: on(`127.0.0.1:${port}`) });
  const [finding] = taken.findings.filter((f) => f.level === 'FAIL');
  assert.equal(taken.status, 1);
  assert.deepEqual([finding.subject, finding.request], ['addresses', 'ingress.listen']);
  assert.equal(finding.result, `127.0.0.1:${port} is in use by node (pid ${process.pid})`);
  const foreign = await check('ingress', { settings: on('203.0.113.7:8080') });
  assert.ok(foreign.findings.some((f) => f.level === 'FAIL' && /203\.0\.113\.7:8080: Cannot assign/.test(f.result) && /no interface/.test(f.hint)), JSON.stringify(foreign.findings));
  /* The running program's own is no trouble. */
  await check('ingress');
  const { child: running, own } = await startIngress();
  const mine = await check('ingress', { settings: on(`127.0.0.1:${own.port}`) });
  assert.equal(mine.findings.find((f) => f.request === 'ingress.listen').result, `127.0.0.1:${own.port} is open already, by mayfly-ingress (pid ${running.pid})`);
});

test('sqlite_file_that_is_read_only_fails_with_what_to_do', { skip: process.getuid() !== 0 && 'needs root, to be another user' }, async (t) => {
  const { check, folder, startIngress } = await start(t);
  assert.equal((await check('ingress')).status, 0);
  (await startIngress()).child.kill('SIGKILL');
  fs.chmodSync(folder, 0o755);
  fs.chmodSync(path.join(folder, 'queue.db'), 0o444);
  fs.chmodSync(path.join(folder, 'mayfly.json'), 0o644);
  fs.chmodSync(path.join(folder, 'app.pem'), 0o644);
  const { stdout } = spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', path.resolve(build, 'ingress/mayfly-ingress'), '--config', path.join(folder, 'mayfly.json'), '--check-config', '--online'], { encoding: 'utf8' });
  assert.match(stdout, /FAIL  queue: open: .*queue\.db is read-only for user 65534: give it to the programs' user or group/);
});

test('qemu_class_is_checked_on_this_host', async (t) => {
  const { check, folder } = await start(t);
  const fakes = path.resolve(build, 'tests/fakes/qemu');
  const classes = (...all) => ({ top: { state_dir: path.join(folder, 'vms'), classes: all.map((qemu, i) => ({ name: `c${i}`, labels: ['self-hosted', `c${i}`], provider: 'qemu', qemu: { binary: path.join(fakes, 'fake-qemu'), memory: '64MiB', accel: 'tcg', ...qemu } })) } });
  const good = { image: path.join(fakes, 'image') };
  const { status, findings } = await check('worker', { settings: classes(good, { image: '/nowhere' }, { ...good, binary: '/no/qemu' }, { ...good, accel: 'kvm' }) });
  const of = (subject) => findings.filter((f) => f.subject === subject);
  assert.equal(status, 1);
  assert.match(of('class c0')[0].result, /^image .* VMs below .*\/vms\/mayfly\.c0$/);
  assert.deepEqual(of('class c0').slice(0, 3).map((f) => f.level), ['ok', 'ok', 'ok'], JSON.stringify(of('class c0')));
  assert.equal(of('class c1')[0].level, 'FAIL');
  assert.match(of('class c1')[0].result, /\/nowhere/);
  assert.match(of('class c2')[0].result, /\/no\/qemu/);
  const kvm = of('class c3').find((f) => f.request === '/dev/kvm');
  assert.equal(kvm.level, fs.existsSync('/dev/kvm') ? 'ok' : 'FAIL');
  assert.equal(findings.filter((f) => f.request === 'unshare(CLONE_NEWNET)').length, 1);
});

test('runner_of_an_image_that_github_refuses_soon_or_already_is_told', async (t) => {
  const { check, folder, github } = await start(t);
  const fakes = path.resolve(build, 'tests/fakes/qemu');
  const image = (name, runner_version) => {
    const made = path.join(folder, name);
    fs.cpSync(path.join(fakes, 'image'), made, { recursive: true });
    fs.writeFileSync(path.join(made, 'image.json'), JSON.stringify({ ...JSON.parse(fs.readFileSync(path.join(made, 'image.json'))), runner_version }));
    return made;
  };
  const qemu = (name, runner_version) => ({ name, labels: ['self-hosted', name], provider: 'qemu', qemu: { binary: path.join(fakes, 'fake-qemu'), memory: '64MiB', accel: 'tcg', image: image(name, runner_version) } });
  const settings = { top: { state_dir: path.join(folder, 'vms'), classes: [qemu('unsaid'), qemu('unknown', '2.400.0'), qemu('open', '2.337.0'), qemu('later', '2.336.0'), qemu('soon', '2.335.0'), qemu('jobless', '2.334.0'), qemu('refused', '2.333.0')] } };
  const at = (days) => new Date(Date.now() + days * 86400000).toISOString().replace(/\.\d+Z/, 'Z');
  const found = async () => (await check('worker', { settings })).findings.filter((f) => f.request === "GitHub's runner");
  assert.deepEqual(await found(), [], 'without the page nothing is said');
  const soon = at(9);
  const gone = at(-1);
  await github.ask('POST', '/config', { deprecations: {
    '2.337.0': {}, '2.336.0': { registration_deprecates_at: at(90), runtime_deprecates_at: at(80) }, '2.335.0': { registration_deprecates_at: soon, runtime_deprecates_at: at(20) },
    '2.334.0': { runtime_deprecates_at: gone }, '2.333.0': { registration_deprecates_at: gone, runtime_deprecates_at: at(5) },
  } });
  const told = await found();
  assert.deepEqual(told.map((f) => [f.subject, f.level]), [['class open', 'ok'], ['class later', 'ok'], ['class soon', 'warn'], ['class jobless', 'FAIL'], ['class refused', 'FAIL']]);
  const date = (text) => new RegExp(text.slice(0, 10));
  assert.match(told[0].result, /has no date from which it refuses version 2\.337\.0/);
  assert.match(told[2].result, /^GitHub registers no version 2\.335\.0 from /);
  assert.match(told[2].result, date(soon));
  assert.match(told[3].result, /^GitHub gives no jobs to version 2\.334\.0 since /);
  assert.match(told[4].result, /^GitHub registers no version 2\.333\.0 since /);
  assert.match(told[4].result, date(gone));
  for (const f of told.slice(2)) assert.match(f.hint, /build the image anew with the newest runner/);
  /* A personal token reads it too, in the scope that the configuration names. */
  const token = 'ghp_' + 'b'.repeat(36);
  await github.ask('POST', '/config', { token });
  const pat = await check('worker', { settings: { app: undefined, token, repositories: ['acme/*'], ...settings } });
  assert.equal(pat.findings.filter((f) => f.request === "GitHub's runner").length, 5, JSON.stringify(pat.findings));
});

test('deliveries_that_failed_are_told_with_their_statuses', async (t) => {
  const { check, github } = await start(t);
  const delivery = (id, status_code, status) => ({ id, guid: `00000000-0000-0000-0000-00000000000${id}`, delivered_at: new Date().toISOString(), redelivery: false, duration: 0.1, status, status_code, event: 'workflow_job', action: 'queued' });
  const proxy = await serve(t, (request, response) => {
    if (request.url.startsWith('/app/hook/deliveries')) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify([delivery(4, 401, 'Unauthorized'), delivery(3, 0, 'failed to connect to host'), delivery(2, 401, 'Unauthorized'), delivery(1, 202, 'OK')]));
      return;
    }
    request.pipe(http.request(new URL(request.url, github.url), { method: request.method, headers: request.headers }, (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); }));
  });
  const { findings } = await check('worker', { settings: { api_url: proxy.url } });
  const found = findings.find((f) => f.request === 'last deliveries');
  assert.equal(found.level, 'FAIL', JSON.stringify(found));
  assert.match(found.result, /^3 of the last 4 failed \(75 %\): 2 with 401, 1 without an answer; the newest at /);
  assert.match(found.hint, /401: the secret differs from github\.webhook_secrets/);
});

test('giving_jobs_up_needs_two_permissions_more', async (t) => {
  const { check, github } = await start(t);
  const settings = { top: { reaper: { admin_listen: '127.0.0.1:0', give_up: true } } };
  const permissions = (findings) => findings.filter((f) => /^permission (Actions|Checks)/.test(f.result)).map((f) => `${f.level} ${f.result}`);
  assert.deepEqual(permissions((await check('worker', { settings })).findings),
    ['FAIL permission Actions (repository) is read, needed is write', 'FAIL permission Checks (repository) is none, needed is write']);
  await fetch(`${github.url}/_fake/config`, { method: 'POST', body: JSON.stringify({
    permissions: { actions: 'write', administration: 'write', checks: 'write', metadata: 'read', organization_self_hosted_runners: 'write' } }) });
  assert.deepEqual(permissions((await check('worker', { settings })).findings),
    ['ok permission Actions (repository) is write, needed is write', 'ok permission Checks (repository) is write, needed is write']);
});

test('app_without_a_webhook_is_right_where_jobs_come_from_scale_sets', async (t) => {
  const { check, github } = await start(t);
  const proxy = await serve(t, (request, response) => {
    if (request.url.startsWith('/app/hook/config')) {
      response.setHeader('content-type', 'application/json');
      response.end('{"content_type": "form", "insecure_ssl": "0"}');
      return;
    }
    request.pipe(http.request(new URL(request.url, github.url), { method: request.method, headers: request.headers }, (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); }));
  });
  const found = async (top) => (await check('reaper', { settings: { api_url: proxy.url, top } })).findings.filter((f) => /^(webhook's settings|last deliveries)$/.test(f.request)).map((f) => [f.level, f.result, /sources/.test(f.hint)]);
  const sources = [{ scale_set: 'blue', class: 'arm', organization: 'acme' }];
  assert.deepEqual(await found({}), [['FAIL', 'the webhook has no URL', false], ['FAIL', 'the webhook has no secret, so that every delivery is answered 401', false], ['warn', 'there is none in the last three days', false]]);
  assert.deepEqual(await found({ sources }), [['warn', 'the webhook has no URL', true], ['warn', 'there is none in the last three days', true]]);
});

// deploy/terraform applied to MiniStack, an emulator of AWS that others wrote, with the stand-ins for Lambda MicroVMs and GitHub: all of it but the
// entry by API Gateway and the scaling. Then a second plan, the programs' online checks, jobs
// through what was made, secrets that nothing keeps, and destroy. What was never applied is printed at the end.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { Emulator, missing as missingEmulator } from '../../fakes/emulators/emulators.mjs';
import { launch } from '../../fakes/lib/testing.mjs';
import { Program } from '../lib/deployment.mjs';
import { ROOT, Terraform, missing, options } from './terraform.mjs';

const BUILD = process.env.MAYFLY_BUILD ?? path.join(ROOT, 'build/dev');
const REGION = 'us-east-1';
const ACCOUNT = '000000000000'; // MiniStack's
const PROGRAMS = ['ingress', 'worker', 'reaper'];
const LABELS = ['self-hosted', 'linux', 'arm64', 'microvm'];
const QUOTAS = ['lambda/L-CD1C0CC4=1024', 'lambda/L-535CA9B6=5', 'lambda/L-91B95582=5', 'lambda/L-74787B8A=10', 'lambda/L-2CCA0501=10'];
const fake = (name) => path.join(ROOT, `tests/fakes/${name}/main.mjs`);
const applied = new Set();

const MAIN = `
provider "aws" {
  region                      = "${REGION}"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
}
provider "awscc" {
  region = "${REGION}"
}
variable "app_key" {
  type      = string
  ephemeral = true
}
module "mayfly" {
  source                 = "../deploy/terraform"
  github_app             = { app_id = "4242" }
  github_app_private_key = var.app_key
  github_api_url         = "GITHUB"
  container_image        = "registry.example/mayfly:1"
  artifact               = "ARTIFACT"
  tags                   = { team = "ci" }
  deletion_protection    = false
  wait_for_steady_state  = false
  autoscaling            = { ingress_max = 2 }
  settings = {
    ingress = { listen = "127.0.0.1:0", admin_listen = "127.0.0.1:0" }
    worker  = { admin_listen = "127.0.0.1:0", terminate_grace_period = "0s" }
    reaper  = { admin_listen = "127.0.0.1:0", interval = "2s" }
  }
  MORE
}
output "mayfly" { value = module.mayfly }
`;

class Scene {
  constructor(t) { this.t = t; }

  /** `more`: further inputs of the module; `files`: further files of the root. */
  async start(more, files = {}) {
    const { t } = this;
    this.emulator = new Emulator('ministack', 'sqs');
    this.emulator.env = { ...this.emulator.env, SERVICES: '' };
    t.after(() => this.emulator.stop());
    await this.emulator.start({ region: REGION });
    const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', {
      modulusLength: 2048, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    this.key = privateKey;
    const folder = fs.mkdtempSync(path.join(ROOT, 'build/terraform/apply-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const pem = path.join(folder, 'public.pem');
    const artifact = path.join(folder, 'image.zip');
    fs.writeFileSync(pem, publicKey);
    fs.writeFileSync(artifact, 'PK\x03\x04, for the test');
    [this.github, this.lambda, this.aws] = await Promise.all([
      launch(t, fake('github'), '--port', '0', '--org', 'acme', '--app-id', '4242', '--app-key', pem, '--runner-url', 'http://127.0.0.1:{PORT}'),
      launch(t, fake('lambda-microvms'), '--port', '0', '--account', ACCOUNT),
      launch(t, fake('aws'), '--port', '0', '--key', 'test:test', ...QUOTAS.flatMap((quota) => ['--quota', quota])),
    ]);
    this.environment = {
      AWS_ENDPOINT_URL: this.emulator.url, AWS_ENDPOINT_URL_LAMBDA_MICROVMS: this.lambda.url, AWS_ENDPOINT_URL_SERVICE_QUOTAS: this.aws.url, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: REGION,
    };
    const main = MAIN.replace('GITHUB', this.github.url).replace('ARTIFACT', artifact).replace('MORE', more);
    this.terraform = new Terraform(t, {
      files: { 'main.tf': main, ...files }, env: { ...this.environment, MAYFLY_FAKE_LAMBDA_MICROVMS: this.lambda.url, TF_VAR_app_key: privateKey },
    });
    await this.terraform.init();
  }

  async apply(...args) {
    await this.terraform.apply(...args);
    for (const address of await this.terraform.resources()) applied.add(address.replace(/\[.*?\]/g, '').replace(/^.*?(\w+\.\w+)$/, '$1'));
    this.told = (await this.terraform.outputs()).mayfly;
  }

  /** A second plan: each change must be one of `drifts`, {"TYPE.NAME": "ACTIONS: ATTRIBUTE, …"}. */
  async planAgain(drifts) {
    const found = (await this.terraform.changes()).map(({ address, actions, before, after: planned }) => ({
      at: address.replace(/\[.*?\]/g, '').replace(/^module\.mayfly\./, ''), address, actions: actions.join(),
      attributes: Object.keys({ ...before, ...planned }).filter((key) => planned?.[key] !== undefined && JSON.stringify(before?.[key]) !== JSON.stringify(planned[key])),
    }));
    const lines = [...new Set(found.map(({ at, actions, attributes }) => `${at} ${actions}: ${attributes.sort().join(', ')}`))];
    const known = Object.entries(drifts).map(([at, what]) => `${at} ${what}`);
    assert.deepEqual(lines.filter((line) => !known.includes(line)), [], `changes in the second plan on MiniStack that are not on the list of its drifts`);
    console.log(`a second plan on MiniStack has the drifts ${lines.join('; ') || 'none'}`);
  }

  /** A text must be in no file that Terraform keeps, and in no plan. */
  async mustNotBeKept(what, text) {
    const plan = JSON.stringify(JSON.parse(await this.terraform.run('show', '-json', 'plan')));
    const kept = fs.readdirSync(this.terraform.root).filter((name) => /tfstate|plan/.test(name)).map((name) => fs.readFileSync(path.join(this.terraform.root, name), 'latin1'));
    assert.ok(kept.some((state) => state.includes('webhook-secret')), 'this searches the state');
    for (const place of [plan, ...kept]) assert.ok(!place.includes(text), `${what} is in a plan or state`);
  }

  async call(target, body, service) {
    const authorization = `AWS4-HMAC-SHA256 Credential=test/20260101/${REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`;
    const response = await fetch(this.emulator.url, { method: 'POST', headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': target, authorization }, body: JSON.stringify(body) });
    assert.equal(response.status, 200, `${target}: ${await response.clone().text()}`);
    return response.json();
  }

  async parameter(name) {
    return (await this.call('AmazonSSM.GetParameter', { Name: name, WithDecryption: true }, 'ssm')).Parameter.Value;
  }

  programEnvironment() { return { ...this.environment, PATH: process.env.PATH, MAYFLY_CONFIG: this.told.config, AWS_EC2_METADATA_DISABLED: 'true' }; }

  /** Findings of a program's online check. */
  check(program) {
    return new Promise((resolve) => {
      execFile(path.join(BUILD, program, `mayfly-${program}`), ['--check-config', '--online', '--json'], { env: this.programEnvironment() }, (error, stdout, stderr) => {
        assert.doesNotMatch(stderr, /"level":"(warn|error)"/);
        resolve(stdout.trim().split('\n').map((line) => JSON.parse(line)));
      });
    });
  }

  async run(program) {
    const started = new Program(program, path.join(BUILD, program, `mayfly-${program}`), [], { env: this.programEnvironment() });
    this.t.after(() => started.stop('SIGKILL'));
    const { port } = await started.waitFor('started', { seconds: 60 });
    return { program: started, port };
  }
}

const emulated = () => options({ skip: missing ?? missingEmulator('ministack') ?? false });

const CERTIFICATE = `resource "aws_acm_certificate" "this" {
  domain_name       = "hooks.example.com"
  validation_method = "DNS"
}
`;
const ALB = `entry = "alb"
  alb   = { certificate_arn = aws_acm_certificate.this.arn, domain_name = "hooks.example.com" }`;

/** Faults of MiniStack: what it returns is not what it was given. */
const ALARM = 'update: actions_enabled, alarm_actions, alarm_description, dimensions, ok_actions, period, statistic, treat_missing_data';
const SERVICE = 'update: availability_zone_rebalancing';
const DRIFTS_OF_MINISTACK = {
  'aws_cloudwatch_metric_alarm.fleet': ALARM,
  'aws_cloudwatch_metric_alarm.webhook_5xx': ALARM,
  'aws_ecs_service.ingress': SERVICE,
  'aws_ecs_service.launcher': SERVICE,
  'aws_vpc_security_group_egress_rule.task': 'update: description, tags_all',
};

test('ministack_takes_the_fleet_and_ten_jobs_run_through_it', emulated(), async (t) => {
  const scene = new Scene(t);
  await scene.start(ALB, { 'certificate.tf': CERTIFICATE });
  await scene.apply();
  await scene.planAgain(DRIFTS_OF_MINISTACK);
  const secret = await scene.parameter(scene.told.webhook_secret_param_name);
  assert.match(secret, /^[0-9a-f]{64}$/);
  await scene.mustNotBeKept('the webhook secret', secret);
  const [, keyParameter] = /^ssm:(.+)$/.exec(JSON.parse(scene.told.config).github.app.private_key);
  assert.equal(await scene.parameter(keyParameter), scene.key);
  await scene.mustNotBeKept("the App's key", scene.key.split('\n')[3]);

  const hook = (url) => scene.github.ask('POST', '/webhook-url', { url, secret, type: 'app' });
  await hook(scene.told.webhook_payload_url);
  for (const program of PROGRAMS) {
    const findings = await scene.check(program);
    const failed = findings.filter(({ level }) => level === 'FAIL');
    assert.deepEqual(failed, [], program);
    assert.ok(findings.some(({ level }) => level === 'ok'), program);
  }

  const [ingress, worker, reaper] = [await scene.run('ingress'), await scene.run('worker'), await scene.run('reaper')];
  await hook(`http://127.0.0.1:${ingress.port}/webhook`);
  await scene.github.ask('POST', '/jobs', { repo: 'acme/app', labels: LABELS, command: 'true', count: 10 });
  const { jobs_succeeded: succeeded } = await scene.github.ask('GET', '/wait?jobs_succeeded=10&timeout=120');
  assert.equal(succeeded, 10);
  await scene.lambda.ask('GET', '/wait?alive_max=0&timeout=120');
  for (const { program } of [ingress, worker, reaper]) assert.equal((await program.stop()).code, 0, program.name);

  await scene.terraform.destroy();
  assert.deepEqual(await scene.terraform.resources(), []);
  assert.deepEqual((await scene.call('AmazonSQS.ListQueues', {}, 'sqs')).QueueUrls ?? [], []);
  assert.deepEqual((await scene.call('DynamoDB_20120810.ListTables', {}, 'dynamodb')).TableNames, []);
  assert.deepEqual((await scene.call('AmazonSSM.DescribeParameters', {}, 'ssm')).Parameters, []);
});

test('ministack_takes_the_ledger_on_redis', emulated(), async (t) => {
  const scene = new Scene(t);
  await scene.start(`ledger = "redis"\n  ${ALB}`, { 'certificate.tf': CERTIFICATE });
  await scene.apply();
  await scene.planAgain({
    ...DRIFTS_OF_MINISTACK, 'aws_elasticache_parameter_group.redis': 'update: parameter', 'aws_elasticache_replication_group.redis': 'update: auto_minor_version_upgrade',
  });
  assert.match(JSON.parse(scene.told.config).ledger, /^rediss:\/\/.+:6379\/0\?prefix=mayfly$/);
  await scene.terraform.destroy();
  assert.deepEqual(await scene.terraform.resources(), []);
});

// What nothing here applies: the entry by API Gateway (MiniStack has no VPC links), scaling (no emulator takes it), and what is off by default.
after(() => {
  if (missing || applied.size === 0) return;
  const declared = new Set(fs.readdirSync(path.join(ROOT, 'deploy/terraform')).filter((name) => name.endsWith('.tf'))
    .flatMap((name) => [...fs.readFileSync(path.join(ROOT, 'deploy/terraform', name), 'utf8').matchAll(/^resource "(\w+)" "(\w+)"/gm)].map(([, type, of]) => `${type}.${of}`)));
  console.log(`never applied: ${[...declared].filter((name) => !applied.has(name)).sort().join(', ')}`);
});

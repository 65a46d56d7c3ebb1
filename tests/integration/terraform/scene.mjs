// deploy/terraform applied to an emulator of AWS that others wrote, with the stand-ins for Lambda MicroVMs and GitHub beside it.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Emulator } from '../../fakes/emulators/emulators.mjs';
import { launch } from '../../fakes/lib/testing.mjs';
import { Program } from '../lib/deployment.mjs';
import { Moto } from './moto.mjs';
import { ROOT, Terraform } from './terraform.mjs';

const BUILD = process.env.MAYFLY_BUILD ?? path.join(ROOT, 'build/dev');
const REGION = 'us-east-1';
const ACCOUNTS = { ministack: '000000000000', moto: '123456789012' };
const QUOTAS = ['lambda/L-CD1C0CC4=1024', 'lambda/L-535CA9B6=5', 'lambda/L-91B95582=5', 'lambda/L-74787B8A=10', 'lambda/L-2CCA0501=10'];
/* Lists of what is left after `destroy`: call, service, its body, the member of the response, and the emulator, where only one has it. */
const LISTS = [
  ['AmazonSQS.ListQueues', 'sqs', {}, 'QueueUrls'],
  ['DynamoDB_20120810.ListTables', 'dynamodb', {}, 'TableNames'],
  ['AmazonSSM.DescribeParameters', 'ssm', {}, 'Parameters'],
  ['AmazonEC2ContainerRegistry_V20150921.DescribeRepositories', 'ecr', {}, 'repositories'],
  ['Logs_20140328.DescribeLogGroups', 'logs', {}, 'logGroups'],
  ['Route53AutoNaming_v20170314.ListNamespaces', 'servicediscovery', {}, 'Namespaces'],
  ['AnyScaleFrontendService.DescribeScalableTargets', 'application-autoscaling', { ServiceNamespace: 'ecs' }, 'ScalableTargets', 'moto'],
];
const fake = (name) => path.join(ROOT, `tests/fakes/${name}/main.mjs`);
/** The resources that were applied, as TYPE.NAME. */
export const applied = new Set();

const MAIN = (github, more) => `
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
  github_api_url         = "${github}"
  tags                   = { team = "ci" }
  deletion_protection    = false
  wait_for_steady_state  = false
  ${more}
}
output "mayfly" { value = module.mayfly }
`;

export class Scene {
  constructor(t, emulator) { Object.assign(this, { t, name: emulator }); }

  /** `more(folder)`: further inputs of the module; `files`: further files of the root; `env`: further environment of Terraform. */
  async start(more, { files = {}, env = () => ({}) } = {}) {
    const { t } = this;
    this.emulator = this.name === 'moto' ? new Moto() : new Emulator(this.name, 'sqs');
    this.emulator.env = { ...this.emulator.env, SERVICES: '' }; // of MiniStack: all
    t.after(() => this.emulator.stop());
    await this.emulator.start({ region: REGION });
    const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', {
      modulusLength: 2048, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    this.key = privateKey;
    const folder = fs.mkdtempSync(path.join(ROOT, 'build/terraform/apply-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const pem = path.join(folder, 'public.pem');
    fs.writeFileSync(pem, publicKey);
    [this.github, this.lambda, this.aws] = await Promise.all([
      launch(t, fake('github'), '--port', '0', '--org', 'acme', '--app-id', '4242', '--app-key', pem, '--runner-url', 'http://127.0.0.1:{PORT}'),
      launch(t, fake('lambda-microvms'), '--port', '0', '--account', ACCOUNTS[this.name]),
      launch(t, fake('aws'), '--port', '0', '--key', 'test:test', ...QUOTAS.flatMap((quota) => ['--quota', quota])),
    ]);
    this.environment = {
      AWS_ENDPOINT_URL: this.emulator.url, AWS_ENDPOINT_URL_LAMBDA_MICROVMS: this.lambda.url, AWS_ENDPOINT_URL_SERVICE_QUOTAS: this.aws.url, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: REGION,
    };
    this.terraform = new Terraform(t, {
      files: { 'main.tf': MAIN(this.github.url, more(folder)), ...files },
      env: { ...this.environment, MAYFLY_FAKE_LAMBDA_MICROVMS: this.lambda.url, TF_VAR_app_key: privateKey, ...env(folder) },
    });
    await this.terraform.init();
  }

  /** By a plan that is kept, to be searched for secrets. */
  async apply() {
    const started = Date.now();
    await this.terraform.run('plan', '-input=false', '-no-color', '-out=creating.plan');
    await this.terraform.apply('creating.plan');
    const resources = await this.terraform.resources();
    console.log(`${resources.length} resources on ${this.name}, planned and applied in ${Math.round((Date.now() - started) / 1000)} s`);
    for (const address of resources) applied.add(address.replace(/\[.*?\]/g, '').replace(/^.*?(\w+\.\w+)$/, '$1'));
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
    assert.deepEqual(lines.filter((line) => !known.includes(line)), [], `changes in the second plan on ${this.name} that are not on the list of its drifts`);
    console.log(`a second plan on ${this.name} has the drifts ${lines.join('; ') || 'none'}`);
  }

  /** Secrets must be in nothing that Terraform keeps: neither in the states nor in the plans, as it shows them and as they are packed. */
  async mustNotBeKept(secrets) {
    const { root } = this.terraform;
    const places = {};
    for (const plan of ['creating.plan', 'plan']) {
      places[`${plan} as JSON`] = JSON.stringify(JSON.parse(await this.terraform.run('show', '-json', plan)));
      execFileSync('python3', ['-m', 'zipfile', '-e', plan, `${plan}.unpacked`], { cwd: root });
    }
    for (const name of fs.readdirSync(root, { recursive: true })) {
      const file = path.join(root, name);
      if (/tfstate|unpacked/.test(name) && !/\.terraform\//.test(name) && fs.statSync(file).isFile()) places[name] = fs.readFileSync(file, 'latin1');
    }
    assert.ok(['creating.plan as JSON', 'creating.plan.unpacked/tfplan', 'terraform.tfstate'].every((name) => places[name].includes('webhook-secret')), `what is searched: ${Object.keys(places)}`);
    for (const [what, text] of Object.entries(secrets)) {
      for (const [name, place] of Object.entries(places)) assert.ok(!place.includes(text), `${what} is in ${name}`);
    }
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

  /** After `destroy`. (ECS lists a cluster that is deleted for a while, as inactive.) */
  async mustBeEmpty() {
    const held = {};
    for (const [target, service, body, member] of LISTS.filter(([, , , , of]) => !of || of === this.name)) {
      const items = (await this.call(target, body, service))[member] ?? [];
      if (items.length > 0) held[`${service}: ${member}`] = items;
    }
    assert.deepEqual(held, {});
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

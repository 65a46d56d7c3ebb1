// deploy/terraform applied to emulators of AWS that others wrote. On MiniStack with the entry by a load balancer: the programs' online checks,
// jobs through what was made. On moto as it is by default, with API Gateway and scaling. On both a second plan, secrets that nothing keeps,
// and destroy, which leaves nothing. What was never applied is printed at the end.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { missing as missingEmulator } from '../../fakes/emulators/emulators.mjs';
import { Scene, applied } from './scene.mjs';
import { ROOT, install, missing, options } from './terraform.mjs';

const PROGRAMS = ['ingress', 'worker', 'reaper'];
const LABELS = ['self-hosted', 'linux', 'arm64', 'microvm'];

const emulated = (name) => options({ skip: missing ?? (name === 'moto' ? install('moto') : missingEmulator(name)) ?? false });

const CERTIFICATE = `resource "aws_acm_certificate" "this" {
  domain_name       = "hooks.example.com"
  validation_method = "DNS"
}
`;
/* Programs that run here listen where there is room. */
const given = (folder, more = '') => {
  const artifact = path.join(folder, 'image.zip');
  fs.writeFileSync(artifact, 'PK\x03\x04, for the test');
  return `container_image = "registry.example/mayfly:1"
  artifact        = "${artifact}"
  autoscaling     = { ingress_max = 2 }
  entry           = "alb"
  alb             = { certificate_arn = aws_acm_certificate.this.arn, domain_name = "hooks.example.com" }
  settings = {
    ingress = { listen = "127.0.0.1:0", admin_listen = "127.0.0.1:0" }
    worker  = { admin_listen = "127.0.0.1:0", terminate_grace_period = "0s" }
    reaper  = { admin_listen = "127.0.0.1:0", interval = "2s" }
  }
  ${more}`;
};

/** Faults of MiniStack: what it returns is not what it was given. */
const ALARM = 'update: actions_enabled, alarm_actions, alarm_description, dimensions, ok_actions, period, statistic, treat_missing_data';
const SERVICE = 'update: availability_zone_rebalancing';
const DRIFTS_OF_MINISTACK = {
  'aws_cloudwatch_metric_alarm.fleet': ALARM,
  'aws_cloudwatch_metric_alarm.webhook_5xx': 'update: actions_enabled, alarm_actions, alarm_description, ok_actions, treat_missing_data',
  'aws_ecs_service.fixed': SERVICE,
  'aws_vpc_security_group_egress_rule.task': 'update: description, tags_all',
};

test('ministack_takes_the_fleet_and_ten_jobs_run_through_it', emulated('ministack'), async (t) => {
  const scene = new Scene(t, 'ministack');
  await scene.start(given, { files: { 'certificate.tf': CERTIFICATE } });
  await scene.apply();
  await scene.planAgain(DRIFTS_OF_MINISTACK);
  const secret = await scene.parameter(scene.told.webhook_secret_param_name);
  assert.match(secret, /^[0-9a-f]{64}$/);
  const [, keyParameter] = /^ssm:(.+)$/.exec(JSON.parse(scene.told.config).github.app.private_key);
  assert.equal(await scene.parameter(keyParameter), scene.key);
  await scene.mustNotBeKept({ 'the webhook secret': secret, "the App's key": scene.key.split('\n')[3] });

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
  await scene.mustBeEmpty();
});

test('ministack_takes_the_ledger_on_redis', emulated('ministack'), async (t) => {
  const scene = new Scene(t, 'ministack');
  await scene.start((folder) => given(folder, 'ledger = "redis"'), { files: { 'certificate.tf': CERTIFICATE } });
  await scene.apply();
  await scene.planAgain({
    ...DRIFTS_OF_MINISTACK, 'aws_elasticache_parameter_group.redis': 'update: parameter', 'aws_elasticache_replication_group.redis': 'update: auto_minor_version_upgrade',
  });
  assert.match(JSON.parse(scene.told.config).ledger, /^rediss:\/\/.+:6379\/0\?prefix=mayfly$/);
  await scene.terraform.destroy();
  assert.deepEqual(await scene.terraform.resources(), []);
});

/** Faults of moto. */
const SERVICE_OF_MOTO = 'update: availability_zone_rebalancing, enable_ecs_managed_tags';
const DRIFTS_OF_MOTO = {
  'aws_ecs_service.console': `${SERVICE_OF_MOTO}, enable_execute_command`,
  'aws_ecs_service.fixed': SERVICE_OF_MOTO,
  'aws_ecs_service.scaled': SERVICE_OF_MOTO,
  'aws_vpc_security_group_egress_rule.entry': 'update: description',
  'aws_vpc_security_group_ingress_rule.ingress': 'update: description',
};

/** A folder with programs that write down how they were started, for those that build and upload. */
function tools(folder) {
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  const docker = '[ "$1" != login ] || cat >/dev/null'; // what it reads was written first, so the order is certain
  for (const [name, first, then] of [['docker', docker, ''], ['aws', '', 'case "$*" in "ecr describe-images"*) exit 1;; esac']]) {
    fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${first}\necho "${name} $*" >>'${folder}/started'\n${then}\n`, { mode: 0o755 });
  }
  return bin;
}

test('moto_takes_the_fleet_as_it_is_by_default_and_what_may_be_switched_on', emulated('moto'), async (t) => {
  const scene = new Scene(t, 'moto');
  let started;
  const env = (folder) => {
    started = path.join(folder, 'started');
    return { PATH: `${tools(folder)}:${process.env.PATH}` };
  };
  await scene.start(() => 'autoscaling = { worker_max = 4 }\n  pull_interval = "30s"\n  vm_logs = true\n  console = true\n  alarm_email = "ci@example.com"', { env });
  await scene.apply();
  await scene.planAgain(DRIFTS_OF_MOTO);
  await scene.mustNotBeKept({ "the App's key": scene.key.split('\n')[3], 'the webhook secret': await scene.parameter(scene.told.webhook_secret_param_name) });
  assert.deepEqual(scene.told.service_names, { ingress: 'mayfly-ingress-scaled', reaper: 'mayfly-reaper', worker: 'mayfly-worker-scaled' });
  assert.match(scene.told.console_command, /^task=.* --cluster mayfly --service-name mayfly-console /);
  const image = scene.told.container_image;
  assert.match(image, /^123456789012\.dkr\.ecr\.us-east-1\.amazonaws\.com\/mayfly:[0-9a-f]{16}$/);
  // Both are built and uploaded at the same time.
  const lines = fs.readFileSync(started, 'utf8').trim().split('\n').filter((line) => !line.startsWith('aws s3api head-object'));
  const expected = ['aws ecr describe-images ', 'docker build --no-cache --pull ', 'aws ecr get-login-password ', 'docker login ', `docker push ${image}`];
  assert.deepEqual(lines.map((line, i) => line.slice(0, expected[i]?.length)), expected);
  assert.match(lines[1], new RegExp(` --tag ${image} .*--platform linux/arm64`));
  await scene.terraform.destroy();
  assert.deepEqual(await scene.terraform.resources(), []);
  await scene.mustBeEmpty();
});

// What nothing here applies is off by default.
after(() => {
  if (missing || applied.size === 0) return;
  const declared = new Set(fs.readdirSync(path.join(ROOT, 'deploy/terraform')).filter((name) => name.endsWith('.tf'))
    .flatMap((name) => [...fs.readFileSync(path.join(ROOT, 'deploy/terraform', name), 'utf8').matchAll(/^resource "(\w+)" "(\w+)"/gm)].map(([, type, of]) => `${type}.${of}`)));
  console.log(`never applied: ${[...declared].filter((name) => !applied.has(name)).sort().join(', ')}`);
});

// Terraform for tests: a working copy of deploy/ (and what deploy/container/build reads beside it), whose folder is removed at the end, and the stand-ins of providers that
// tests/fakes/terraform/setup builds. Without Go or Terraform `missing` says why, and tests are skipped.
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const SETUP = path.join(ROOT, 'tests/fakes/terraform/setup');
export const CONFIGURATION = path.join(ROOT, 'build/terraform/rc');
const OUTPUT_LIMIT = 64 << 20;

function setup() {
  const { status, stdout, stderr } = spawnSync(SETUP, { encoding: 'utf8' });
  if (status === 77) return stdout.trim().split('\n').at(-1);
  assert.equal(status, 0, `${stdout}${stderr}`);
  return null;
}

/** Why there is no Terraform, or null. */
export const missing = setup();

/** Why one of PyPI's programs that ./setup installs cannot be had, or null. */
export function install(name) {
  const { status, stdout, stderr } = spawnSync(fileURLToPath(new URL('setup', import.meta.url)), [name], { encoding: 'utf8' });
  assert.ok(status === 0 || status === 77, `${stdout}${stderr}`);
  return status === 77 ? stdout.trim().split('\n').at(-1) : null;
}

/** A test that is skipped, with the reason, where Terraform is missing. */
export const options = (more = {}) => ({ ...(missing && { skip: missing }), timeout: 3_000_000, ...more });

export class Terraform {
  /** `files`: of a root module beside the copy of deploy/; without any the root is `at` in deploy/. `env` is added to the environment. */
  constructor(t, { files = null, at = '.', env = {} } = {}) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-terraform-'));
    t.after(() => fs.rmSync(this.folder, { recursive: true, force: true }));
    for (const name of ['deploy', 'CMakeLists.txt']) fs.cpSync(path.join(ROOT, name), path.join(this.folder, name), { recursive: true });
    this.root = files ? path.join(this.folder, 'root') : path.join(this.folder, 'deploy', at);
    fs.mkdirSync(this.root, { recursive: true });
    for (const [name, text] of Object.entries(files ?? {})) this.write(name, text);
    this.env = { ...process.env, TF_CLI_CONFIG_FILE: CONFIGURATION, CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1', AWS_EC2_METADATA_DISABLED: 'true', ...env };
  }

  write(name, text) { fs.writeFileSync(path.join(this.root, name), text); }

  /** {code, out}: what was printed, on both streams. */
  try(...args) {
    return new Promise((resolve) => {
      const options = { cwd: this.root, env: this.env, maxBuffer: OUTPUT_LIMIT, encoding: 'utf8' };
      execFile('terraform', args, options, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, out: stdout + stderr, stdout }));
    });
  }

  /** Its exit code; `each` is given each line of JSON that it prints. For what prints more than fits into a text: a plan in JSON has the provider's whole schema. */
  async eachLine(each, ...args) {
    const child = spawn('terraform', args, { cwd: this.root, env: this.env, stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve, reject) => { child.on('close', resolve).on('error', reject); });
    for await (const line of readline.createInterface({ input: child.stdout })) if (line) each(JSON.parse(line));
    return ended;
  }

  async run(...args) {
    const { code, out, stdout } = await this.try(...args);
    assert.equal(code, 0, `terraform ${args.join(' ')}: ${out}`);
    return stdout;
  }

  init() { return this.run('init', '-input=false', '-no-color'); }

  apply(...args) { return this.run('apply', '-auto-approve', '-input=false', '-no-color', ...args); }

  destroy(...args) { return this.run('destroy', '-auto-approve', '-input=false', '-no-color', ...args); }

  /** What a plan would change: [{address, actions, before, after}, …]; refreshed, as `terraform plan` does. */
  async changes(...args) {
    await this.run('plan', '-input=false', '-no-color', '-out=plan', ...args);
    const plan = JSON.parse(await this.run('show', '-json', 'plan'));
    return (plan.resource_changes ?? []).map(({ address, type, change }) => ({ address, type, ...change })).filter(({ actions }) => !['no-op', 'read'].includes(actions.join()));
  }

  async outputs() {
    const told = JSON.parse(await this.run('output', '-json'));
    return Object.fromEntries(Object.entries(told).map(([name, { value }]) => [name, value]));
  }

  async resources() {
    return (await this.run('state', 'list')).split('\n').filter((line) => line && !/(^|\.)data\./.test(line));
  }
}

/*
 * The command line. One table gives every option's name, kind, default and help; the same keys are
 * what POST /_fake/config changes later, where an option is marked `live`.
 */

export const OPTIONS = [
  { key: 'port', kind: 'int', default: 0, help: 'port on 127.0.0.1; 0 picks a free one' },
  { key: 'log', kind: 'text', default: null, help: 'append the log (JSON lines) to this file' },
  { key: 'seed', kind: 'int', default: 1, help: 'seed of all chance: faults, jitter' },
  { key: 'region', kind: 'text', default: 'us-east-1', help: 'region in ARNs' },
  { key: 'account', kind: 'text', default: '123456789012', help: 'account in ARNs' },
  { key: 'image', kind: 'list', default: [], help: 'NAME[=MEMORY_MIB] of an image that exists; may repeat (mayfly=2048)' },
  { key: 'run_rate', kind: 'number', default: 5, live: true, help: 'RunMicrovm per second; 0 does not limit' },
  { key: 'run_burst', kind: 'int', default: 5, live: true, help: 'RunMicrovm at once after a quiet time' },
  { key: 'terminate_rate', kind: 'number', default: 10, live: true, help: 'TerminateMicrovm per second' },
  { key: 'terminate_burst', kind: 'int', default: 10, live: true, help: 'TerminateMicrovm at once' },
  { key: 'get_rate', kind: 'number', default: 100, live: true, help: 'GetMicrovm per second' },
  { key: 'get_burst', kind: 'int', default: 100, live: true, help: 'GetMicrovm at once' },
  { key: 'list_rate', kind: 'number', default: 100, live: true, help: 'ListMicrovms and calls about images per second' },
  { key: 'list_burst', kind: 'int', default: 100, live: true, help: 'ListMicrovms and calls about images at once' },
  { key: 'retry_after_s', kind: 'int', default: 1, live: true, help: 'Retry-After of throttled answers; 0 tells none' },
  { key: 'memory_quota_mib', kind: 'int', default: 1048576, live: true, help: 'memory of all VMs at once' },
  { key: 'memory_factor', kind: 'number', default: 4, live: true, help: 'a VM counts at so many times its size' },
  { key: 'payload_limit', kind: 'int', default: 4096, live: true, help: 'bytes of runHookPayload' },
  { key: 'page_size', kind: 'int', default: 50, live: true, help: 'items of a page when maxResults is not given' },
  { key: 'empty_page_every', kind: 'int', default: 0, live: true, help: 'every so many list answers one is an empty page; 0 never' },
  { key: 'read_lag_ms', kind: 'number', default: 0, live: true, help: 'Get and List tell what was so long ago' },
  { key: 'keep_terminated_s', kind: 'number', default: 60, live: true, help: 'an ended VM is told so long' },
  { key: 'error_style', kind: 'text', default: 'header', live: true, help: 'where the name of an error stands: header, body' },
  { key: 'start_ms', kind: 'number', default: 20, live: true, help: 'from RunMicrovm to RUNNING' },
  { key: 'runner_start_ms', kind: 'number', default: 0, live: true, help: 'from RUNNING to the runner\'s session' },
  { key: 'terminate_ms', kind: 'number', default: 20, live: true, help: 'from TerminateMicrovm to TERMINATED' },
  { key: 'job_ms', kind: 'number', default: 0, live: true, help: 'a job takes so long, on top of the sleeps in its command' },
  { key: 'jitter', kind: 'number', default: 0, live: true, help: 'the times above vary by this share of themselves, 0 to 1' },
  { key: 'poll_s', kind: 'number', default: 25, live: true, help: 'a runner\'s long poll' },
  { key: 'image_build_ms', kind: 'number', default: 50, live: true, help: 'from step to step of an image\'s build' },
  { key: 'image_build_failure', kind: 'text', default: null, live: true, help: 'builds of images fail, for this reason' },
  { key: 'self_terminate', kind: 'flag', default: false, live: true, help: 'VMs end themselves after their runner even without an execution role' },
];

const BY_KEY = new Map(OPTIONS.map((option) => [option.key, option]));
const STYLES = ['header', 'body'];

export class OptionError extends Error {}

export function convert(option, value) {
  if (value === null) return null;
  switch (option.kind) {
    case 'int':
    case 'number': {
      const number = typeof value === 'boolean' || value === '' ? NaN : Number(value);
      const whole = option.kind === 'number' || Number.isSafeInteger(number);
      if (!Number.isFinite(number) || number < 0 || !whole) {
        throw new OptionError(`${option.key}: "${value}" is not a ${option.kind === 'int' ? 'whole ' : ''}number >= 0`);
      }
      return number;
    }
    case 'flag':
      return value === true || value === 'true';
    default:
      return String(value);
  }
}

export function defaults() {
  return Object.fromEntries(OPTIONS.map((o) => [o.key, Array.isArray(o.default) ? [...o.default] : o.default]));
}

export function usage() {
  const lines = OPTIONS.map((o) => {
    const name = `--${o.key.replaceAll('_', '-')}${o.kind === 'flag' ? '' : ' VALUE'}`;
    const standard = o.default === null || o.kind === 'flag' || o.kind === 'list' ? '' : ` (${o.default})`;
    return `  ${name.padEnd(32)}${o.help}${standard}`;
  });
  return ['usage: node main.mjs [options]', ...lines].join('\n');
}

function check(config) {
  if (!STYLES.includes(config.error_style)) throw new OptionError('error_style is header or body');
  return config;
}

export function parseArguments(argv) {
  const config = defaults();
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = argv[i].split(/=(.*)/s, 2);
    const option = flag.startsWith('--') ? BY_KEY.get(flag.slice(2).replaceAll('-', '_')) : undefined;
    if (!option) throw new OptionError(`unknown option ${argv[i]}`);
    if (option.kind === 'flag') {
      config[option.key] = true;
      continue;
    }
    const value = inline !== undefined ? inline : argv[++i];
    if (value === undefined) throw new OptionError(`${flag} needs a value`);
    if (option.kind === 'list') config[option.key].push(value);
    else config[option.key] = convert(option, value);
  }
  return check(config);
}

/** Applies what POST /_fake/config may change while the fake runs. */
export function reconfigure(config, changes) {
  const applied = {};
  for (const [key, value] of Object.entries(changes)) {
    const option = BY_KEY.get(key);
    if (!option || !option.live) throw new OptionError(`${key} cannot be changed while running`);
    applied[key] = convert(option, value);
  }
  check({ ...config, ...applied });
  return Object.assign(config, applied);
}

/*
 * The command line. One table gives every option's name, kind, default and help; the same keys are
 * what POST /_fake/config changes later, where an option is marked `live`.
 */

export const OPTIONS = [
  { key: 'port', kind: 'int', default: 0, help: 'port on 127.0.0.1; 0 picks a free one' },
  { key: 'log', kind: 'text', default: null, help: 'append the log (JSON lines) to this file' },
  { key: 'webhook_url', kind: 'text', default: null, help: 'where webhooks go; none are sent without' },
  { key: 'webhook_secret', kind: 'text', default: null, help: 'signs webhooks; unsigned without' },
  { key: 'webhook_secret_is', kind: 'text', default: 'json', help: 'body of webhooks: form or json' },
  { key: 'webhook_type', kind: 'text', default: null, help: 'app, organization or repository hook; app if an App is given' },
  { key: 'webhook_timeout_ms', kind: 'int', default: 10000, live: true, help: 'GitHub gives up after 10 s' },
  { key: 'webhook_connections', kind: 'int', default: 64, help: 'webhooks in flight at once' },
  { key: 'runner_url', kind: 'text', default: null, live: true, help: 'base URL that runners are told; {PORT} is replaced' },
  { key: 'token', kind: 'text', default: null, live: true, help: 'the personal access token that is accepted' },
  { key: 'app_id', kind: 'int', default: null, help: 'id of the GitHub App' },
  { key: 'app_key', kind: 'text', default: null, help: 'PEM file with the App\'s public or private key' },
  { key: 'client_id', kind: 'text', default: 'Iv23liFakeGitHubApp0', help: 'client id of the App, also accepted as iss' },
  { key: 'org', kind: 'text', default: 'octo-org', help: 'the organisation that exists from the start' },
  { key: 'repo', kind: 'list', default: [], help: 'owner/name of a repository that exists from the start; may repeat' },
  { key: 'rate_limit', kind: 'int', default: 5000, live: true, help: 'requests per window and credential' },
  { key: 'rate_window_s', kind: 'number', default: 3600, live: true, help: 'length of the rate limit\'s window' },
  { key: 'rate_status', kind: 'int', default: 403, live: true, help: 'status of a rate-limited answer: 403 or 429' },
  { key: 'secondary_points', kind: 'int', default: 0, live: true, help: 'points per minute and operation (GitHub: 900); 0 is off' },
  { key: 'secondary_concurrent', kind: 'int', default: 0, live: true, help: 'requests in flight at once (GitHub: 100); 0 is off' },
  { key: 'registrations_per_5min', kind: 'int', default: 0, live: true, help: 'registrations per owner (GitHub: 1500); 0 is off' },
  { key: 'token_lifetime_s', kind: 'number', default: 3600, live: true, help: 'life of an installation token' },
  { key: 'pickup_timeout_s', kind: 'number', default: 60, live: true, help: 'an assigned job not picked up is queued again' },
  { key: 'offline_after_s', kind: 'number', default: 50, live: true, help: 'a runner that stops polling is offline after this' },
  { key: 'jit_idle_s', kind: 'number', default: 600, live: true, help: 'a registration never used is removed after this; 0 never' },
  { key: 'job_timeout_s', kind: 'number', default: 0, live: true, help: 'a running job fails after this; 0 never' },
  { key: 'max_wait_s', kind: 'number', default: 50, live: true, help: 'longest long poll of a runner' },
  { key: 'validate', kind: 'flag', default: false, help: 'check every REST request against GitHub\'s OpenAPI description' },
];

const BY_KEY = new Map(OPTIONS.map((option) => [option.key, option]));

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
  if (!['json', 'form'].includes(config.webhook_secret_is)) throw new OptionError('--webhook-secret-is is form or json');
  return config;
}

/** Applies what POST /_fake/config may change while the fake runs. */
export function reconfigure(config, changes) {
  const applied = {};
  for (const [key, value] of Object.entries(changes)) {
    const option = BY_KEY.get(key);
    if (!option || !option.live) throw new OptionError(`${key} cannot be changed while running`);
    applied[key] = convert(option, value);
  }
  return Object.assign(config, applied);
}

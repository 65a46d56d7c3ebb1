/*
 * A stand-in's command line. One table gives every option's name, kind (int, number, text, list, flag), default
 * and help; the same keys are what POST /_fake/config changes later, where an option is marked `live`.
 */

export class OptionError extends Error {}

/** The two options that every stand-in has. */
export const COMMON = [
  { key: 'port', kind: 'int', default: 0, help: 'port on 127.0.0.1; 0 picks a free one' },
  { key: 'log', kind: 'text', default: null, help: 'append the log (JSON lines) to this file' },
];

function convert(option, value) {
  if (value === null) return null;
  switch (option.kind) {
    case 'int':
    case 'number': {
      const number = typeof value === 'boolean' || value === '' ? NaN : Number(value);
      const whole = option.kind === 'number' || Number.isSafeInteger(number);
      const least = option.least ?? 0;
      if (!Number.isFinite(number) || number < least || !whole) {
        throw new OptionError(`${option.key}: "${value}" is not a ${option.kind === 'int' ? 'whole ' : ''}number >= ${least}`);
      }
      return number;
    }
    case 'flag':
      return value === true || value === 'true';
    case 'list':
      if (!Array.isArray(value)) throw new OptionError(`${option.key} is a list`);
      return value.map(String);
    default: {
      const text = String(value);
      if (option.values && !option.values.includes(text)) throw new OptionError(`${option.key} is ${option.values.join(' or ')}`);
      return text;
    }
  }
}

export class Options {
  /** `rows` follow the common ones; `values` limits a text, `least` a number. */
  constructor(rows) {
    this.rows = [...COMMON, ...rows];
    this.byKey = new Map(this.rows.map((option) => [option.key, option]));
  }

  defaults() {
    return Object.fromEntries(this.rows.map((o) => [o.key, Array.isArray(o.default) ? [...o.default] : o.default]));
  }

  usage() {
    const lines = this.rows.map((o) => {
      const name = `--${o.key.replaceAll('_', '-')}${o.kind === 'flag' ? '' : ' VALUE'}`;
      const standard = o.default === null || o.kind === 'flag' || o.kind === 'list' ? '' : ` (${o.default})`;
      return `  ${name.padEnd(32)}${o.help}${standard}`;
    });
    return ['usage: node main.mjs [options]', ...lines].join('\n');
  }

  parse(argv) {
    const config = this.defaults();
    for (let i = 0; i < argv.length; i++) {
      const [flag, inline] = argv[i].split(/=(.*)/s, 2);
      const option = flag.startsWith('--') ? this.byKey.get(flag.slice(2).replaceAll('-', '_')) : undefined;
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
    return config;
  }

  /** Applies what POST /_fake/config may change while the stand-in runs: all of it, or nothing. */
  reconfigure(config, changes) {
    const applied = {};
    for (const [key, value] of Object.entries(changes)) {
      const option = this.byKey.get(key);
      if (!option || !option.live) throw new OptionError(`${key} cannot be changed while running`);
      applied[key] = convert(option, value);
    }
    return Object.assign(config, applied);
  }
}

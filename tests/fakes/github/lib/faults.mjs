/*
 * Faults that a test asks for. Of an operation's faults the first one that still has times left applies:
 *
 *   {operation, status, headers, body, times, delay_ms, drop, work, preset, probability}     requests
 *   {webhook: drop|duplicate|delay|reorder, action, job, times, delay_ms, recorded, probability}   deliveries
 *
 * Chance comes from a seeded generator, so that a run can be repeated.
 */

const RATE_DOCS = 'https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api';

export const PRESETS = {
  'primary-rate-limit': (config) => ({
    status: config.rate_status,
    headers: {
      'x-ratelimit-limit': String(config.rate_limit), 'x-ratelimit-remaining': '0',
      'x-ratelimit-used': String(config.rate_limit), 'x-ratelimit-reset': String(Math.floor(Date.now() / 1000) + 2),
    },
    body: { message: 'API rate limit exceeded for installation.', documentation_url: RATE_DOCS },
  }),
  'secondary-rate-limit': () => ({
    status: 403,
    headers: { 'retry-after': '1' },
    body: {
      message: 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
      documentation_url: `${RATE_DOCS}#about-secondary-rate-limits`,
    },
  }),
  'bad-gateway': () => ({ status: 502, body: '<html><body>502 Bad Gateway</body></html>' }),
};

const WEBHOOK_FAULTS = new Set(['drop', 'duplicate', 'delay', 'reorder']);

export class Faults {
  constructor(config, log, seed = 1) {
    Object.assign(this, { config, log, list: [], state: seed >>> 0 });
  }

  /** mulberry32: small, and the same everywhere. */
  random() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  add(faults) {
    const checked = faults.map((fault) => {
      if (!fault.operation && !WEBHOOK_FAULTS.has(fault.webhook)) throw new RangeError('a fault names an operation or a webhook fault');
      if (fault.preset && !PRESETS[fault.preset]) throw new RangeError(`unknown preset ${fault.preset}`);
      return { ...fault, left: fault.times ?? Infinity };
    });
    this.list.push(...checked);
  }

  clear() {
    this.list = [];
  }

  take(applies) {
    const fault = this.list.find((candidate) => candidate.left > 0 && applies(candidate)
      && (candidate.probability === undefined || this.random() < candidate.probability));
    if (!fault) return null;
    fault.left -= 1;
    this.list = this.list.filter((candidate) => candidate.left > 0);
    return fault;
  }

  request(route) {
    if (this.list.length === 0) return null;
    const fault = this.take(({ operation }) => operation
      && (operation === '*' ? !route.operation.startsWith('runner-') : operation === route.operation || operation === route.operationId));
    if (!fault) return null;
    return fault.preset ? { ...PRESETS[fault.preset](this.config), ...fault } : fault;
  }

  webhook(source) {
    if (this.list.length === 0) return null;
    return this.take((fault) => fault.webhook && source.event === 'workflow_job'
      && (fault.action === undefined || fault.action === source.action)
      && (fault.job === undefined || fault.job === source.job.id));
  }
}

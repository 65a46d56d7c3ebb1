/*
 * The kinds of faults (../../lib/fault_list.mjs says which one happens):
 *
 *   {operation, status, headers, body, times, delay_ms, drop, work, preset, probability}     requests
 *   {webhook: drop|duplicate|delay|reorder, action, job, times, delay_ms, recorded, probability}   deliveries
 */
import { FaultList } from '../../lib/fault_list.mjs';

const RATE_DOCS = 'https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api';

export const PRESETS = {
  'primary-rate-limit': (config) => ({
    status: config.rate_status,
    headers: {
      'x-ratelimit-limit': String(config.rate_limit), 'x-ratelimit-remaining': '0',
      'x-ratelimit-used': String(config.rate_limit), 'x-ratelimit-reset': String(Math.floor(Date.now() / 1000) + 5),
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

export class Faults extends FaultList {
  constructor(config, random) {
    super((fault) => {
      if (!fault.operation && !WEBHOOK_FAULTS.has(fault.webhook)) throw new RangeError('a fault names an operation or a webhook fault');
      if (fault.preset && !PRESETS[fault.preset]) throw new RangeError(`unknown preset ${fault.preset}`);
    }, random);
    this.config = config;
  }

  request(route) {
    const fault = this.take(({ operation }) => operation
      && (operation === '*' ? !route.operation.startsWith('runner-') : operation === route.operation || operation === route.operationId));
    if (!fault) return null;
    return fault.preset ? { ...PRESETS[fault.preset](this.config), ...fault } : fault;
  }

  webhook(source) {
    return this.take((fault) => fault.webhook && source.event === 'workflow_job'
      && (fault.action === undefined || fault.action === source.action)
      && (fault.job === undefined || fault.job === source.job.id));
  }
}

/*
 * The kinds of faults (../../lib/fault_list.mjs says which one happens):
 *
 *   {operation, owner, repository, status, headers, body, times, delay_ms, drop, hang, work, preset, probability}     requests
 *   {webhook: drop|duplicate|delay|reorder, action, job, times, delay_ms, recorded, probability}   deliveries
 */
import { FaultList } from '../../lib/fault_list.mjs';

const RATE_DOCS = 'https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api';

const HTML = { 'Content-Type': 'text/html; charset=utf-8' };
const refusal = (status, message) => ({ status, body: { message, documentation_url: 'https://docs.github.com/rest', status: String(status) } });

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
  'bad-gateway': () => ({ status: 502, headers: HTML, body: '<html><body>502 Bad Gateway</body></html>' }),
  unavailable: () => ({ status: 503, headers: HTML, body: '<html><head><title>Unicorn! &middot; GitHub</title></head><body>We had issues.</body></html>' }),
  'bad-credentials': () => refusal(401, 'Bad credentials'),
  /* Self-hosted runners are switched off for a repository: GitHub says no more than the status. */
  'runners-disabled': () => refusal(403, ''),
  suspended: () => refusal(403, 'This installation has been suspended'),
  'no-permission': () => refusal(403, 'Resource not accessible by integration'),
  hidden: () => refusal(404, 'Not Found'),
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

  /** `about` is whom the request is about: {owner, repository}, each a name or null. */
  request(route, about = {}) {
    const isOf = (wanted, name) => wanted === undefined || wanted.toLowerCase() === name?.toLowerCase();
    const named = (operation) => (operation === '*' ? !route.operation.startsWith('runner-') : operation === route.operation || operation === route.operationId);
    const fault = this.take(({ operation, owner, repository }) => operation && [operation].flat().some(named)
      && isOf(owner, about.owner) && isOf(repository, about.repository));
    if (!fault) return null;
    return fault.preset ? { ...PRESETS[fault.preset](this.config), ...fault } : fault;
  }

  webhook(source) {
    return this.take((fault) => fault.webhook && source.event === 'workflow_job'
      && (fault.action === undefined || fault.action === source.action)
      && (fault.job === undefined || fault.job === source.job.id));
  }
}

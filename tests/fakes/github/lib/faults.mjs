/*
 * The kinds of faults (../../lib/fault_list.mjs says which one happens):
 *
 *   {operation, owner, repository, runner, status, headers, body, times, delay_ms, drop, hang, work, preset, probability}     requests
 *   {webhook: drop|duplicate|delay|reorder, action, job, times, delay_ms, recorded, probability}   deliveries
 */
import { FaultList } from '../../lib/fault_list.mjs';
import { brokerError, runError } from './runner/errors.mjs';

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
  /* Of the runner's side. */
  'registration-gone': () => ({ status: 400, body: { error: 'invalid_client', error_description: 'Registration 00000000-0000-0000-0000-000000000000 was not found.' } }),
  'clock-off': () => ({ status: 400, body: { error: 'invalid_client', error_description: `The assertion is not valid at this time. Current server time is ${new Date().toISOString()}.` } }),
  'runner-not-found': () => brokerError(404, 'RunnerNotFound', 'The runner could not be found.'),
  'session-conflict': () => brokerError(409, 'RunnerSessionConflict', 'A session for this runner already exists.'),
  'session-invalid': () => brokerError(404, 'RunnerSessionInvalid', 'The session is not valid.'),
  'version-too-old': () => brokerError(403, 'RunnerVersionTooOld', 'Runner version v2.100.0 is deprecated and cannot receive messages.'),
  'acknowledge-not-found': () => brokerError(404, 'AcknowledgeJobNotFound', 'The job could not be found.'),
  'job-canceled': () => runError(404, 'job was canceled'),
  'job-taken': () => runError(409, 'job assignment is invalid: MissingKey'),
  'job-unprocessable': () => runError(422, 'the job cannot be processed'),
  'nothing-yet': () => ({ status: 202, body: '' }),
  unauthorized: () => ({ status: 401, body: '' }),
  'signature-expired': () => ({ status: 403, body: '<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code></Error>' }),
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

  /** `about` is whom the request is about: {owner, repository, runner}, each a name or null. */
  request(route, about = {}) {
    const isOf = (wanted, name) => wanted === undefined || wanted.toLowerCase() === name?.toLowerCase();
    const named = (operation) => (operation === '*' ? !/^(runner|set)-/.test(route.operation) : operation === route.operation || operation === route.operationId);
    const fault = this.take(({ operation, owner, repository, runner }) => operation && [operation].flat().some(named)
      && isOf(owner, about.owner) && isOf(repository, about.repository) && isOf(runner, about.runner));
    if (!fault) return null;
    return fault.preset ? { ...PRESETS[fault.preset](this.config), ...fault } : fault;
  }

  webhook(source) {
    return this.take((fault) => fault.webhook && source.event === 'workflow_job'
      && (fault.action === undefined || fault.action === source.action)
      && (fault.job === undefined || fault.job === source.job.id));
  }
}

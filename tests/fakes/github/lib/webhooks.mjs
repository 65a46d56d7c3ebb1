/*
 * Webhooks: who is told (hooks), how (headers, signature, one POST with a deadline), and the record of each
 * delivery that the deliveries API serves. One GUID stands for one event at all hooks, and for its redeliveries.
 * A job's deliveries go out one after the other; faults may drop, duplicate, delay or reorder them.
 *
 * Only what a body was made of is remembered, and the body is made again when somebody asks for it.
 */
import crypto from 'node:crypto';
import { EventEmitter } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { deliveryIds, guid, hex, isoTime, stableId } from './ids.mjs';
import { pingBody, snapshot, withWebUrl, workflowJobBody } from './payloads.mjs';

const KEEP_MS = 3 * 24 * 3600 * 1000;
const RESPONSE_LIMIT = 64 * 1024;
const USER_AGENT = `GitHub-Hookshot/${hex(4).slice(0, 7)}`;
const STATUS_TEXT = { 0: 'timed out' };

export class Webhooks extends EventEmitter {
  constructor({ config, world, log, faults }) {
    super();
    Object.assign(this, { config, world, log, faults });
    this.ids = deliveryIds();
    this.hooks = [];
    this.added = 0;
    this.deliveries = new Map();
    this.chains = new Map();
    this.held = new Map();
    this.pending = 0;
    this.counts = { total: 0, failed: 0, ok: 0 };
    const agentOptions = { keepAlive: true, maxSockets: config.webhook_connections };
    this.agents = { 'http:': new http.Agent(agentOptions), 'https:': new https.Agent(agentOptions) };
    if (config.webhook_url) {
      this.setHook({
        url: config.webhook_url, secret: config.webhook_secret, content_type: config.webhook_secret_is,
        type: config.webhook_type ?? (config.app_id ? 'app' : 'organization'),
      });
    }
  }

  /** Replaces all hooks by this one, or with `add` puts it beside them. */
  setHook({ url, secret = null, content_type: contentType = 'json', type, target, add = false }) {
    if (!/^https?:$/.test(new URL(url).protocol)) throw new RangeError('a webhook needs an http or https URL');
    const kind = type ?? this.hooks[0]?.type ?? (this.config.app_id ? 'app' : 'organization');
    const owner = this.world.ensureOwner((target ?? this.config.org).split('/')[0]);
    const repository = kind === 'repository' ? this.world.ensureRepository(target ?? `${this.config.org}/example`) : null;
    const targetId = { app: this.config.app_id ?? 1, organization: owner.id, repository: repository?.id }[kind];
    if (targetId === undefined) throw new RangeError(`unknown kind of hook ${kind}`);
    if (add) this.added += 1;
    const now = Date.now();
    const hook = {
      id: stableId(`hook ${kind} ${targetId} ${add ? this.added : 0}`), type: kind, url, secret, contentType, insecureSsl: '0',
      events: ['workflow_job'], active: true, owner, repository, targetId, createdAt: now, updatedAt: now,
    };
    this.hooks = add ? [...this.hooks, hook] : [hook];
    return hook;
  }

  removeHook(hook) {
    this.hooks = this.hooks.filter((other) => other !== hook);
  }

  concerns(hook, repository) {
    if (!hook.active || !(hook.events.includes('workflow_job') || hook.events.includes('*'))) return false;
    if (hook.type === 'repository') return hook.repository === repository;
    return hook.type === 'app' || hook.owner === repository.owner;
  }

  // ---- events -----------------------------------------------------------------------------------

  /** Tells the hooks of an event of a job, as the job is now or was in `view`. */
  announce(action, job, { eventGuid = guid(), view = snapshot(job) } = {}) {
    const source = { event: 'workflow_job', action, job, view };
    for (const hook of this.hooks) {
      if (!this.concerns(hook, job.repository)) continue;
      this.dispatch({ hook, guid: eventGuid, source, redelivery: false }, job.id);
    }
    return { eventGuid, view };
  }

  /** All hooks, or the one that was created. */
  ping(only = null) {
    const eventGuid = guid();
    const source = { event: 'ping', action: null, job: null, view: null };
    for (const hook of only ? [only] : this.hooks) this.dispatch({ hook, guid: eventGuid, source, redelivery: false }, `ping ${eventGuid}`);
    return eventGuid;
  }

  redeliver(delivery) {
    const { hook, source } = delivery;
    const current = this.hooks.find((candidate) => candidate.id === hook.id) ?? hook;
    this.dispatch({ hook: current, guid: delivery.guid, source, redelivery: true }, `redelivery ${delivery.id}`);
  }

  dispatch(order, lane) {
    const fault = order.redelivery ? null : this.faults.webhook(order.source);
    if (fault) this.log.write('webhook_fault', { ...this.describe(order), fault: fault.webhook, recorded: fault.recorded !== false });
    this.pending += 1;
    if (fault?.webhook === 'drop') {
      if (fault.recorded !== false) this.record(order, { code: 502, status: 'failed to connect to host', ms: 0 });
      this.settled();
      return;
    }
    if (fault?.webhook === 'reorder' && !this.held.has(lane)) {
      this.hold(order, lane, fault.delay_ms ?? 5000);
      return;
    }
    this.enqueue(order, lane, fault);
    const held = this.held.get(lane);
    if (held) held.release();
  }

  /** Keeps a delivery back until the next one of its job is on its way, or the delay is over. */
  hold(order, lane, delayMs) {
    const release = () => {
      clearTimeout(timer);
      if (!this.held.delete(lane)) return;
      this.enqueue(order, lane, null);
    };
    const timer = setTimeout(release, delayMs);
    this.held.set(lane, { release });
  }

  enqueue(order, lane, fault) {
    const before = this.chains.get(lane) ?? Promise.resolve();
    const chain = before.then(async () => {
      if (fault?.webhook === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.delay_ms ?? 1000));
      await this.deliver(order);
      if (fault?.webhook === 'duplicate') await this.deliver(order);
    }).then(() => {
      if (this.chains.get(lane) === chain) this.chains.delete(lane);
      this.settled();
    });
    this.chains.set(lane, chain);
  }

  settled() {
    this.pending -= 1;
    this.emit('change');
  }

  describe({ hook, guid: id, source }) {
    return {
      guid: id, hook: hook.id, type: source.event, action: source.action, job: source.job?.id ?? null,
      job_status: source.view?.status ?? null,
    };
  }

  // ---- one delivery -----------------------------------------------------------------------------

  body({ hook, source }) {
    const made = source.event === 'ping'
      ? pingBody(hook, hook.owner)
      : workflowJobBody(source.action, source.job, source.view, hook.type === 'app');
    const json = withWebUrl(made, this.config.web_url);
    return { json, sent: hook.contentType === 'form' ? `payload=${encodeURIComponent(json)}` : json };
  }

  headers({ hook, guid: id, source }, sent) {
    const headers = {
      Accept: '*/*',
      'Content-Type': hook.contentType === 'form' ? 'application/x-www-form-urlencoded' : 'application/json',
      'User-Agent': USER_AGENT,
      'X-GitHub-Delivery': id,
      'X-GitHub-Event': source.event,
      'X-GitHub-Hook-ID': String(hook.id),
      'X-GitHub-Hook-Installation-Target-ID': String(hook.targetId),
      'X-GitHub-Hook-Installation-Target-Type': hook.type === 'app' ? 'integration' : hook.type,
    };
    if (hook.secret) {
      const sign = (hash) => crypto.createHmac(hash, hook.secret).update(sent).digest('hex');
      headers['X-Hub-Signature'] = `sha1=${sign('sha1')}`;
      headers['X-Hub-Signature-256'] = `sha256=${sign('sha256')}`;
    }
    return headers;
  }

  async deliver(order) {
    const { sent } = this.body(order);
    const buffer = Buffer.from(sent);
    const headers = { ...this.headers(order, buffer), 'Content-Length': buffer.length };
    const startedAt = Date.now();
    const result = await this.post(order.hook.url, headers, buffer);
    this.record(order, { ...result, ms: Date.now() - startedAt });
  }

  post(address, headers, body) {
    return new Promise((resolve) => {
      const url = new URL(address);
      const client = url.protocol === 'https:' ? https : http;
      let status = null;
      const request = client.request(url, {
        method: 'POST', headers, agent: this.agents[url.protocol], rejectUnauthorized: false,
      }, (response) => {
        const chunks = [];
        let size = 0;
        response.on('data', (chunk) => {
          if (size < RESPONSE_LIMIT) chunks.push(chunk);
          size += chunk.length;
        });
        response.on('end', () => finish({
          code: response.statusCode, headers: response.headers, payload: Buffer.concat(chunks).toString(),
        }));
        response.on('error', () => finish({ code: 502, status: 'failed to connect to host' }));
      });
      const deadline = setTimeout(() => {
        status = 'timed out';
        request.destroy();
      }, this.config.webhook_timeout_ms);
      const finish = (result) => {
        clearTimeout(deadline);
        resolve(result);
      };
      request.on('error', () => finish(status ? { code: 0, status } : { code: 502, status: 'failed to connect to host' }));
      request.on('close', () => finish({ code: 502, status: status ?? 'failed to connect to host' }));
      request.end(body);
    });
  }

  record(order, { code, status, ms, headers = null, payload = null }) {
    const ok = code >= 200 && code < 300;
    const now = Date.now();
    const delivery = {
      id: this.ids.next(), ...order, code, ms, deliveredAt: now,
      status: ok ? 'OK' : status ?? STATUS_TEXT[code] ?? `Invalid HTTP Response: ${code}`,
      response: { headers, payload },
    };
    this.deliveries.set(delivery.id, delivery);
    for (const [id, old] of this.deliveries) {
      if (now - old.deliveredAt < KEEP_MS) break;
      this.deliveries.delete(id);
    }
    this.counts.total += 1;
    this.counts[ok ? 'ok' : 'failed'] += 1;
    this.log.write('webhook', {
      ...this.describe(order), delivery: delivery.id, redelivery: order.redelivery, status: code, outcome: delivery.status, ms,
    });
  }

  // ---- the deliveries API -----------------------------------------------------------------------

  /** Newest first; `accepts` selects by hook and outcome. */
  list(hookFilter, accepts, fromId, limit) {
    const page = [];
    const all = [...this.deliveries.values()];
    for (let i = all.length - 1; i >= 0 && page.length <= limit; i--) {
      const delivery = all[i];
      if (delivery.id <= fromId && hookFilter(delivery.hook) && accepts(delivery)) page.push(delivery);
    }
    return page;
  }

  stop() {
    for (const agent of Object.values(this.agents)) agent.destroy();
  }
}

export function deliveryItem(delivery) {
  const { hook, source } = delivery;
  return {
    id: delivery.id, guid: delivery.guid, delivered_at: isoTime(delivery.deliveredAt), redelivery: delivery.redelivery,
    duration: delivery.ms / 1000, status: delivery.status, status_code: delivery.code, event: source.event,
    action: source.action, installation_id: hook.type === 'app' && source.job ? source.job.repository.owner.installationId : null,
    repository_id: source.job?.repository.id ?? null, throttled_at: null,
  };
}

/*
 * How GitHub makes an App from a manifest: its page with a button, the return to the program's page with a code, and the exchange of the
 * code for the App's credentials. The App that was made is then the stand-in's own.
 */
import crypto from 'node:crypto';
import { readBody, send } from '../../lib/http.mjs';
import { notFound } from './http.mjs';
import { hex, isoTime, nodeId, stableId } from './ids.mjs';
import { ownerObject } from './payloads.mjs';

const CODE_LIFE_MS = 3600 * 1000;
const NAME_MAX = 34;
const NEEDS = { workflow_job: ['actions', 'read'] };
const LEVELS = new Set(['read', 'write', 'admin']);

const escape = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
const page = (title, body) => `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title></head><body><h1>${escape(title)}</h1>${body}</body></html>`;

/** What is wrong with a manifest, in a sentence each. */
function mistakes(manifest, taken) {
  const { name, url, redirect_url: back, hook_attributes: hook, default_permissions: permissions = {}, default_events: events = [] } = manifest;
  const found = [];
  const isUrl = (text) => URL.canParse?.(text) ?? /^https?:\/\/\S+$/.test(text ?? '');
  if (!isUrl(url)) found.push('url is missing');
  if (name !== undefined && (name.length === 0 || name.length > NAME_MAX)) found.push('name is too long (maximum is 34 characters)');
  if (taken.has(name)) found.push('Name is already taken');
  if (!isUrl(back)) found.push('redirect_url is missing');
  if (hook && !isUrl(hook.url)) found.push('hook_attributes.url is missing');
  for (const [permission, level] of Object.entries(permissions)) if (!LEVELS.has(level)) found.push(`${permission} is no level`);
  for (const event of events) {
    const [permission] = NEEDS[event] ?? ['?'];
    if (!LEVELS.has(permissions[permission])) found.push(`Default events unsupported: ${event}`);
  }
  return found;
}

export class Manifests {
  constructor(parts) {
    Object.assign(this, parts);
    this.codes = new Map();
    this.taken = new Set();
    this.last = null; // the manifest that was posted last
  }

  /** Whether it was a page of this flow. */
  concerns(url) {
    return /^(\/organizations\/[^/]+)?\/settings\/apps\/(new|manifest)$/.test(url.pathname);
  }

  async handle(request, response, url) {
    const form = new URLSearchParams((await readBody(request)).toString('utf8'));
    const [, owner = this.config.org] = /^\/organizations\/([^/]+)/.exec(url.pathname) ?? [];
    const html = (status, title, body) => send(response, status, { 'Content-Type': 'text/html; charset=utf-8' }, page(title, body));
    if (request.method !== 'POST') return html(404, 'Page not found', '');
    let manifest;
    try {
      manifest = JSON.parse(form.get('manifest') ?? '');
    } catch {
      return html(422, 'Invalid GitHub App manifest', '<p>The manifest is no JSON</p>');
    }
    const wrong = mistakes(manifest, this.taken);
    if (wrong.length > 0) return html(422, 'Invalid GitHub App manifest', wrong.map((text) => `<p>${escape(text)}</p>`).join(''));
    this.last = { owner, manifest };
    const state = form.get('state') ?? url.searchParams.get('state') ?? '';
    this.log.write('manifest', { owner, step: url.pathname.endsWith('/new') ? 'shown' : 'created', manifest });
    if (url.pathname.endsWith('/new')) {
      return html(200, `Create GitHub App for ${owner}`, `<form method="post" action="${escape(url.pathname.replace(/new$/, 'manifest'))}">
<input type="hidden" name="manifest" value="${escape(JSON.stringify(manifest))}"><input type="hidden" name="state" value="${escape(state)}">
<button type="submit">Create GitHub App</button></form>`);
    }
    const back = new URL(manifest.redirect_url);
    back.searchParams.set('code', this.make(owner, manifest));
    back.searchParams.set('state', state);
    return send(response, 302, { Location: back.href }, '');
  }

  make(owner, manifest) {
    const code = hex(20);
    this.codes.set(code, { owner, manifest, expiresAt: Date.now() + CODE_LIFE_MS });
    return code;
  }

  /** Each code once. */
  convert(code, base) {
    const found = this.codes.get(code);
    this.codes.delete(code);
    if (!found || found.expiresAt < Date.now()) throw notFound();
    const { owner, manifest } = found;
    const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', {
      modulusLength: 2048, privateKeyEncoding: { type: 'pkcs1', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    const secret = hex(20);
    const id = stableId(`app ${code}`);
    const slug = manifest.name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
    Object.assign(this.config, { app_id: id, client_id: `Iv23li${hex(7)}`, slug });
    this.auth.replaceFirst(id, publicKey);
    this.world.permissions = { metadata: 'read', ...manifest.default_permissions };
    this.world.events = manifest.default_events ?? [];
    this.taken.add(manifest.name);
    this.webhooks.setHook({ url: manifest.hook_attributes.url, secret, content_type: 'json', type: 'app' });
    const now = isoTime(Date.now());
    return {
      id, slug, node_id: nodeId('A', id), owner: ownerObject(this.world.ensureOwner(owner)), name: manifest.name, description: manifest.description ?? null,
      external_url: manifest.url, html_url: `${base}/apps/${slug}`, created_at: now, updated_at: now,
      permissions: this.world.permissions, events: this.world.events, client_id: this.config.client_id, client_secret: hex(20), webhook_secret: secret, pem: privateKey,
    };
  }
}

export function addManifestRoutes(router) {
  router.add('POST', '/app-manifests/{code}/conversions', {
    auth: 'any', operation: 'app-manifest', operationId: 'apps/create-from-manifest',
    handle: ({ rest, params, base }) => ({ status: 201, body: rest.manifests.convert(params.code, base) }),
  });
}

/* Hooks of organisations and repositories: list, create, get, update, delete. GitHub answers a secret as stars. */
import { ApiError, notFound, paginate } from './http.mjs';
import { isoTime } from './ids.mjs';
import { idOf, ownerOf, repositoryOf } from './lookups.mjs';

const placeOf = (context) => (context.params.repo === undefined
  ? { type: 'organization', of: ownerOf(context) } : { type: 'repository', of: repositoryOf(context) });

/** The hooks of this organisation or repository. */
function hooksOf(context) {
  const { type, of } = placeOf(context);
  return context.rest.webhooks.hooks.filter((hook) => hook.type === type && (hook.owner === of || hook.repository === of));
}

function hookOf(context) {
  const id = idOf(context.params.hook_id);
  const hook = hooksOf(context).find((candidate) => candidate.id === id);
  if (!hook) throw notFound();
  return hook;
}

function refused(message) {
  const documentation = 'https://docs.github.com/rest/orgs/webhooks';
  const body = { message: 'Validation Failed', errors: [{ resource: 'Hook', code: 'custom', message }], documentation_url: documentation, status: '422' };
  return new ApiError(422, 'Validation Failed', { documentation, body });
}

/** An address may be hooked once at a place. */
function checkAddress(context, config, own) {
  if (!/^https?:\/\/[^/]+/.test(config.url ?? '')) throw refused('url scheme must be http or https');
  if (hooksOf(context).some((hook) => hook !== own && hook.url === config.url)) throw refused(`Hook already exists on this ${placeOf(context).type}`);
}

const settingsOf = ({ url, content_type: contentType = 'form', insecure_ssl: insecure = '0', secret = null }) => ({ url, contentType, insecureSsl: String(insecure), secret });

export function hookObject(hook, { apiBase, params }) {
  const base = `${apiBase}${params.repo === undefined ? `/orgs/${params.org}` : `/repos/${params.owner}/${params.repo}`}/hooks/${hook.id}`;
  const { url, contentType, insecureSsl, secret } = hook;
  return {
    type: hook.type === 'organization' ? 'Organization' : 'Repository', id: hook.id, name: 'web', active: hook.active, events: hook.events,
    config: { content_type: contentType, insecure_ssl: insecureSsl, url, ...(secret ? { secret: '********' } : {}) },
    created_at: isoTime(hook.createdAt), updated_at: isoTime(hook.updatedAt), url: base, ping_url: `${base}/pings`, deliveries_url: `${base}/deliveries`,
    ...(hook.type === 'repository' ? { test_url: `${base}/test`, last_response: { code: null, status: 'unused', message: null } } : {}),
  };
}

function list(context) {
  const { items, headers } = paginate(context, hooksOf(context));
  return { status: 200, headers, body: items.map((hook) => hookObject(hook, context)) };
}

function create(context) {
  const { config = {}, events = ['push'], active = true } = context.body ?? {};
  checkAddress(context, config, null);
  const { webhooks } = context.rest;
  const { type, of } = placeOf(context);
  const hook = webhooks.setHook({ type, target: of.fullName ?? of.login, add: true, url: config.url });
  Object.assign(hook, settingsOf(config), { events, active });
  webhooks.ping(hook);
  return { status: 201, body: hookObject(hook, context) };
}

/** A new configuration replaces the old one whole: without a secret the hook has none any more. */
function update(context) {
  const hook = hookOf(context);
  const { config, events = hook.events, active = hook.active } = context.body ?? {};
  if (config) checkAddress(context, config, hook);
  Object.assign(hook, { events, active, updatedAt: Date.now() }, config ? settingsOf(config) : {});
  return { status: 200, body: hookObject(hook, context) };
}

function remove(context) {
  context.rest.webhooks.removeHook(hookOf(context));
  return { status: 204 };
}

export function addHookRoutes(router) {
  for (const [prefix, tag, name] of [['/orgs/{org}/hooks', 'orgs', 'organization_hooks'], ['/repos/{owner}/{repo}/hooks', 'repos', 'repository_hooks']]) {
    const route = (method, path, level, verb, handle) => router.add(method, `${prefix}${path}`, {
      permission: [name, level], operation: verb.replace('webhook', 'hook'), operationId: `${tag}/${verb}`, handle,
    });
    route('GET', '', 'read', 'list-webhooks', list);
    route('POST', '', 'write', 'create-webhook', create);
    route('GET', '/{hook_id}', 'read', 'get-webhook', (context) => ({ status: 200, body: hookObject(hookOf(context), context) }));
    route('PATCH', '/{hook_id}', 'write', 'update-webhook', update);
    route('DELETE', '/{hook_id}', 'write', 'delete-webhook', remove);
  }
}

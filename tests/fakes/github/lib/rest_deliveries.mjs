/* Hooks of the App, organisations and repositories: their configuration, and their deliveries: list by cursor, get, redeliver. */
import { ApiError, notFound } from './http.mjs';
import { idOf, ownerOf, repositoryOf } from './lookups.mjs';
import { deliveryItem } from './webhooks.mjs';

const OUTCOMES = {
  success: ({ code }) => code >= 200 && code < 400,
  failure: ({ code }) => !(code >= 200 && code < 400),
};

/** Which hooks a request is about; an unknown hook is 404. */
function hookFilter(context) {
  const { rest, params } = context;
  if (params.hook_id === undefined) return (hook) => hook.type === 'app' && rest.auth.isFirst(context.auth.app);
  const id = idOf(params.hook_id);
  const of = params.repo === undefined ? ownerOf(context) : repositoryOf(context);
  const accepts = (hook) => hook.id === id && (params.repo === undefined
    ? hook.type === 'organization' && hook.owner === of : hook.type === 'repository' && hook.repository === of);
  if (!rest.webhooks.hooks.some(accepts)) throw notFound();
  return accepts;
}

const cursorOf = (id) => `v1_${id}`;

function list(context) {
  const { rest, query } = context;
  const filter = hookFilter(context);
  const perPage = Math.min(100, Math.max(1, Number.parseInt(query.get('per_page') ?? '30', 10) || 30));
  const outcome = query.get('status');
  if (outcome !== null && !OUTCOMES[outcome]) throw new ApiError(422, 'Validation Failed');
  const cursor = query.get('cursor');
  const from = cursor === null ? Infinity : Number((/^v1_(\d+)$/.exec(cursor) ?? [])[1]);
  if (Number.isNaN(from)) throw new ApiError(400, 'Invalid cursor');
  const page = rest.webhooks.list(filter, OUTCOMES[outcome] ?? (() => true), from, perPage);
  const headers = {};
  if (page.length > perPage) {
    const next = new URLSearchParams(query);
    next.set('cursor', cursorOf(page[perPage].id));
    headers.Link = `<${context.base}${context.path}?${next}>; rel="next"`;
  }
  return { status: 200, headers, body: page.slice(0, perPage).map(deliveryItem) };
}

function find(context) {
  const filter = hookFilter(context);
  const delivery = context.rest.webhooks.deliveries.get(idOf(context.params.delivery_id));
  if (!delivery || !filter(delivery.hook)) throw notFound();
  return delivery;
}

function get(context) {
  const delivery = find(context);
  const { webhooks } = context.rest;
  const { json, sent } = webhooks.body(delivery);
  return {
    status: 200,
    body: {
      ...deliveryItem(delivery), url: delivery.hook.url,
      request: { headers: webhooks.headers(delivery, sent), payload: JSON.parse(json) },
      response: delivery.response,
    },
  };
}

function redeliver(context) {
  context.rest.webhooks.redeliver(find(context));
  return { status: 202, body: {} };
}

/** An App has one hook, which may have no address. A secret is told as stars, and only if there is one. */
function configuration(context) {
  const hook = context.rest.webhooks.hooks.find(hookFilter(context));
  return {
    status: 200,
    body: {
      content_type: hook?.contentType ?? 'json', insecure_ssl: hook?.insecureSsl ?? '0', url: hook?.url ?? '', ...(hook?.secret ? { secret: '********' } : {}),
    },
  };
}

/** Changes it; the secret too, if one is given. */
function configure(context) {
  const { url, content_type: contentType, secret, insecure_ssl: insecureSsl } = context.body ?? {};
  const hook = context.rest.webhooks.hooks.find(hookFilter(context));
  if (url !== undefined && hook) hook.url = url;
  if (url !== undefined && !hook) context.rest.webhooks.setHook({ url, type: 'app' });
  const changed = context.rest.webhooks.hooks.find(hookFilter(context));
  for (const [key, value] of Object.entries({ contentType, secret, insecureSsl })) if (value !== undefined) changed[key] = value;
  return configuration(context);
}

export function addDeliveryRoutes(router) {
  const scopes = [
    ['/app/hook', 'apps', { auth: 'app' }],
    ['/orgs/{org}/hooks/{hook_id}', 'orgs', { permission: ['organization_hooks', 'read'] }],
    ['/repos/{owner}/{repo}/hooks/{hook_id}', 'repos', { permission: ['repository_hooks', 'read'] }],
  ];
  for (const [prefix, tag, access] of scopes) {
    const base = `${prefix}/deliveries`;
    const writing = access.permission ? { permission: [access.permission[0], 'write'] } : access;
    const what = `get-webhook-config-for-${tag.slice(0, -1)}`;
    router.add('GET', `${prefix}/config`, { ...access, operation: 'hook-config', operationId: `${tag}/${what}`, handle: configuration });
    if (tag === 'apps') router.add('PATCH', `${prefix}/config`, { ...access, operation: 'set-hook-config', operationId: 'apps/update-webhook-config-for-app', handle: configure });
    router.add('GET', base, { ...access, operation: 'list-deliveries', operationId: `${tag}/list-webhook-deliveries`, handle: list });
    router.add('GET', `${base}/{delivery_id}`, { ...access, operation: 'get-delivery', operationId: `${tag}/get-webhook-delivery`, handle: get });
    router.add('POST', `${base}/{delivery_id}/attempts`, {
      ...writing, operation: 'redeliver', operationId: `${tag}/redeliver-webhook-delivery`, handle: redeliver,
    });
  }
}

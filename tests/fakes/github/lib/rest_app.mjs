/* The App, its installations and their tokens; /meta and /rate_limit. */
import { ApiError, notFound, paginate, suspended } from './http.mjs';
import { isoTime, nodeId } from './ids.mjs';
import { ownerObject, repositoryObject } from './payloads.mjs';
import { idOf, ownerOf, repositoryOf } from './lookups.mjs';

const RANK = { read: 1, write: 2, admin: 3 };
const HOOK_RANGES = ['192.30.252.0/22', '185.199.108.0/22', '140.82.112.0/20', '143.55.64.0/20'];
const OUT_OF_REACH = 'There is at least one repository that does not exist or is not accessible to the parent installation.';

function installedOn({ rest, auth }) {
  return [...rest.world.owners.values()].filter((owner) => rest.auth.isInstalled(auth.app, owner));
}

function appObject(context) {
  const { config, world, auth } = context.rest;
  const { id } = context.auth.app;
  return {
    id, slug: config.slug ?? 'mayfly', node_id: nodeId('A', id), client_id: config.client_id,
    owner: ownerObject(world.ensureOwner(config.org)), name: 'Mayfly', description: 'Runs jobs on microVMs',
    external_url: 'https://example.com', html_url: 'https://github.com/apps/mayfly', created_at: isoTime(auth.createdAt),
    updated_at: isoTime(auth.createdAt), permissions: world.permissions, events: world.events, installations_count: installedOn(context).length,
  };
}

function installationObject(owner, { rest, auth, apiBase }) {
  const id = rest.auth.installationId(auth.app, owner);
  return {
    id, account: ownerObject(owner), repository_selection: 'all', access_tokens_url: `${apiBase}/app/installations/${id}/access_tokens`,
    repositories_url: `${apiBase}/installation/repositories`,
    html_url: `https://github.com/organizations/${owner.login}/settings/installations/${id}`, app_id: auth.app.id,
    client_id: rest.config.client_id, app_slug: 'mayfly', target_id: owner.id, target_type: 'Organization',
    permissions: owner.permissions ?? rest.world.permissions, events: rest.world.events, created_at: isoTime(owner.createdAt), updated_at: isoTime(owner.createdAt),
    single_file_name: null, has_multiple_single_files: false, single_file_paths: [], suspended_by: null, suspended_at: rest.auth.isSuspended(auth.app, owner) ? isoTime(owner.createdAt) : null,
  };
}

function narrowedPermissions(asked, granted) {
  if (asked === undefined) return { ...granted };
  for (const [name, level] of Object.entries(asked)) {
    if ((RANK[granted[name]] ?? 0) < (RANK[level] ?? Infinity)) {
      throw new ApiError(422, 'The permissions requested are not granted to this installation.');
    }
  }
  return { metadata: 'read', ...asked };
}

function narrowedRepositories(owner, world, { repositories, repository_ids: ids }) {
  if (repositories === undefined && ids === undefined) return null;
  const own = [...world.repositories.values()].filter((repository) => repository.owner === owner);
  const pick = (key, accepts) => {
    const found = own.find((repository) => accepts(repository, key));
    if (!found) throw new ApiError(422, OUT_OF_REACH);
    return found;
  };
  return [
    ...(repositories ?? []).map((name) => pick(String(name).toLowerCase(), (r, key) => r.name.toLowerCase() === key)),
    ...(ids ?? []).map((id) => pick(id, (r, key) => r.id === key)),
  ];
}

function createToken(context) {
  const { rest, params, request } = context;
  const { app } = context.auth;
  const owner = rest.auth.ownerOf(app, idOf(params.installation_id));
  if (!owner) throw notFound();
  if (rest.auth.isSuspended(app, owner)) throw suspended();
  const body = context.body ?? {};
  const permissions = narrowedPermissions(body.permissions, rest.world.permissions);
  const repositories = narrowedRepositories(owner, rest.world, body);
  const long = request.headers['x-github-stateless-s2s-token'] !== 'disabled';
  const grant = rest.auth.grant(app, owner, { permissions, long, repositories: repositories?.map((r) => r.fullName.toLowerCase()) ?? null });
  return {
    status: 201,
    body: {
      token: grant.token, expires_at: isoTime(grant.expiresAt), permissions,
      repository_selection: repositories ? 'selected' : 'all',
      ...(repositories ? { repositories: repositories.map(repositoryObject) } : {}),
    },
  };
}

function listInstallations(context) {
  const { items, headers } = paginate(context, installedOn(context));
  return { status: 200, headers, body: items.map((owner) => installationObject(owner, context)) };
}

function listRepositories(context) {
  const { auth, rest } = context;
  if (auth.kind !== 'installation') throw new ApiError(403, 'You must authenticate with an installation access token in order to list repositories for an installation.');
  const seen = [...rest.world.repositories.values()].filter(({ owner, fullName }) => owner === auth.owner
    && (auth.repositories === null || auth.repositories.includes(fullName.toLowerCase())));
  const { items, headers } = paginate(context, seen);
  return {
    status: 200, headers,
    body: { total_count: seen.length, repository_selection: auth.repositories ? 'selected' : 'all', repositories: items.map(repositoryObject) },
  };
}

function meta() {
  return {
    status: 200,
    body: {
      verifiable_password_authentication: false, hooks: HOOK_RANGES, web: HOOK_RANGES, api: HOOK_RANGES, git: HOOK_RANGES,
      actions: ['4.148.0.0/16'],
    },
  };
}

function rateLimit({ rest, auth, version }) {
  const core = rest.limits.view(auth);
  const other = { limit: 30, remaining: 30, reset: core.reset, used: 0 };
  const registration = { limit: 10000, remaining: 10000, reset: core.reset, used: 0 };
  return {
    status: 200,
    body: {
      resources: { core, search: other, actions_runner_registration: registration },
      ...(version === '2022-11-28' ? { rate: core } : {}),
    },
  };
}

export function addAppRoutes(router) {
  const app = (path, operation, operationId, handle) => router.add('GET', path, { auth: 'app', operation, operationId, handle });
  const one = (owner, context) => {
    if (!context.rest.auth.isInstalled(context.auth.app, owner)) throw notFound();
    return { status: 200, body: installationObject(owner, context) };
  };
  app('/app', 'get-app', 'apps/get-authenticated', (context) => ({ status: 200, body: appObject(context) }));
  app('/app/installations', 'list-installations', 'apps/list-installations', listInstallations);
  app('/orgs/{org}/installation', 'org-installation', 'apps/get-org-installation', (context) => one(ownerOf(context), context));
  app('/repos/{owner}/{repo}/installation', 'repo-installation', 'apps/get-repo-installation', (context) => one(repositoryOf(context).owner, context));
  router.add('POST', '/app/installations/{installation_id}/access_tokens', {
    auth: 'app', operation: 'access-token', operationId: 'apps/create-installation-access-token', handle: createToken,
  });
  router.add('GET', '/installation/repositories', {
    operation: 'list-repositories', operationId: 'apps/list-repos-accessible-to-installation', handle: listRepositories,
  });
  router.add('GET', '/meta', { auth: 'any', operation: 'meta', operationId: 'meta/get', handle: meta });
  router.add('GET', '/rate_limit', { auth: 'any', free: true, operation: 'rate-limit', operationId: 'rate-limit/get', handle: rateLimit });
}

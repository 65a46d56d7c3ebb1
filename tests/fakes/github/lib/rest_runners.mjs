/* Self-hosted runners of organisations and repositories, runner groups, and the runner program's downloads. */
import { ApiError, notFound, paginate } from './http.mjs';
import { hex } from './ids.mjs';
import { RUNNER_VERSION } from './fleet.mjs';
import { idOf, ownerOf, repositoryOf } from './lookups.mjs';
import { HOSTED_GROUP_ID, groupAdmits } from './world.mjs';

const DOCS = 'https://docs.github.com/rest/actions/self-hosted-runners';
const NAME_LIMIT = 64;
const LABEL_LIMIT = 100;
const READ_ONLY = new Set(['self-hosted', 'linux', 'windows', 'macos', 'x64', 'arm', 'arm64']);
const CHECKSUMS = { x64: hex(32), arm64: hex(32) };

const scopeOf = (context) => (context.params.repo
  ? { repository: repositoryOf(context), owner: repositoryOf(context).owner }
  : { repository: null, owner: ownerOf(context) });

const invalid = (message) => new ApiError(422, message, { documentation: DOCS });

function labelObject(name, index) {
  return { id: index + 1, name, type: READ_ONLY.has(name.toLowerCase()) ? 'read-only' : 'custom' };
}

export function runnerObject(runner) {
  return {
    id: runner.id, name: runner.name, os: runner.version ? 'Linux' : 'unknown', status: runner.online ? 'online' : 'offline',
    busy: runner.job !== null, labels: runner.labels.map(labelObject), runner_group_id: runner.group.id, ephemeral: true,
    version: runner.version,
  };
}

function checkRegistration(body) {
  if (body === null || typeof body !== 'object' || Array.isArray(body)) throw invalid('Invalid input: an object is expected');
  for (const key of ['name', 'runner_group_id', 'labels']) {
    if (body[key] === undefined) throw invalid(`Invalid input: object is missing required key: ${key}`);
  }
  if (typeof body.name !== 'string' || body.name === '') throw invalid('Invalid input: name must be a non-empty string');
  if (body.name.length > NAME_LIMIT) throw invalid(`Invalid input: name is too long (maximum is ${NAME_LIMIT} characters)`);
  if (!Number.isInteger(body.runner_group_id)) throw invalid('Invalid input: runner_group_id must be an integer');
  const { labels } = body;
  const good = Array.isArray(labels) && labels.length >= 1 && labels.length <= LABEL_LIMIT
    && labels.every((label) => typeof label === 'string' && label !== '');
  if (!good) throw invalid(`Invalid input: labels must be 1 to ${LABEL_LIMIT} non-empty strings`);
  if (body.work_folder !== undefined && typeof body.work_folder !== 'string') throw invalid('Invalid input: work_folder must be a string');
}

function groupFor(owner, repository, id) {
  if (id === HOSTED_GROUP_ID) {
    throw new ApiError(403, 'Runners cannot be registered to GitHub-hosted runner groups.', { documentation: DOCS });
  }
  const group = owner.groups.get(id);
  if (!group || (repository && id !== 1)) throw notFound();
  return group;
}

function checkRoom({ fleet, config }, owner, group) {
  const count = [...fleet.runners.values()].filter((runner) => runner.owner === owner && runner.group === group).length;
  if (count >= config.group_limit) throw invalid(`Invalid Argument - Runner group ${group.id} has reached max limit of ${config.group_limit} runners.`);
}

async function generate(context) {
  const { rest, body } = context;
  const { owner, repository } = scopeOf(context);
  checkRegistration(body);
  const group = groupFor(owner, repository, body.runner_group_id);
  const scope = repository ? repository.fullName : owner.login;
  if (rest.fleet.findByName(scope, body.name)) {
    throw new ApiError(409, `Already exists - A runner with the name ${body.name} already exists.`, { documentation: DOCS });
  }
  checkRoom(rest, owner, group);
  rest.limits.registration(scope);
  const runner = rest.fleet.register({
    owner, repository, group, name: body.name, labels: body.labels, workFolder: body.work_folder ?? '_work',
  });
  const encoded = await rest.mint.mint(runner, rest.protocol.addresses(runner), rest.config.web_url);
  return { status: 201, body: { runner: runnerObject(runner), encoded_jit_config: encoded } };
}

const inScope = (runner, { owner, repository }) => (repository ? runner.repository === repository
  : runner.owner === owner && runner.repository === null);

function list(context) {
  const { rest, query } = context;
  const scope = scopeOf(context);
  const name = query.get('name');
  const all = [...rest.fleet.runners.values()].filter((runner) => inScope(runner, scope) && (name === null || runner.name === name));
  const { items, headers } = paginate(context, all);
  return { status: 200, headers, body: { total_count: all.length, runners: items.map(runnerObject) } };
}

function find(context) {
  const runner = context.rest.fleet.runners.get(idOf(context.params.runner_id));
  if (!runner || !inScope(runner, scopeOf(context))) throw notFound();
  return runner;
}

function remove(context) {
  const runner = find(context);
  if (runner.job) {
    throw new ApiError(422, `Bad request - Runner "${runner.name}" is currently running a job and cannot be deleted.`, { documentation: DOCS });
  }
  context.rest.fleet.remove(runner, 'deleted');
  return { status: 204 };
}

function downloads(context) {
  scopeOf(context);
  const entry = (architecture) => {
    const filename = `actions-runner-linux-${architecture}-${RUNNER_VERSION}.tar.gz`;
    return {
      os: 'linux', architecture, filename, sha256_checksum: CHECKSUMS[architecture],
      download_url: `https://github.com/actions/runner/releases/download/v${RUNNER_VERSION}/${filename}`,
    };
  };
  return { status: 200, body: ['x64', 'arm64'].map(entry) };
}

/* Only where it is configured: GitHub Enterprise Cloud alone has the page. */
function deprecation(context) {
  scopeOf(context);
  const dates = context.rest.world.deprecations?.[context.params.version];
  if (!dates) throw notFound();
  return { status: 200, body: { runner_version: context.params.version, ...dates } };
}

function groupObject(group, context) {
  const base = `${context.apiBase}/orgs/${ownerOf(context).login}/actions/runner-groups/${group.id}`;
  return {
    id: group.id, name: group.name, visibility: group.visibility, default: group.default,
    ...(group.visibility === 'selected' ? { selected_repositories_url: `${base}/repositories` } : {}),
    runners_url: `${base}/runners`, inherited: group.inherited, allows_public_repositories: group.allows_public_repositories,
    restricted_to_workflows: false, selected_workflows: [], workflow_restrictions_read_only: false,
  };
}

function listGroups(context) {
  const owner = ownerOf(context);
  const visibleTo = context.query.get('visible_to_repository');
  const repository = visibleTo === null ? null : context.rest.world.repository(owner.login, visibleTo);
  const all = [...owner.groups.values()].filter((group) => visibleTo === null || (repository && groupAdmits(group, repository)));
  const { items, headers } = paginate(context, all);
  return { status: 200, headers, body: { total_count: all.length, runner_groups: items.map((group) => groupObject(group, context)) } };
}

function getGroup(context) {
  const group = ownerOf(context).groups.get(idOf(context.params.runner_group_id));
  if (!group) throw notFound();
  return { status: 200, body: groupObject(group, context) };
}

/* For a configuration on the runner's machine, and for the service of scale sets. */
function registrationToken(context) {
  return { status: 201, body: context.rest.setProtocol.registrationToken(scopeOf(context)) };
}

export function addRunnerRoutes(router) {
  // What is of an enterprise is not in GitHub's public description, so nothing validates it.
  const scopes = [
    ['/orgs/{org}', 'org', 'organization_self_hosted_runners'],
    ['/repos/{owner}/{repo}', 'repo', 'administration'],
    ['/enterprises/{enterprise}', null, null],
  ];
  for (const [prefix, suffix, permission] of scopes) {
    const base = `${prefix}/actions/runners`;
    const access = (level) => (permission === null ? {} : { permission: [permission, level] });
    const add = (method, path, operation, operationId, level, handle) => router.add(method, path, {
      operation, ...(suffix === null ? {} : { operationId: `${operationId}-${suffix}` }), ...access(level), handle,
    });
    add('POST', `${base}/generate-jitconfig`, 'generate-jitconfig', 'actions/generate-runner-jitconfig-for', 'write', generate);
    add('POST', `${base}/registration-token`, 'registration-token', 'actions/create-registration-token-for', 'write', registrationToken);
    add('GET', `${base}/downloads`, 'runner-downloads', 'actions/list-runner-applications-for', 'read', downloads);
    router.add('GET', `${base}/deprecations/{version}`, { operation: 'runner-deprecation', ...access('read'), handle: deprecation });
    add('GET', base, 'list-runners', 'actions/list-self-hosted-runners-for', 'read', list);
    add('GET', `${base}/{runner_id}`, 'get-runner', 'actions/get-self-hosted-runner-for', 'read', (context) => ({
      status: 200, body: runnerObject(find(context)),
    }));
    add('DELETE', `${base}/{runner_id}`, 'delete-runner', 'actions/delete-self-hosted-runner-from', 'write', remove);
  }
  const groups = { permission: ['organization_self_hosted_runners', 'read'] };
  router.add('GET', '/orgs/{org}/actions/runner-groups', {
    ...groups, operation: 'list-runner-groups', operationId: 'actions/list-self-hosted-runner-groups-for-org', handle: listGroups,
  });
  router.add('GET', '/orgs/{org}/actions/runner-groups/{runner_group_id}', {
    ...groups, operation: 'get-runner-group', operationId: 'actions/get-self-hosted-runner-group-for-org', handle: getGroup,
  });
  router.add('GET', '/enterprises/{enterprise}/actions/runner-groups', { operation: 'list-runner-groups', handle: listGroups });
  router.add('GET', '/enterprises/{enterprise}/actions/runner-groups/{runner_group_id}', { operation: 'get-runner-group', handle: getGroup });
}

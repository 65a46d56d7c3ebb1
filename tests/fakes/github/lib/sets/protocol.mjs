/*
 * The service of scale sets as github.com/actions/scaleset, GitHub's own client, speaks with it. Four credentials, each leading to the next:
 *
 *   registration token   from REST                        for POST /actions/runner-registration
 *   admin token          with the service's address       for the sets, their sessions and JIT configurations; a JWT whose `exp` the client reads
 *   queue token          of a session                     for its messages and for acquiring jobs
 *   JIT configuration    of a runner                      for the runner's side (../runner/)
 */
import { Router, parseJson, readBody, send, sleep } from '../../../lib/http.mjs';
import { guid, hex } from '../ids.mjs';

const BASE = '/_actions/';
const RUNTIME = '_apis/runtime';
const SETS = `${RUNTIME}/runnerscalesets`;
const AGENTS = '_apis/distributedtask/pools/0/agents';
const BYTE_ORDER_MARK = '\ufeff';

const refusal = (status, typeName, message) => ({ status, body: { typeName: `GitHub.Actions.Runtime.WebApi.${typeName}, GitHub.Actions.Runtime.WebApi`, message } });
const noSet = () => refusal(404, 'RunnerScaleSetNotFoundException', 'No runner scale set found.');
const list = (value) => ({ status: 200, body: { count: value.length, value } });

export class ScaleSetProtocol {
  constructor({ config, world, fleet, log, faults, sets, mint, protocol, baseUrl }) {
    Object.assign(this, { config, world, fleet, log, faults, sets, mint, protocol, baseUrl });
    this.registrations = new Map();
    this.admins = new Map();
    this.tenant = hex(8);
    this.operations = new Map();
    this.router = new Router();
    const add = (method, path, operation, who, handle) => this.router.add(method, `/${path}`, { operation: `set-${operation}`, who, handle });
    add('GET', `${RUNTIME}/runnergroups/`, 'group', 'admin', (c) => this.groups(c));
    add('GET', SETS, 'find', 'admin', (c) => this.find(c));
    add('POST', SETS, 'create', 'admin', (c) => this.create(c));
    add('GET', `${SETS}/{set}`, 'get', 'admin', (c) => ({ status: 200, body: this.view(c.set) }));
    add('PATCH', `${SETS}/{set}`, 'update', 'admin', (c) => this.update(c));
    add('DELETE', `${SETS}/{set}`, 'delete', 'admin', (c) => { this.sets.delete(c.set); return { status: 204 }; });
    add('POST', `${SETS}/{set}/sessions`, 'session', 'admin', (c) => this.open(c));
    add('PATCH', `${SETS}/{set}/sessions/{session}`, 'session-renew', 'admin', (c) => this.renew(c));
    add('DELETE', `${SETS}/{set}/sessions/{session}`, 'session-delete', 'admin', (c) => this.close(c));
    add('POST', `${SETS}/{set}/generatejitconfig`, 'jitconfig', 'admin', (c) => this.generate(c));
    add('POST', `${SETS}/{set}/acquirejobs`, 'acquire', 'queue', (c) => this.acquire(c));
    add('GET', AGENTS, 'agents', 'admin', (c) => list(this.agents(c).filter((r) => r.name === c.query.get('agentName')).map(agentView)));
    add('GET', `${AGENTS}/{agent}`, 'agent', 'admin', (c) => this.withAgent(c, (runner) => ({ status: 200, body: agentView(runner) })));
    add('DELETE', `${AGENTS}/{agent}`, 'agent-delete', 'admin', (c) => this.withAgent(c, (runner) => this.removeAgent(runner)));
    add('GET', 'queue/{set}', 'poll', 'queue', (c) => this.poll(c));
    add('DELETE', 'queue/{set}/{message}', 'message-delete', 'queue', (c) => this.deleteMessage(c));
  }

  concerns(url) {
    return url.pathname.startsWith(BASE) || url.pathname.endsWith('/actions/runner-registration');
  }

  /** For REST: the token that leads to the service. */
  registrationToken({ owner, repository }) {
    const token = `A${hex(14).toUpperCase()}`;
    const expiresAt = Date.now() + 3600_000;
    this.registrations.set(token, { key: repository?.fullName ?? owner.login, owner, repository, expiresAt });
    return { token, expires_at: new Date(expiresAt).toISOString() };
  }

  async handle(request, response, url) {
    const raw = await readBody(request);
    const registers = !url.pathname.startsWith(BASE);
    const { route, params } = registers
      ? { route: { operation: 'set-connection', who: 'anybody', handle: (c) => this.connect(c) }, params: {} }
      : this.router.find(request.method, `/${url.pathname.slice(`${BASE}${this.tenant}/`.length)}`);
    if (!route) return this.finish({ request, response, url }, null, { status: 404, body: { message: 'Not Found' } });
    this.operations.set(route.operation, (this.operations.get(route.operation) ?? 0) + 1);
    const context = { request, response, url, raw, params, query: url.searchParams, set: this.sets.byId.get(Number(params.set)) };
    return this.finish(context, route, await this.answer(route, context));
  }

  /** Null: no answer. */
  async answer(route, context) {
    const fault = this.faults.request({ operation: route.operation, operationId: route.operation });
    if (fault) this.log.write('fault', { operation: route.operation, status: fault.status ?? null, drop: fault.drop ?? false, name: fault.name ?? null });
    if (fault?.hang) await new Promise((resolve) => { context.response.on('close', resolve); });
    if (fault?.hang || fault?.drop === 'before') return null;
    if (fault?.delay_ms) await sleep(fault.delay_ms);
    const worked = fault?.status && !fault.work ? null : await this.work(route, context);
    if (fault?.drop) return null;
    return fault?.status ? { status: fault.status, headers: fault.headers, body: fault.body ?? { message: 'Server Error' } } : worked;
  }

  work(route, context) {
    const [, scheme, credential] = /^(\S+) (\S+)$/.exec(context.request.headers.authorization ?? '') ?? [];
    if (route.who === 'admin') {
      const grant = this.admins.get(credential);
      if (scheme !== 'Bearer' || !grant || grant.expiresAt <= Date.now()) return { status: 401, body: { message: 'the admin token is not valid' } };
      if (context.query.get('api-version') !== '6.0-preview') return { status: 400, body: { message: 'api-version' } };
      context.scope = grant.scope;
    }
    if (context.params.set !== undefined && (!context.set || (context.scope && context.set.scope !== context.scope.key))) return noSet();
    if (route.who === 'queue') {
      const { session } = context.set;
      if (!session || session.token !== credential || session.expiresAt <= Date.now()) return { status: 401, body: { message: 'the queue token has expired' } };
    }
    context.body = parseJson(context.raw);
    return route.handle({ ...context, scheme, credential });
  }

  finish({ request, response, url }, route, answer) {
    this.log.write('request', { operation: route?.operation ?? 'unknown', method: request.method, path: url.pathname, status: answer?.status ?? 0, auth: 'set' });
    if (answer === null) return request.socket.destroy();
    const text = answer.body === undefined ? '' : BYTE_ORDER_MARK + JSON.stringify(answer.body);
    return send(response, answer.status, { ActivityId: guid(), ...(text ? { 'Content-Type': 'application/json; charset=utf-8' } : {}), ...answer.headers }, text);
  }

  // ---- the handlers -----------------------------------------------------------------------------

  connect({ scheme, credential, body }) {
    const scope = this.registrations.get(credential);
    if (scheme !== 'RemoteAuth' || !scope || scope.expiresAt <= Date.now()) return { status: 401, body: { message: 'Bad credentials' } };
    const place = new URL(body.url).pathname.replace(/^\/|\/$/g, '').toLowerCase();
    if (body.runner_event !== 'register' || place !== scope.key.toLowerCase()) return { status: 404, body: { message: 'Not Found' } };
    const expiresAt = Date.now() + this.config.set_admin_token_s * 1000;
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ exp: Math.floor(expiresAt / 1000), jti: guid() })}.${hex(32)}`;
    this.admins.set(token, { scope, expiresAt });
    return { status: 200, body: { url: `${this.baseUrl()}${BASE}${this.tenant}/`, token } };
  }

  groupsOf(scope) {
    const groups = [...scope.owner.groups.values()];
    return scope.repository ? groups.filter((group) => group.id === 1) : groups;
  }

  groups({ scope, query }) {
    const name = (query.get('groupName') ?? '').toLowerCase();
    return list(this.groupsOf(scope).filter((group) => group.name.toLowerCase() === name)
      .map((group) => ({ id: group.id, name: group.name, size: 0, isDefaultGroup: group.id === 1 })));
  }

  view(set) {
    return {
      id: set.id, name: set.name, runnerGroupId: set.group.id, runnerGroupName: set.group.name, labels: set.labels.map((name, i) => ({ id: i + 1, name, type: 'System' })),
      RunnerSetting: set.setting, createdOn: new Date(set.createdAt).toISOString(), runnerJitConfigUrl: `${this.baseUrl()}${BASE}${this.tenant}/${SETS}/${set.id}/generatejitconfig`,
      statistics: this.sets.statistics(set),
    };
  }

  find({ scope, query }) {
    const set = this.sets.find(scope, Number(query.get('runnerGroupId')), query.get('name') ?? '');
    return list(set ? [this.view(set)] : []);
  }

  create({ scope, body }) {
    const group = this.groupsOf(scope).find((g) => g.id === (body.runnerGroupId ?? 1));
    const labels = (body.labels ?? []).map((label) => label.name);
    if (typeof body.name !== 'string' || body.name === '' || labels.length === 0) return refusal(400, 'ArgumentException', 'a set has a name and labels');
    if (!group) return refusal(404, 'RunnerGroupNotFoundException', 'No runner group found.');
    if (this.sets.find(scope, group.id, body.name)) return refusal(409, 'RunnerScaleSetExistsException', `Runner scale set ${body.name} already exists.`);
    return { status: 200, body: this.view(this.sets.create(scope, { name: body.name, group, labels, setting: body.RunnerSetting ?? {} })) };
  }

  update({ set, body }) {
    if (body.name) set.name = body.name;
    if (body.RunnerSetting) set.setting = body.RunnerSetting;
    return { status: 200, body: this.view(set) };
  }

  session(set) {
    return {
      sessionId: set.session.id, ownerName: set.session.ownerName, runnerScaleSet: this.view(set), statistics: this.sets.statistics(set),
      messageQueueUrl: `${this.baseUrl()}${BASE}${this.tenant}/queue/${set.id}?sessionId=${set.session.id}`, messageQueueAccessToken: set.session.token,
    };
  }

  open({ set, body }) {
    const session = this.sets.openSession(set, body?.ownerName ?? '');
    return session ? { status: 200, body: this.session(set) }
      : refusal(409, 'RunnerScaleSetSessionConflictException', `The runner scale set ${set.name} already has an active session for owner ${set.session.ownerName}.`);
  }

  renew({ set, params }) {
    if (set.session?.id !== params.session) return refusal(404, 'RunnerScaleSetSessionNotFoundException', 'No session found.');
    this.sets.renew(set);
    return { status: 200, body: this.session(set) };
  }

  close({ set, params }) {
    if (set.session?.id !== params.session) return refusal(404, 'RunnerScaleSetSessionNotFoundException', 'No session found.');
    this.sets.closeSession(set, 'deleted');
    return { status: 204 };
  }

  async generate({ set, body }) {
    if (this.fleet.findByName(set.scope, body.name)) return refusal(409, 'AgentExistsException', `A runner exists with the same name ${body.name}.`);
    const runner = this.fleet.register({ owner: set.owner, repository: set.repository, group: set.group, name: body.name, labels: set.labels, workFolder: body.workFolder ?? '_work' });
    runner.set = set;
    const encodedJITConfig = await this.mint.mint(runner, this.protocol.addresses(runner), this.config.web_url);
    return { status: 200, body: { runner: agentView(runner), encodedJITConfig } };
  }

  acquire({ set, body }) {
    if (this.config.set_assignment !== 'acquire') return { status: 404, body: { message: 'Not Found' } };
    return list(this.sets.acquire(set, body));
  }

  agents({ scope }) {
    return [...this.fleet.runners.values()].filter((runner) => runner.scope === scope.key);
  }

  withAgent(context, act) {
    const runner = this.agents(context).find((r) => r.id === Number(context.params.agent));
    return runner ? act(runner) : refusal(404, 'AgentNotFoundException', 'No agent found.');
  }

  removeAgent(runner) {
    if (runner.job) return refusal(400, 'JobStillRunningException', `The runner ${runner.name} runs a job.`);
    this.fleet.remove(runner, 'deleted');
    return { status: 204 };
  }

  poll({ set, request, response }) {
    const capacity = Number.parseInt(request.headers['x-scalesetmaxcapacity'] ?? '', 10);
    if (!Number.isInteger(capacity) || capacity < 0) return { status: 400, body: { message: 'X-ScaleSetMaxCapacity' } };
    if (!/api-version=6\.0-preview/.test(request.headers.accept ?? '')) return { status: 400, body: { message: 'Accept' } };
    return new Promise((resolve) => {
      const answer = (message) => resolve(message ? { status: 200, body: message } : { status: 202 });
      response.on('close', () => this.sets.abandonPoll(set, answer));
      this.sets.poll(set, capacity, this.config.set_poll_s * 1000, answer);
    });
  }

  deleteMessage({ set, params }) {
    this.sets.deleteMessage(set, Number(params.message));
    return { status: 204 };
  }
}

function agentView(runner) {
  return { id: runner.id, name: runner.name, runnerScaleSetId: runner.set?.id ?? 0 };
}

/*
 * The REST face: one pass per request through the checks that GitHub makes, in its order, and then the handler.
 * A handler gets a context and returns {status, body, headers}; what is wrong it throws as an ApiError.
 */
import { BadRequest, Router, readBody, send, sendJson, sleep } from '../../lib/http.mjs';
import { ApiError, etagOf, notFound, readJson } from './http.mjs';
import { requestId } from './ids.mjs';
import { withWebUrl } from './payloads.mjs';
import { addAppRoutes } from './rest_app.mjs';
import { addDeliveryRoutes } from './rest_deliveries.mjs';
import { addHookRoutes } from './rest_hooks.mjs';
import { addJobRoutes } from './rest_jobs.mjs';
import { addManifestRoutes } from './manifest.mjs';
import { addRunnerRoutes } from './rest_runners.mjs';

const API_VERSIONS = new Set(['2022-11-28', '2026-03-10']);
const DEFAULT_VERSION = '2022-11-28';
const NO_AGENT = 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header '
  + '(https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). '
  + 'Check https://developer.github.com for other possible causes.\n';
const RANK = { read: 1, write: 2, admin: 3 };

/** Resolves when the caller gave up. */
const hungUp = (response) => new Promise((resolve) => { response.on('close', resolve); });

export class Rest {
  constructor(parts) {
    Object.assign(this, parts);
    this.router = new Router();
    this.operations = new Map();
    for (const add of [addAppRoutes, addRunnerRoutes, addJobRoutes, addHookRoutes, addDeliveryRoutes, addManifestRoutes]) add(this.router, this);
  }

  async handle(request, response, url) {
    const startedAt = Date.now();
    const context = {
      request, response, method: request.method, query: url.searchParams, requestId: requestId(), headers: {},
      base: `http://${request.headers.host ?? 'localhost'}`, path: url.pathname, auth: { kind: 'none', bucket: 'none' },
      route: null, params: {}, body: undefined, rest: this,
    };
    const inner = url.pathname.startsWith('/api/v3/') ? url.pathname.slice('/api/v3'.length) : url.pathname;
    context.apiBase = context.base + (inner === url.pathname ? '' : '/api/v3');
    this.limits.inFlight += 1;
    try {
      const answer = await this.answer(context, inner);
      this.finish(context, answer, startedAt);
    } catch (error) {
      this.fail(context, error, startedAt);
    } finally {
      this.limits.inFlight -= 1;
    }
  }

  async answer(context, path) {
    const { request } = context;
    const raw = await readBody(request);
    const { route, params, known } = this.router.find(context.method, path);
    Object.assign(context, { route, params });
    if (!request.headers['user-agent']) {
      return { status: 403, text: NO_AGENT, headers: { 'Content-Type': 'text/html; charset=utf-8' } };
    }
    this.checkVersion(request.headers['x-github-api-version']);
    context.auth = this.auth.identify(request.headers.authorization);
    if (!route) throw known ? new ApiError(405, 'Method Not Allowed') : notFound();
    context.version = request.headers['x-github-api-version'] ?? DEFAULT_VERSION;
    const fault = this.faults.request(route, this.subject(context));
    if (fault) return this.faulty(context, fault, raw);
    return this.work(context, raw);
  }

  /** The owner and the repository that a request is about, by its path or else by its token. */
  subject({ params, auth }) {
    const owner = params.enterprise ?? params.org ?? params.owner ?? (params.installation_id && auth.app ? this.auth.ownerOf(auth.app, Number(params.installation_id)) : auth.owner)?.login;
    return { owner: owner ?? null, repository: params.repo ? `${params.owner}/${params.repo}` : null };
  }

  async work(context, raw) {
    const { route, auth } = context;
    this.authorise(context);
    context.body = readJson(raw);
    if (this.validator) this.validate(context);
    if (!route.free) this.limits.charge(auth, route, context.requestId);
    return route.handle(context);
  }

  async faulty(context, fault, raw) {
    this.log.write('fault', { operation: context.route.operation, status: fault.status ?? null, drop: fault.drop ?? false, name: fault.name ?? null });
    if (fault.hang) await hungUp(context.response);
    if (fault.hang || fault.drop === 'before') return { drop: true };
    if (fault.delay_ms) await sleep(fault.delay_ms);
    let answer = null;
    if (fault.drop || fault.work || !fault.status) answer = await this.work(context, raw);
    if (fault.drop) return { ...answer, drop: true };
    if (!fault.status) return { ...answer, headers: { ...answer.headers, ...fault.headers } };
    const body = fault.body ?? { message: 'Server Error' };
    const rest = typeof body === 'string' ? { text: body } : { body };
    return { status: fault.status, headers: fault.headers ?? {}, ...rest };
  }

  checkVersion(version) {
    if (version !== undefined && !API_VERSIONS.has(version)) {
      throw new ApiError(400, `Unsupported API version "${version}".`, {
        documentation: 'https://docs.github.com/rest/about-the-rest-api/api-versions',
      });
    }
  }

  /** App endpoints take the App's JWT alone; the others never do. Whose token it is decides what it can see. */
  authorise({ route, auth, params, headers }) {
    if (route.auth === 'any') return;
    if (route.auth === 'app') {
      if (auth.kind !== 'app') throw new ApiError(401, 'A JSON web token could not be decoded');
      return;
    }
    if (auth.kind === 'none') throw new ApiError(401, 'Requires authentication');
    if (auth.kind === 'app') throw new ApiError(403, 'Resource not accessible by integration');
    if (auth.kind !== 'installation') return;
    if (params.enterprise !== undefined) throw new ApiError(403, 'Resource not accessible by integration'); // no App's API
    if (!route.permission) return;
    const [name, level] = route.permission;
    headers['x-accepted-github-permissions'] = `${name}=${level}`;
    const login = params.org ?? params.owner;
    if (login.toLowerCase() !== auth.owner.login.toLowerCase()) throw notFound();
    if (auth.repositories && params.repo && !auth.repositories.includes(`${login}/${params.repo}`.toLowerCase())) throw notFound();
    if (Math.min(RANK[auth.permissions[name]] ?? 0, RANK[this.world.permissions[name]] ?? 0) < RANK[level]) throw new ApiError(403, 'Resource not accessible by integration');
  }

  validate(context) {
    const problems = this.validator.request(context);
    if (problems.length === 0) return;
    this.log.write('invalid_request', { operation: context.route.operation, path: context.path, problems });
    this.invalid += 1;
    throw new ApiError(500, `The request does not conform to GitHub's OpenAPI description: ${problems.join('; ')}`);
  }

  commonHeaders(context) {
    const counted = context.route?.free && context.auth.kind === 'none' ? {} : this.limits.headers(context.auth);
    return {
      Server: 'github.com',
      'X-GitHub-Request-Id': context.requestId,
      'X-GitHub-Media-Type': 'github.v3; format=json',
      'x-github-api-version-selected': context.version ?? DEFAULT_VERSION,
      'Cache-Control': 'private, max-age=60, s-maxage=60',
      Vary: 'Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With',
      ...counted,
      ...context.headers,
    };
  }

  finish(context, answer, startedAt) {
    const { request, response } = context;
    if (answer.drop) {
      this.record(context, 0, startedAt);
      request.socket.destroy();
      return;
    }
    const body = answer.text ?? (answer.body === undefined ? '' : withWebUrl(JSON.stringify(answer.body), this.config.web_url));
    let { status } = answer;
    const headers = { 'Content-Type': 'application/json; charset=utf-8', ...answer.headers };
    if (status === 204) delete headers['Content-Type'];
    if (status === 200 && context.method === 'GET') {
      headers.ETag = etagOf(body);
      if (request.headers['if-none-match'] === headers.ETag) {
        status = 304;
        this.limits.refund(context.auth);
      }
    }
    const common = this.commonHeaders(context);
    this.record(context, status, startedAt);
    send(response, status, { ...common, ...headers }, body);
  }

  fail(context, error, startedAt) {
    const known = error instanceof BadRequest;
    if (!known) this.log.write('internal_error', { path: context.path, error: String(error?.stack ?? error) });
    const status = known ? error.status : 500;
    this.record(context, status, startedAt);
    const headers = { ...this.commonHeaders(context), ...(known ? error.headers : {}) };
    sendJson(context.response, status, known ? error.body ?? { message: error.message } : { message: 'Server Error' }, headers);
  }

  record(context, status, startedAt) {
    const operation = context.route?.operation ?? 'unknown';
    this.operations.set(operation, (this.operations.get(operation) ?? 0) + 1);
    this.log.write('request', {
      operation, method: context.method, path: context.path, status, auth: context.auth.kind, app: context.auth.app?.id ?? null, installation: context.auth.installationId ?? null,
      request_id: context.requestId, ms: Date.now() - startedAt,
    });
  }
}

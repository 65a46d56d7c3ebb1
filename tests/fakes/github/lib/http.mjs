/*
 * What the three faces of the fake (REST, runner protocol, control) share: a router, bodies, answers, errors.
 */
import crypto from 'node:crypto';

const BODY_LIMIT = 8 << 20;
const DOCS = 'https://docs.github.com/rest';

/** An answer other than success. `documentation` is a whole address; `headers` are added to the answer. */
export class ApiError extends Error {
  constructor(status, message, { documentation = DOCS, headers = {}, body = null } = {}) {
    super(message);
    Object.assign(this, { status, headers, body: body ?? { message, documentation_url: documentation, status: String(status) } });
  }
}

export const notFound = () => new ApiError(404, 'Not Found');

/** Routes are looked up by their number of segments first; `{name}` stands for one segment. */
export class Router {
  constructor() {
    this.routes = [];
    this.bySize = new Map();
  }

  add(method, template, route) {
    const segments = template.split('/').slice(1);
    const entry = { method, template, segments, names: segments.map((s) => (/^\{(.*)\}$/.exec(s) ?? [])[1]), ...route };
    this.routes.push(entry);
    if (!this.bySize.has(segments.length)) this.bySize.set(segments.length, []);
    this.bySize.get(segments.length).push(entry);
  }

  /** Returns {route, params}, or {known} telling whether the path exists under another method. */
  find(method, path) {
    const segments = path.split('/').slice(1);
    let known = false;
    for (const route of this.bySize.get(segments.length) ?? []) {
      if (!route.segments.every((segment, i) => route.names[i] || segment === segments[i])) continue;
      known = true;
      if (route.method !== method) continue;
      const params = {};
      route.names.forEach((name, i) => {
        if (name) params[name] = decodeURIComponent(segments[i]);
      });
      return { route, params, known };
    }
    return { route: null, known };
  }
}

export function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size > BODY_LIMIT) reject(new ApiError(413, 'Payload too large'));
      else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('error', reject);
  });
}

export function parseJson(buffer) {
  if (buffer.length === 0) return undefined;
  try {
    return JSON.parse(buffer.toString('utf8'));
  } catch {
    throw new ApiError(400, 'Problems parsing JSON');
  }
}

export const etagOf = (text) => `W/"${crypto.createHash('sha256').update(text).digest('hex')}"`;

export function send(response, status, headers, body) {
  const buffer = Buffer.isBuffer(body) ? body : Buffer.from(body ?? '');
  const bodyless = status === 204 || status === 304;
  response.writeHead(status, bodyless ? headers : { ...headers, 'Content-Length': buffer.length });
  response.end(bodyless ? undefined : buffer);
}

export function sendJson(response, status, value, headers = {}) {
  send(response, status, { 'Content-Type': 'application/json; charset=utf-8', ...headers }, JSON.stringify(value));
}

export function sendText(response, status, text) {
  send(response, status, { 'Content-Type': 'text/plain; charset=utf-8' }, text);
}

/** One page of a list by number, with GitHub's Link header. */
export function paginate(context, items) {
  const perPage = Math.min(100, Math.max(1, Number.parseInt(context.query.get('per_page') ?? '30', 10) || 30));
  const page = Math.max(1, Number.parseInt(context.query.get('page') ?? '1', 10) || 1);
  const last = Math.max(1, Math.ceil(items.length / perPage));
  const link = (number, rel) => {
    const query = new URLSearchParams(context.query);
    query.set('page', String(number));
    return `<${context.base}${context.path}?${query}>; rel="${rel}"`;
  };
  const links = [];
  if (page > 1) links.push(link(Math.min(page - 1, last), 'prev'));
  if (page < last) links.push(link(page + 1, 'next'), link(last, 'last'));
  if (page > 1) links.push(link(1, 'first'));
  return {
    items: items.slice((page - 1) * perPage, page * perPage),
    headers: links.length > 0 ? { Link: links.join(', ') } : {},
  };
}

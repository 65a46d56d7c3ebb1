/* What every face of a stand-in shares: the listening server, a router, bodies, answers. */
import http from 'node:http';

const KEEP_ALIVE_MS = 75_000;

/** What a caller did wrong; the control answers with the status, a service in its own way. */
export class BadRequest extends Error {
  constructor(message, status = 400) {
    super(message);
    this.status = status;
  }
}

/** Routes are looked up by their number of segments first; `{name}` stands for one segment, percent-decoded. */
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

  /** Returns {route, params}; without a route, `known` tells whether the path exists under another method. */
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
    return { route: null, params: {}, known };
  }
}

export function readBody(request, limit = 8 << 20) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size > limit) reject(new BadRequest('the body is too large', 413));
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
    throw new BadRequest('the body is no JSON');
  }
}

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

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/**
 * The part of a stand-in that listens, on the loopback address only: /_fake/ goes to the control, all else to
 * `route(request, response, url)`. A route that throws is a bug of the stand-in: it is logged, the connection closed.
 */
export class LoopbackServer {
  constructor({ port, log, control, route }) {
    Object.assign(this, { wantedPort: port, log, control, route });
    this.server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
      this.dispatch(request, response).catch((error) => {
        this.log.write('internal_error', { path: request.url, error: String(error.stack) });
        request.socket.destroy();
      });
    });
  }

  async dispatch(request, response) {
    const url = new URL(request.url.replace(/^https?:\/\/[^/]+/, ''), 'http://localhost');
    if (url.pathname.startsWith('/_fake/')) return this.control.handle(request, response, url);
    return this.route(request, response, url);
  }

  listen() {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port: this.wantedPort, host: '127.0.0.1', backlog: 4096 }, () => {
        this.port = this.server.address().port;
        this.url = `http://127.0.0.1:${this.port}`;
        this.log.write('started', { url: this.url, pid: process.pid });
        resolve(this.url);
      });
    });
  }

  async stop() {
    const closed = new Promise((resolve) => {
      this.server.close(resolve);
    });
    this.server.closeAllConnections();
    await closed;
    this.log.write('stopped');
    this.log.close();
  }
}

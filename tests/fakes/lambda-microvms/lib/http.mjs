/* What the two faces of the fake (the service, the control) share: a router, bodies, answers. */

const BODY_LIMIT = 1 << 20;

/** Routes are looked up by their number of segments; `{name}` stands for one segment, percent-decoded. */
export class Router {
  constructor() {
    this.bySize = new Map();
  }

  add(method, template, route) {
    const segments = template.split('/').slice(1);
    const entry = { method, segments, names: segments.map((s) => (/^\{(.*)\}$/.exec(s) ?? [])[1]), ...route };
    if (!this.bySize.has(segments.length)) this.bySize.set(segments.length, []);
    this.bySize.get(segments.length).push(entry);
  }

  find(method, path) {
    const segments = path.split('/').slice(1);
    for (const route of this.bySize.get(segments.length) ?? []) {
      if (route.method !== method || !route.segments.every((s, i) => route.names[i] || s === segments[i])) continue;
      const params = {};
      route.names.forEach((name, i) => {
        if (name) params[name] = decodeURIComponent(segments[i]);
      });
      return { route, params };
    }
    return null;
  }
}

export function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size > BODY_LIMIT) reject(new RangeError('the body is too large'));
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
    throw new RangeError('the body is no JSON');
  }
}

export function send(response, status, headers, body) {
  const buffer = Buffer.from(body ?? '');
  response.writeHead(status, { ...headers, 'Content-Length': buffer.length });
  response.end(buffer);
}

export function sendJson(response, status, value) {
  send(response, status, { 'Content-Type': 'application/json' }, JSON.stringify(value));
}

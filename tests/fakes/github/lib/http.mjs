/* What the REST face adds to the shared http.mjs: GitHub's errors, ETags and pages. */
import crypto from 'node:crypto';
import { BadRequest, parseJson } from '../../lib/http.mjs';

const DOCS = 'https://docs.github.com/rest';

/** An answer other than success. `documentation` is a whole address; `headers` are added to the answer. */
export class ApiError extends BadRequest {
  constructor(status, message, { documentation = DOCS, headers = {}, body = null } = {}) {
    super(message, status);
    Object.assign(this, { headers, body: body ?? { message, documentation_url: documentation, status: String(status) } });
  }
}

export const notFound = () => new ApiError(404, 'Not Found');
export const suspended = () => new ApiError(403, 'This installation has been suspended');

/** As the shared reader of bodies, but in GitHub's words. */
export function readJson(buffer) {
  try {
    return parseJson(buffer);
  } catch {
    throw new ApiError(400, 'Problems parsing JSON');
  }
}

export const etagOf = (text) => `W/"${crypto.createHash('sha256').update(text).digest('hex')}"`;

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

/*
 * Rate limits. Primary: a number of requests per window and credential, told in x-ratelimit-* headers.
 * Secondary, each off unless configured: points per minute and operation, requests in flight, registrations
 * per five minutes. A refused request costs nothing more.
 */
import { ApiError } from './http.mjs';

const RATE_DOCS = 'https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api';
const ANONYMOUS_LIMIT = 60;
const SECONDARY = 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again. '
  + 'If you reach out to GitHub Support for help, please include the request ID';

export class Limits {
  constructor(config) {
    Object.assign(this, { config, buckets: new Map(), windows: new Map(), inFlight: 0 });
  }

  bucket(auth) {
    const now = Date.now();
    let bucket = this.buckets.get(auth.bucket);
    if (!bucket || bucket.resetMs <= now) {
      bucket = { used: 0, resetMs: now + this.config.rate_window_s * 1000 };
      this.buckets.set(auth.bucket, bucket);
    }
    return bucket;
  }

  limitOf(auth) {
    return auth.kind === 'none' ? ANONYMOUS_LIMIT : auth.owner?.rateLimit ?? this.config.rate_limit;
  }

  view(auth) {
    const { used, resetMs } = this.bucket(auth);
    const limit = this.limitOf(auth);
    return { limit, remaining: Math.max(0, limit - used), reset: Math.ceil(resetMs / 1000), used: Math.min(used, limit) };
  }

  headers(auth) {
    const { limit, remaining, reset, used } = this.view(auth);
    return {
      'x-ratelimit-limit': String(limit), 'x-ratelimit-remaining': String(remaining), 'x-ratelimit-reset': String(reset),
      'x-ratelimit-used': String(used), 'x-ratelimit-resource': 'core',
    };
  }

  /** Charges a request, or throws the answer that refuses it. */
  charge(auth, route, requestId) {
    const bucket = this.bucket(auth);
    if (bucket.used >= this.limitOf(auth)) {
      const who = auth.kind === 'installation' ? `installation ID ${auth.installationId}` : 'user ID 1';
      throw new ApiError(this.config.rate_status, `API rate limit exceeded for ${who}. If you reach out to GitHub Support for `
        + `help, please include the request ID ${requestId} and timestamp ${new Date().toISOString()} UTC.`, { documentation: RATE_DOCS });
    }
    this.chargeSecondary(auth, route, requestId);
    bucket.used += 1;
  }

  /** An answer 304 is free. */
  refund(auth) {
    const bucket = this.bucket(auth);
    bucket.used = Math.max(0, bucket.used - 1);
  }

  chargeSecondary(auth, route, requestId) {
    const { secondary_points: points, secondary_concurrent: concurrent } = this.config;
    const refuse = (retryAfter) => {
      throw new ApiError(403, `${SECONDARY} ${requestId}.`, {
        documentation: `${RATE_DOCS}#about-secondary-rate-limits`, headers: { 'retry-after': String(retryAfter) },
      });
    };
    if (concurrent > 0 && this.inFlight > concurrent) refuse(60);
    if (points > 0) {
      const wait = this.count(`points ${auth.bucket} ${route.operation}`, route.method === 'GET' ? 1 : 5, points, 60_000);
      if (wait > 0) refuse(wait);
    }
  }

  registration(scope) {
    const limit = this.config.registrations_per_5min;
    const wait = limit > 0 ? this.count(`registrations ${scope}`, 1, limit, 300_000) : 0;
    if (wait > 0) throw new ApiError(403, `${SECONDARY}.`, { documentation: RATE_DOCS, headers: { 'retry-after': String(wait) } });
  }

  /** Adds to a fixed window; returns the seconds to wait when that would go over, else 0. */
  count(key, amount, limit, spanMs) {
    const now = Date.now();
    let window = this.windows.get(key);
    if (!window || window.endMs <= now) {
      window = { sum: 0, endMs: now + spanMs };
      this.windows.set(key, window);
    }
    if (window.sum + amount > limit) return Math.max(1, Math.ceil((window.endMs - now) / 1000));
    window.sum += amount;
    return 0;
  }
}

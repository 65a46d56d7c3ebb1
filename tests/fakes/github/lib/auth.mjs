/*
 * Who is asking: an App by its JWT, an installation by the token it was given, a person by a personal access
 * token, or nobody. Messages and statuses are GitHub's.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { hex } from './ids.mjs';
import { ApiError, suspended } from './http.mjs';

const MAX_JWT_LIFE_S = 600;
const CLOCK_SLACK_S = 10;
const NUMERIC_EXP = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
const LATE_EXP = "'Expiration time' claim ('exp') is too far in the future";
const NUMERIC_IAT = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
const UNDECODABLE = 'A JSON web token could not be decoded';

const b64 = (value) => Buffer.from(value).toString('base64url');

function decodePart(text) {
  const value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  if (value === null || typeof value !== 'object') throw new SyntaxError('not an object');
  return value;
}

export class Auth {
  constructor({ config, world, log }) {
    Object.assign(this, { config, world, log });
    this.tokens = new Map();
    this.appKey = config.app_key ? crypto.createPublicKey(fs.readFileSync(config.app_key)) : null;
    this.createdAt = Date.now();
  }

  get hasApp() {
    return this.config.app_id !== null;
  }

  identify(header) {
    if (!header) return { kind: 'none', bucket: 'none' };
    const [, scheme, credential] = /^(\S+)\s+(.+)$/.exec(header) ?? [];
    if (!scheme || !['bearer', 'token'].includes(scheme.toLowerCase())) throw new ApiError(401, 'Bad credentials');
    if (credential.startsWith('ghs_')) return this.installation(credential);
    if (credential.split('.').length === 3) return this.app(credential);
    return this.personal(credential);
  }

  installation(token) {
    const grant = this.tokens.get(token);
    if (!grant || grant.expiresAt <= Date.now() || Date.now() < grant.madeAt + this.config.token_lag_ms) throw new ApiError(401, 'Bad credentials');
    if (grant.owner.suspended) throw suspended();
    return { kind: 'installation', bucket: `installation ${grant.owner.installationId}`, ...grant };
  }

  personal(token) {
    const open = this.config.token === null && !this.hasApp;
    const given = crypto.createHash('sha256').update(token).digest();
    const wanted = crypto.createHash('sha256').update(this.config.token ?? '').digest();
    if (!open && (this.config.token === null || !crypto.timingSafeEqual(given, wanted))) throw new ApiError(401, 'Bad credentials');
    return { kind: 'pat', bucket: 'pat' };
  }

  app(jwt) {
    const [head, body, signature] = jwt.split('.');
    let claims;
    try {
      const header = decodePart(head);
      claims = decodePart(body);
      const signed = Buffer.from(`${head}.${body}`);
      if (header.alg !== 'RS256' || !this.appKey) throw new SyntaxError('algorithm');
      if (!crypto.verify('sha256', signed, this.appKey, Buffer.from(signature, 'base64url'))) throw new SyntaxError('signature');
    } catch {
      throw new ApiError(401, UNDECODABLE);
    }
    this.checkClaims(claims);
    return { kind: 'app', bucket: 'app' };
  }

  checkClaims({ iat, exp, iss }) {
    const now = Math.floor(Date.now() / 1000);
    if (!Number.isInteger(exp) || exp <= now) throw new ApiError(401, NUMERIC_EXP);
    if (!Number.isInteger(iat) || iat > now + CLOCK_SLACK_S) throw new ApiError(401, NUMERIC_IAT);
    if (exp > now + MAX_JWT_LIFE_S + CLOCK_SLACK_S || exp - iat > MAX_JWT_LIFE_S + 60 + CLOCK_SLACK_S) {
      throw new ApiError(401, LATE_EXP);
    }
    if (String(iss) !== String(this.config.app_id) && iss !== this.config.client_id) throw new ApiError(404, 'Integration not found');
  }

  /** Mints an installation token; the long format is what GitHub gives since 2026. */
  grant(owner, { permissions, repositories, long }) {
    const expiresAt = Date.now() + this.config.token_lifetime_s * 1000;
    const token = long ? this.longToken(owner, expiresAt) : `ghs_${hex(18)}`;
    const grant = { owner, permissions, repositories, expiresAt, madeAt: Date.now() };
    this.tokens.set(token, grant);
    this.log.write('token_minted', { installation: owner.installationId, length: token.length, expires_ms: expiresAt });
    return { token, ...grant };
  }

  /** GitHub's published pattern for these tokens, ghs_[A-Za-z0-9._]{36,}, knows no hyphen. */
  longToken(owner, expiresAt) {
    const payload = { iss: 'github.com', sub: `installation:${owner.installationId}`, exp: Math.floor(expiresAt / 1000), jti: hex(8) };
    const jwt = [b64(JSON.stringify({ alg: 'RS256', typ: 'JWT' })), b64(JSON.stringify(payload)), crypto.randomBytes(256).toString('base64url')];
    return `ghs_${this.config.app_id}_${jwt.join('.').replaceAll('-', 'A')}`;
  }
}

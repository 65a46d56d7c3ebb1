/*
 * Who is asking: an App by its JWT, an installation by the token it was given, a person by a personal access
 * token, or nobody. Messages and statuses are GitHub's.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { hex, stableId } from './ids.mjs';
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
    this.apps = []; // the first has the hook
    if (config.app_id !== null) this.setApp({ id: config.app_id, keys: config.app_key ? [config.app_key] : [] });
    this.createdAt = Date.now();
  }

  get hasApp() {
    return this.apps.length > 0;
  }

  /** Adds or changes an App: {id, keys: PEM files (any of them is accepted), owners: where it is installed (null: everywhere), suspended: by whom}. */
  setApp({ id, keys, owners, suspended }) {
    let app = this.apps.find((one) => one.id === id);
    if (!app) this.apps.push(app = { id, keys: [], owners: null, suspended: [] });
    const names = (list) => list.map((name) => name.toLowerCase());
    if (keys) app.keys = keys.map((file) => crypto.createPublicKey(fs.readFileSync(file)));
    if (owners !== undefined) app.owners = owners && names(owners);
    if (suspended) app.suspended = names(suspended);
    return app;
  }

  /** The App that was made from a manifest takes the first one's place. */
  replaceFirst(id, key) {
    this.apps[0] = { id, keys: [crypto.createPublicKey(key)], owners: null, suspended: [] };
  }

  isFirst(app) {
    return app === this.apps[0];
  }

  isInstalled(app, owner) {
    return app.owners === null || app.owners.includes(owner.login.toLowerCase());
  }

  /** Each App has an installation of its own on an owner. */
  installationId(app, owner) {
    return this.isFirst(app) ? owner.installationId : stableId(`installation ${owner.login.toLowerCase()} of ${app.id}`);
  }

  isSuspended(app, owner) {
    return (this.isFirst(app) && owner.suspended) || app.suspended.includes(owner.login.toLowerCase());
  }

  /** The owner of an App's installation. */
  ownerOf(app, installation) {
    for (const owner of this.world.owners.values()) if (this.isInstalled(app, owner) && this.installationId(app, owner) === installation) return owner;
    return undefined;
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
    if (this.isSuspended(grant.app, grant.owner)) throw suspended();
    const id = this.installationId(grant.app, grant.owner);
    return { kind: 'installation', bucket: `installation ${id}`, installationId: id, ...grant };
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
    let app;
    try {
      const header = decodePart(head);
      claims = decodePart(body);
      app = this.apps.find((one) => String(one.id) === String(claims.iss)) ?? this.apps[0];
      const signed = Buffer.from(`${head}.${body}`);
      if (header.alg !== 'RS256') throw new SyntaxError('algorithm');
      const verifies = (key) => crypto.verify('sha256', signed, key, Buffer.from(signature, 'base64url'));
      if (!app?.keys.some(verifies)) throw new SyntaxError('signature');
    } catch {
      throw new ApiError(401, UNDECODABLE);
    }
    this.checkClaims(claims, app);
    return { kind: 'app', bucket: this.isFirst(app) ? 'app' : `app ${app.id}`, app };
  }

  checkClaims({ iat, exp, iss }, app) {
    const now = Math.floor(Date.now() / 1000);
    if (!Number.isInteger(exp) || exp <= now) throw new ApiError(401, NUMERIC_EXP);
    if (!Number.isInteger(iat) || iat > now + CLOCK_SLACK_S) throw new ApiError(401, NUMERIC_IAT);
    if (exp > now + MAX_JWT_LIFE_S + CLOCK_SLACK_S || exp - iat > MAX_JWT_LIFE_S + 60 + CLOCK_SLACK_S) {
      throw new ApiError(401, LATE_EXP);
    }
    if (String(iss) !== String(app.id) && iss !== this.config.client_id) throw new ApiError(404, 'Integration not found');
  }

  /** Mints an installation token; the long format is what GitHub gives since 2026. */
  grant(app, owner, { permissions, repositories, long }) {
    const expiresAt = Date.now() + this.config.token_lifetime_s * 1000;
    const installation = this.installationId(app, owner);
    const token = long ? this.longToken(app, installation, expiresAt) : `ghs_${hex(18)}`;
    const grant = { app, owner, permissions, repositories, expiresAt, madeAt: Date.now() };
    this.tokens.set(token, grant);
    this.log.write('token_minted', { app: app.id, installation, length: token.length, expires_ms: expiresAt });
    return { token, ...grant };
  }

  /** GitHub's published pattern for these tokens, ghs_[A-Za-z0-9._]{36,}, knows no hyphen. */
  longToken(app, installation, expiresAt) {
    const payload = { iss: 'github.com', sub: `installation:${installation}`, exp: Math.floor(expiresAt / 1000), jti: hex(8) };
    const jwt = [b64(JSON.stringify({ alg: 'RS256', typ: 'JWT' })), b64(JSON.stringify(payload)), crypto.randomBytes(256).toString('base64url')];
    return `ghs_${app.id}_${jwt.join('.').replaceAll('-', 'A')}`;
  }
}

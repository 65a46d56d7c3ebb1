/*
 * The access keys that a stand-in for AWS accepts: those it was told of (--key, POST /_fake/keys), and those that the
 * stand-in `aws` issued, where both have the same --realm. An issued key needs no word between the two: its session
 * token holds when it ends, sealed with the realm's name, and its secret follows from the token.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { AwsError } from './aws_errors.mjs';
import { OptionError } from './options.mjs';

export const KEY_OPTIONS = [
  { key: 'key', kind: 'list', default: [], help: 'ID:SECRET[:TOKEN] of an access key that is accepted; may repeat' },
  { key: 'realm', kind: 'text', default: null, help: 'keys issued in this realm are accepted; without it and --key none is looked at' },
  { key: 'skew_limit_s', kind: 'number', default: 300, live: true, help: 'a signature made so long before or after now is refused' },
  { key: 'clock_offset_s', kind: 'number', least: -1e9, default: 0, live: true, help: 'the service\'s clock is ahead by this, or behind' },
];

const seal = (realm, text, as) => createHmac('sha256', realm).update(text).digest(as);
const secretOf = (realm, token) => seal(realm, `secret ${token}`, 'base64').slice(0, 40);

/** A token of letters, digits and +/= as AWS's own are, so that what handles it must handle those. */
function seedToken(realm, what) {
  const content = Buffer.from(JSON.stringify(what)).toString('base64');
  return `IQoJ+//${content}//${seal(realm, content, 'base64')}`;
}

const partsOf = (token) => /^IQoJ\+\/\/([A-Za-z0-9+/]+=*)\/\/([A-Za-z0-9+/]{43}=)$/.exec(token ?? '') ?? [];

function openToken(realm, token) {
  const [, content, mac] = partsOf(token);
  if (!content || mac !== seal(realm, content, 'base64')) return null;
  return JSON.parse(Buffer.from(content, 'base64'));
}

const unknown = () => new AwsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
const expired = () => new AwsError('ExpiredTokenException', 'The security token included in the request is expired');

export class Keys {
  constructor(config) {
    Object.assign(this, { config, known: new Map(), revoked: new Map() });
    for (const text of config.key) {
      const [id, secret, ...token] = text.split(':');
      if (!id || !secret) throw new OptionError('--key is ID:SECRET or ID:SECRET:TOKEN');
      this.add({ access_key_id: id, secret_access_key: secret, session_token: token.join(':') || null });
    }
  }

  /** Whether signatures are looked at. */
  get guard() {
    return this.known.size > 0 || this.config.realm !== null;
  }

  /** The service's clock. */
  now() {
    return Date.now() + this.config.clock_offset_s * 1000;
  }

  add({ access_key_id: id, secret_access_key: secret, session_token: token = null, expires_ms: expiresMs = null }) {
    if (!id || !secret) throw new RangeError('a key has access_key_id and secret_access_key');
    this.known.set(id, { secret, token, expiresMs });
  }

  /** A temporary key of the realm, as the services that give credentials write it; an assumed role's is of its account. */
  issue(lifeMs, account = null) {
    const id = `ASIA${[...randomBytes(16)].map((byte) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[byte % 32]).join('')}`;
    const expiresMs = Math.floor((this.now() + lifeMs) / 1000) * 1000;
    const token = seedToken(this.config.realm, { id, expires_ms: expiresMs, ...(account && { account }) });
    return { accessKeyId: id, secretAccessKey: secretOf(this.config.realm, token), sessionToken: token, expiresMs };
  }

  /** The account that an issued key's token names, or null. Whether the token is good, the judge says. */
  accountOf(token) {
    const [, content] = partsOf(token);
    return content ? JSON.parse(Buffer.from(content, 'base64')).account ?? null : null;
  }

  /** `as`: how it is refused from now on, expired or unknown. */
  revoke(id, as = 'expired') {
    if (!['expired', 'unknown'].includes(as)) throw new RangeError('a key is revoked as expired or unknown');
    this.revoked.set(id, as);
  }

  restore(id) {
    this.revoked.delete(id);
  }

  /** The secret that belongs to what a request names; throws what AWS would answer. */
  secretFor(id, token) {
    const how = this.revoked.get(id);
    if (how) throw how === 'expired' ? expired() : unknown();
    const key = this.known.get(id) ?? this.issued(id, token);
    if (!key || (key.token ?? null) !== (token ?? null)) throw unknown();
    if (key.expiresMs !== null && key.expiresMs <= this.now()) throw expired();
    return key.secret;
  }

  issued(id, token) {
    const { realm } = this.config;
    const content = realm !== null && token ? openToken(realm, token) : null;
    return content?.id === id ? { secret: secretOf(realm, token), token, expiresMs: content.expires_ms } : null;
  }
}

/** Judges signatures once there are keys, and resolves with the key's id; a call may be another service's (`found.service`). The judge needs the development packages, so it is fetched when it is needed. */
export function judge(keys, service) {
  return async (request, found) => {
    if (!keys.guard) return null;
    const { verify } = await import('./signature.mjs');
    return verify(request, { keys, service: found?.service ?? service });
  };
}

/*
 * Tokens of runners and of jobs, and how a runner gets its own: an assertion signed with the key of its JIT
 * configuration (RFC 7523). Tokens carry what they are for and a keyed hash, so that none has to be remembered.
 */
import crypto from 'node:crypto';

const LIFETIME_S = 3600;
const CLOCK_SLACK_S = 300;
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const PSS = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_AUTO };

export class Tokens {
  constructor() {
    this.secret = crypto.randomBytes(32);
  }

  sign(text) {
    return crypto.createHmac('sha256', this.secret).update(text).digest('base64url');
  }

  /** `kind` is runner, job or blob; `subject` has no dot. */
  issue(kind, subject, lifetimeS = LIFETIME_S) {
    const text = `${kind}.${subject}.${Math.floor(Date.now() / 1000) + lifetimeS}`;
    return `${text}.${this.sign(text)}`;
  }

  /** The subject of a valid token of that kind, or null. */
  read(kind, token) {
    const [, text, is, subject, until] = /^((\w+)\.([^.]+)\.(\d+))\.[\w-]+$/.exec(token ?? '') ?? [];
    if (!text || is !== kind || Number(until) * 1000 < Date.now()) return null;
    const given = Buffer.from(token.slice(text.length + 1));
    const wanted = Buffer.from(this.sign(text));
    return given.length === wanted.length && crypto.timingSafeEqual(given, wanted) ? subject : null;
  }
}

const refusal = (error, description) => ({ status: 400, body: { error, error_description: description } });

function decode(jwt) {
  const parts = String(jwt).split('.');
  const [head, claims] = parts.slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')));
  return { head, claims, signed: Buffer.from(`${parts[0]}.${parts[1]}`), signature: Buffer.from(parts[2] ?? '', 'base64url') };
}

function signatureIsGood({ head, signed, signature }, key) {
  const schemes = { RS256: { key }, PS256: { key, ...PSS } };
  return Object.hasOwn(schemes, head.alg) && crypto.verify('sha256', signed, schemes[head.alg], signature);
}

/** The answer to a request for a runner's token; `audience` is the AuthorizationUrl of that registration. */
export function exchange({ fleet, tokens }, form, audience) {
  if (form.get('grant_type') !== 'client_credentials') return refusal('unsupported_grant_type', 'grant_type must be client_credentials');
  if (form.get('client_assertion_type') !== ASSERTION) return refusal('invalid_request', 'client_assertion_type must be a JWT bearer');
  let jwt;
  try {
    jwt = decode(form.get('client_assertion'));
  } catch {
    return refusal('invalid_client', 'The assertion could not be decoded.');
  }
  const { iss, sub, aud, exp, nbf, jti } = jwt.claims;
  const runner = fleet.runnersByClient.get(iss);
  if (!runner) return refusal('invalid_client', `Registration ${iss} was not found.`);
  const now = Date.now() / 1000;
  if (!(exp > now && nbf <= now + CLOCK_SLACK_S && exp <= now + 2 * CLOCK_SLACK_S)) {
    return refusal('invalid_client', `The assertion is not valid at this time. Current server time is ${new Date().toISOString()}.`);
  }
  if (sub !== iss || aud !== audience(runner) || !jti) return refusal('invalid_client', 'The assertion names another client or audience.');
  if (!signatureIsGood(jwt, runner.key)) return refusal('invalid_client', 'The signature of the assertion is not valid.');
  return { status: 200, body: { access_token: tokens.issue('runner', runner.clientId), expires_in: LIFETIME_S, token_type: 'bearer' } };
}

/*
 * Judges a request's signature (AWS Signature Version 4, in the header Authorization): AWS's own signer signs again
 * what came, with the secret that belongs to the key it names, and the two must be equal. What AWS refuses before
 * it computes anything is refused here in its words: a form that is none, headers left out of the signature, a
 * clock that is off, an unknown or an ended key.
 */
import { createHash } from 'node:crypto';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { AwsError } from './aws_errors.mjs';

const FORM = /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/;
const MISMATCH = 'The request signature we calculated does not match the signature you provided. '
  + 'Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';

const wrong = (message) => new AwsError('InvalidSignatureException', message);
const short = (date) => date.toISOString().replace(/-|:|\.\d{3}/g, '');

function signedAt(headers) {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(headers['x-amz-date'] ?? '') ?? [];
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(date.getTime())) {
    throw new AwsError('IncompleteSignatureException', 'Date must be in ISO-8601 \'basic format\', in the header X-Amz-Date.');
  }
  return date;
}

function checkClock(date, now, limitMs) {
  const minutes = `${Math.round(limitMs / 60000)} min.`;
  const edge = (ms) => `${short(new Date(now + ms))} (${short(new Date(now))} ${ms < 0 ? '-' : '+'} ${minutes})`;
  if (date.getTime() < now - limitMs) throw wrong(`Signature expired: ${short(date)} is now earlier than ${edge(-limitMs)}`);
  if (date.getTime() > now + limitMs) throw wrong(`Signature not yet current: ${short(date)} is still later than ${edge(limitMs)}`);
}

/** The headers that are signed; that those which must be are among them, and are there. */
function signedHeaders(list, headers) {
  const names = list.split(';');
  const must = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const left = must.find((name) => !names.includes(name));
  if (left) throw wrong(`'${left}' must be a 'SignedHeader' in the AWS Authorization.`);
  const ordered = names.every((name, i) => i === 0 || names[i - 1] < name);
  if (!ordered || names.some((name) => headers[name] === undefined)) throw wrong(MISMATCH);
  return Object.fromEntries(names.map((name) => [name, headers[name]]));
}

/** What stands behind the question mark, decoded, as the signer takes it. A + is a plus. */
function queryOf(text) {
  const query = {};
  for (const pair of text.split('&').filter((part) => part !== '')) {
    const [name, value] = pair.split(/=(.*)/s, 2).map(decodeURIComponent);
    query[name] = name in query ? [query[name], value ?? ''].flat() : value ?? '';
  }
  return query;
}

function checkBody(headers, body) {
  const told = headers['x-amz-content-sha256'];
  if (told === undefined) return;
  if (told !== createHash('sha256').update(body).digest('hex')) throw wrong(MISMATCH);
}

/**
 * Resolves with the access key's id, or rejects with an AwsError. `url` is the request line's target as it came,
 * `headers` have lower-case names; `service` (and `region`, when it is given) must be those of the signature's scope.
 */
export async function verify({ method, url, headers, body }, { keys, service, region = null, limitMs = keys.config.skew_limit_s * 1000 }) {
  if (headers.authorization === undefined) throw new AwsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const [, id, day, itsRegion, itsService, list, signature] = FORM.exec(headers.authorization) ?? [];
  if (!id) throw new AwsError('IncompleteSignatureException', 'Authorization header is not of the form that Signature Version 4 asks for.');
  const date = signedAt(headers);
  const secretAccessKey = keys.secretFor(id, headers['x-amz-security-token']);
  checkClock(date, keys.now(), limitMs);
  if (itsService !== service) throw wrong(`Credential should be scoped to correct service: '${service}'.`);
  if (region !== null && itsRegion !== region) throw wrong(`Credential should be scoped to a valid region, not '${itsRegion}'.`);
  if (!short(date).startsWith(day)) throw wrong('Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP');
  const signed = signedHeaders(list, headers);
  checkBody(headers, body);
  const [path, query = ''] = url.split(/\?(.*)/s, 2);
  const signer = new SignatureV4({
    credentials: { accessKeyId: id, secretAccessKey }, region: itsRegion, service, sha256: Sha256, applyChecksum: false,
  });
  const again = await signer.sign({ method, protocol: 'http:', path, query: queryOf(query), headers: signed, body }, {
    signingDate: date, signableHeaders: new Set(Object.keys(signed)),
  });
  if (!again.headers.authorization.endsWith(`Signature=${signature}`)) throw wrong(MISMATCH);
  return id;
}

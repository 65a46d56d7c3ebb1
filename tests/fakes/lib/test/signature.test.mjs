/* The judge of signatures: what AWS's signer signs passes, whatever is in it; nothing that was changed afterwards does. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { Keys } from '../aws_keys.mjs';
import { verify } from '../signature.mjs';

const config = { key: ['AKID:secret', 'ASIA:other:tok/en+='], realm: null, skew_limit_s: 300, clock_offset_s: 0 };
const keys = new Keys(config);
const OWN = { accessKeyId: 'AKID', secretAccessKey: 'secret' };

/** A request as the judge gets it, signed by AWS's signer. */
async function signed({ path = '/', query = {}, target = path, body = '{}', headers = {}, credentials = OWN, date = new Date(), service = 'sqs' } = {}) {
  const signer = new SignatureV4({ credentials, region: 'us-east-1', service, sha256: Sha256 });
  const request = await signer.sign({ method: 'POST', protocol: 'http:', path, query, body, headers: { host: '127.0.0.1:1', 'x-amz-target': 'A.B', ...headers } }, { signingDate: date });
  return { method: 'POST', url: target, headers: request.headers, body: Buffer.from(body) };
}
const judge = (request, more = {}) => verify(request, { keys, service: 'sqs', ...more });
const refused = (promise, name, message = /./) => assert.rejects(promise, (error) => error.errorName === name && message.test(error.message));

test('signed_requests_pass', async () => {
  assert.equal(await judge(await signed()), 'AKID');
  await judge(await signed({ body: '' }));
  await judge(await signed({ path: '/a/arn%3Aaws%3Ax/b', query: { token: 'a+/=', z: ['2', '1'] }, target: '/a/arn%3Aaws%3Ax/b?z=2&token=a%2B%2F%3D&z=1' }));
  await judge(await signed({ headers: { 'x-amz-meta': '  two   spaces ' }, body: 'ä' }));
  assert.equal(await judge(await signed({ credentials: { accessKeyId: 'ASIA', secretAccessKey: 'other', sessionToken: 'tok/en+=' } })), 'ASIA');
});

test('changed_requests_do_not', async () => {
  const change = async (fields, headers = {}) => {
    const request = await signed();
    return judge({ ...request, ...fields, headers: { ...request.headers, ...headers } });
  };
  const mismatch = 'InvalidSignatureException';
  await refused(change({ body: Buffer.from('{ }') }), mismatch);
  const other = createHash('sha256').update('{ }').digest('hex');
  await refused(change({ body: Buffer.from('{ }') }, { 'x-amz-content-sha256': other }), mismatch);
  await refused(change({ url: '/x' }), mismatch);
  await refused(change({ url: '/?a=1' }), mismatch);
  await refused(change({ method: 'PUT' }), mismatch);
  await refused(change({}, { 'x-amz-target': 'A.C' }), mismatch);
  await refused(change({}, { host: 'elsewhere' }), mismatch);
  await refused(change({}, { 'x-amz-more': '1' }), mismatch, /'x-amz-more' must be a 'SignedHeader'/);
});

test('form_scope_clock_and_key_are_told_apart', async () => {
  await refused(judge({ ...await signed(), headers: { host: 'x' } }), 'MissingAuthenticationTokenException');
  await refused(judge({ ...await signed(), headers: { host: 'x', authorization: 'Bearer x' } }), 'IncompleteSignatureException');
  await refused(judge(await signed({ service: 'sns' })), 'InvalidSignatureException', /correct service: 'sqs'/);
  await refused(judge(await signed(), { region: 'eu-west-1' }), 'InvalidSignatureException', /valid region/);
  await refused(judge(await signed({ date: new Date(Date.now() - 310_000) })), 'InvalidSignatureException', /^Signature expired/);
  await refused(judge(await signed({ date: new Date(Date.now() + 310_000) })), 'InvalidSignatureException', /^Signature not yet current/);
  await judge(await signed({ date: new Date(Date.now() - 290_000) }));
  await refused(judge(await signed({ credentials: { ...OWN, accessKeyId: 'NOBODY' } })), 'UnrecognizedClientException');
  await refused(judge(await signed({ credentials: { ...OWN, sessionToken: 'x' } })), 'UnrecognizedClientException');
  await refused(judge(await signed({ credentials: { accessKeyId: 'ASIA', secretAccessKey: 'other' } })), 'UnrecognizedClientException');
});

/*
 * As much of S3 as publishing an image needs: PUT and GET /BUCKET/KEY (path style), signed (AWS's own signer judges it), with the
 * SHA-256 of the body in a header that is signed too; `policy` as in ../lib/aws_policy.mjs. `objects` has bucket, key, size and digest of each that was put; `failures` are the
 * next answers, {status, code, message}.
 */
import crypto from 'node:crypto';
import http from 'node:http';
import { AwsError } from '../lib/aws_errors.mjs';
import { Keys } from '../lib/aws_keys.mjs';
import { Policies } from '../lib/aws_policy.mjs';
import { verify } from '../lib/signature.mjs';

const refusal = (status, code, message) => ({
  status, body: `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>FAKE</RequestId></Error>`,
});

export class FakeS3 {
  constructor({ buckets = ['artifacts'], key, policy = [] }) {
    this.policies = new Policies({ policy });
    this.buckets = new Set(buckets);
    this.objects = new Map();
    this.contents = new Map();
    this.failures = [];
    this.keys = new Keys({ key: [key], realm: null, skew_limit_s: 300, clock_offset_s: 0 });
    this.server = http.createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', async () => {
        const { status, body = '', headers = {} } = await this.answer(request, Buffer.concat(chunks));
        response.writeHead(status, { 'Content-Type': 'application/xml', 'x-amz-request-id': 'FAKE', ...headers });
        response.end(body);
      });
    });
  }

  async answer(request, body) {
    const { method, url, headers } = request;
    const failure = this.failures.shift();
    if (failure) return refusal(failure.status, failure.code, failure.message ?? 'As told.');
    const [, bucket, key] = /^\/([^/]+)\/(.+)$/.exec(url) ?? [];
    if (!['PUT', 'GET'].includes(method) || !key) return refusal(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
    if (headers['x-amz-content-sha256'] === undefined) return refusal(400, 'InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
    try {
      const id = await verify({ method, url, headers, body }, { keys: this.keys, service: 's3' });
      this.policies.judge(id, () => [{ action: method === 'GET' ? 's3:GetObject' : 's3:PutObject', resource: `arn:aws:s3:::${bucket}/${key}` }]);
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      return refusal(403, error.code === 'AccessDeniedException' ? 'AccessDenied' : 'SignatureDoesNotMatch', error.message);
    }
    if (!this.buckets.has(bucket)) return refusal(404, 'NoSuchBucket', 'The specified bucket does not exist');
    if (method === 'GET') return this.contents.has(url) ? { status: 200, body: this.contents.get(url) } : refusal(404, 'NoSuchKey', 'The specified key does not exist.');
    this.contents.set(url, body);
    this.objects.set(url, { bucket, key, bytes: body.length, sha256: crypto.createHash('sha256').update(body).digest('hex') });
    return { status: 200, headers: { ETag: `"${crypto.createHash('md5').update(body).digest('hex')}"` } };
  }

  put(bucket, key, bytes) { this.contents.set(`/${bucket}/${key}`, bytes); }

  bytes(bucket, key) { return this.contents.get(`/${bucket}/${key}`); }

  listen(port = 0) {
    return new Promise((resolve) => {
      this.server.listen(port, '127.0.0.1', () => resolve(this.url = `http://127.0.0.1:${this.server.address().port}`));
    });
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => {
      this.server.close(resolve);
    });
  }
}

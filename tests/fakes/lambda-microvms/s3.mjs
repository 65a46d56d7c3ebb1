/*
 * As much of S3 as publishing an image needs: PUT /BUCKET/KEY (path style), signed, with the SHA-256 of the body in a header
 * that is signed too. Holds what was put in memory. `node s3.mjs [--port N]` prints {"url": …}; GET /_fake/objects tells
 * bucket, key, size and digest of each.
 */
import crypto from 'node:crypto';
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const refusal = (status, code, message) => ({
  status, body: `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>FAKE</RequestId></Error>`,
});

export class FakeS3 {
  constructor({ buckets = ['artifacts'] } = {}) {
    this.buckets = new Set(buckets);
    this.objects = new Map();
    this.failures = [];
    this.server = http.createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        const { status, body = '', headers = {} } = this.answer(request, Buffer.concat(chunks));
        response.writeHead(status, { 'Content-Type': 'application/xml', 'x-amz-request-id': 'FAKE', ...headers });
        response.end(body);
      });
    });
  }

  answer(request, body) {
    if (request.url === '/_fake/objects') return { status: 200, body: JSON.stringify([...this.objects.values()]) };
    const failure = this.failures.shift();
    if (failure) return refusal(failure.status, failure.code, failure.message ?? 'As told.');
    const [, bucket, key] = /^\/([^/]+)\/(.+)$/.exec(request.url) ?? [];
    const digest = crypto.createHash('sha256').update(body).digest('hex');
    const { authorization = '', 'x-amz-content-sha256': told } = request.headers;
    if (request.method !== 'PUT' || !key) return refusal(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
    if (!/^AWS4-HMAC-SHA256 Credential=[^/]+\/\d{8}\/[a-z0-9-]+\/s3\/aws4_request, /.test(authorization)) return refusal(403, 'AccessDenied', 'Access Denied');
    if (told === undefined) return refusal(400, 'InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
    if (!/SignedHeaders=[^,]*x-amz-content-sha256/.test(authorization)) return refusal(403, 'AccessDenied', 'There were headers present in the request which were not signed');
    if (told !== digest) return refusal(400, 'XAmzContentSHA256Mismatch', 'The provided x-amz-content-sha256 header does not match what was computed.');
    if (!this.buckets.has(bucket)) return refusal(404, 'NoSuchBucket', 'The specified bucket does not exist');
    this.objects.set(request.url, { bucket, key, bytes: body.length, sha256: digest });
    this.body = body;
    return { status: 200, headers: { ETag: `"${crypto.createHash('md5').update(body).digest('hex')}"` } };
  }

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

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const port = process.argv[2] === '--port' ? Number(process.argv[3]) : 0;
  const url = await new FakeS3().listen(port);
  process.stdout.write(`${JSON.stringify({ url })}\n`);
}

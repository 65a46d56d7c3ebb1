/*
 * Where a program on AWS finds its role's keys: the container endpoint (ECS, EKS), and the instance metadata with its
 * tokens (IMDSv2). Neither is signed; a refusal is plain.
 */
import { randomBytes } from 'node:crypto';
import { Router } from '../../lib/http.mjs';

const ROLES = '/latest/meta-data/iam/security-credentials';
const refused = (status, body = '') => ({ status, headers: { 'Content-Type': 'text/plain' }, body, error: String(status) });
const text = (body, headers = {}) => ({ status: 200, headers: { 'Content-Type': 'text/plain', ...headers }, body });
const json = (value) => ({ status: 200, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });

export class Metadata {
  constructor({ config, vault }) {
    Object.assign(this, { config, vault, tokens: new Map(), router: new Router() });
    const add = (method, path, operation, handle) => this.router.add(method, path, { operation, handle: handle.bind(this) });
    add('GET', '/v2/credentials/{id}', 'ContainerCredentials', this.container);
    add('PUT', '/latest/api/token', 'InstanceToken', this.token);
    for (const path of [ROLES, `${ROLES}/`]) add('GET', path, 'InstanceRole', this.guarded(() => this.role((name) => text(name))));
    add('GET', `${ROLES}/{role}`, 'InstanceCredentials', this.guarded(this.credentials));
    add('GET', '/latest/meta-data/placement/region', 'InstanceRegion', this.guarded(() => text(this.config.region)));
    add('GET', '/latest/dynamic/instance-identity/document', 'InstanceIdentity', this.guarded(() => json({
      region: this.config.region, accountId: this.config.account, instanceId: 'i-0fake',
    })));
  }

  find(call) {
    const { route, params } = this.router.find(call.request.method, call.url.pathname);
    return route && { operation: route.operation, protocol: 'rest', free: true, perform: () => route.handle({ params, headers: call.request.headers }) };
  }

  container({ params, headers }) {
    if (this.config.container_token !== null && headers.authorization !== this.config.container_token) return refused(401, 'unauthorized');
    const keys = this.vault.issue('container', 3600, params.id);
    return json({ RoleArn: `arn:aws:iam::${this.config.account}:role/${params.id}`, ...written(keys) });
  }

  token({ headers }) {
    const seconds = Number(headers['x-aws-ec2-metadata-token-ttl-seconds']);
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > 21600) return refused(400);
    if (headers['x-forwarded-for'] !== undefined) return refused(403);
    const token = `AQAEA${randomBytes(24).toString('base64')}==`;
    this.tokens.set(token, Date.now() + seconds * 1000);
    return text(token, { 'X-aws-ec2-metadata-token-ttl-seconds': String(seconds) });
  }

  guarded(handle) {
    return (context) => {
      const token = context.headers['x-aws-ec2-metadata-token'];
      const good = token === undefined ? this.config.imds_v1 : (this.tokens.get(token) ?? 0) > Date.now();
      return good ? handle.call(this, context) : refused(401);
    };
  }

  role(answer) {
    return this.config.instance_role ? answer(this.config.instance_role) : refused(404);
  }

  credentials({ params }) {
    return this.role((name) => {
      if (params.role !== name) return refused(404);
      return json({ Code: 'Success', LastUpdated: new Date().toISOString(), Type: 'AWS-HMAC', ...written(this.vault.issue('instance', 21600, name)) });
    });
  }
}

const written = ({ accessKeyId, secretAccessKey, sessionToken, expiresMs }) => ({
  AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken, Expiration: new Date(expiresMs).toISOString().replace('.000', ''),
});

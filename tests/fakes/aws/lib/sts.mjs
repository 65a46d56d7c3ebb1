/* STS, the Query protocol: forms in, XML out. */
import { AwsError, invalid, toXml } from '../../lib/aws_errors.mjs';

const SHORTEST_S = 900;
const LONGEST_S = 43200;
const ROLE = /^arn:aws[a-z-]*:iam::\d{12}:role\/.+$/;

export class Sts {
  constructor({ config, vault }) {
    Object.assign(this, { config, vault });
    this.operations = {
      AssumeRole: { work: this.assumeRole },
      AssumeRoleWithWebIdentity: { work: this.assumeWithWebIdentity, free: true },
      GetCallerIdentity: { work: this.identity },
    };
  }

  /** The operation of a form, or null. */
  find(call) {
    if (call.request.method !== 'POST' || !/form-urlencoded/.test(call.request.headers['content-type'] ?? '')) return null;
    const form = new URLSearchParams(call.raw.toString());
    const name = form.get('Action');
    const operation = this.operations[name];
    if (!operation || form.get('Version') !== '2011-06-15') return null;
    const perform = () => ({
      status: 200, headers: { 'Content-Type': 'text/xml' },
      body: `<${name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${toXml({
        [`${name}Result`]: operation.work.call(this, form, call), ResponseMetadata: { RequestId: call.id },
      })}</${name}Response>`,
    });
    return { operation: name, protocol: 'xml', service: 'sts', free: operation.free, perform };
  }

  session(form) {
    const arn = form.get('RoleArn') ?? '';
    const name = form.get('RoleSessionName') ?? '';
    const seconds = Number(form.get('DurationSeconds') ?? 3600);
    if (!ROLE.test(arn)) throw invalid(`${arn} is invalid`);
    if (!/^[\w+=,.@-]{2,64}$/.test(name)) throw invalid('1 validation error detected: Value at \'roleSessionName\' failed to satisfy constraint');
    if (!Number.isInteger(seconds) || seconds < SHORTEST_S || seconds > LONGEST_S) {
      throw invalid(`1 validation error detected: Value '${seconds}' at 'durationSeconds' failed to satisfy constraint: between ${SHORTEST_S} and ${LONGEST_S}`);
    }
    if (this.config.role.length > 0 && !this.config.role.includes(arn)) {
      throw new AwsError('AccessDeniedException', `User is not authorized to perform: sts:AssumeRole on resource: ${arn}`);
    }
    const keys = this.vault.issue('sts', seconds, arn);
    const role = arn.split(':role/')[1].split('/').at(-1);
    return {
      Credentials: {
        AccessKeyId: keys.accessKeyId, SecretAccessKey: keys.secretAccessKey, SessionToken: keys.sessionToken,
        Expiration: new Date(keys.expiresMs).toISOString(),
      },
      AssumedRoleUser: { AssumedRoleId: `AROAFAKE:${name}`, Arn: `${arn.replace(':iam:', ':sts:').split(':role/')[0]}:assumed-role/${role}/${name}` },
    };
  }

  assumeRole(form) {
    return this.session(form);
  }

  assumeWithWebIdentity(form) {
    const token = form.get('WebIdentityToken') ?? '';
    if (token.length < 4) throw invalid('1 validation error detected: Value at \'webIdentityToken\' failed to satisfy constraint');
    if (this.config.web_identity_token !== null && token !== this.config.web_identity_token) {
      throw new AwsError('InvalidIdentityToken', 'The ID Token provided is not a valid JWT.');
    }
    return { ...this.session(form), Provider: 'fake', SubjectFromWebIdentityToken: 'system:serviceaccount:mayfly' };
  }

  identity(form, call) {
    const [, id] = /Credential=([^/]+)/.exec(call.request.headers.authorization ?? '') ?? [];
    return { Arn: this.vault.issued.get(id)?.role ?? `arn:aws:iam::${this.config.account}:user/test`, UserId: id, Account: this.config.account };
  }
}

/* The services of JSON 1.1: SSM, Secrets Manager, KMS (real RSA), Service Quotas. Only what Mayfly asks. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import { AwsError, invalid } from '../../lib/aws_errors.mjs';
import { BadRequest, parseJson } from '../../lib/http.mjs';
import { OptionError } from '../../lib/options.mjs';
import { ImportedKeys } from './imported_keys.mjs';

const HASH = { SHA_256: 'sha256', SHA_384: 'sha384', SHA_512: 'sha512' };
/* The ASN.1 before a digest in PKCS #1 v1.5 (RFC 8017, 9.2). */
const PREFIX = {
  sha256: '3031300d060960864801650304020105000420', sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
};

function pairs(texts, option) {
  return texts.map((pair) => {
    const [name, value] = pair.split(/=(.*)/s, 2);
    if (!name || value === undefined) throw new OptionError(`--${option} is NAME=VALUE`);
    return [name, value];
  });
}

/** RSA over a message or its digest, as KMS signs. */
function sign(key, { Message: message, MessageType: type = 'RAW', SigningAlgorithm: algorithm }) {
  const [, scheme, size] = /^RSASSA_(PKCS1_V1_5|PSS)_(SHA_\d+)$/.exec(algorithm ?? '') ?? [];
  const hash = HASH[size];
  if (!hash) throw invalid(`1 validation error detected: Value '${algorithm}' at 'signingAlgorithm' failed to satisfy constraint`);
  const bytes = Buffer.from(message ?? '', 'base64');
  if (bytes.length < 1 || bytes.length > 4096) throw invalid('1 validation error detected: Value at \'message\' must have length between 1 and 4096');
  const digest = type === 'DIGEST' ? bytes : crypto.createHash(hash).update(bytes).digest();
  if (digest.length !== crypto.createHash(hash).digest().length) throw invalid('Digest is invalid length for algorithm.');
  if (scheme === 'PKCS1_V1_5') {
    return crypto.privateEncrypt({ key, padding: crypto.constants.RSA_PKCS1_PADDING }, Buffer.concat([Buffer.from(PREFIX[hash], 'hex'), digest]));
  }
  if (type === 'DIGEST') throw invalid('The stand-in signs PSS over messages only.');
  return crypto.sign(hash, bytes, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: digest.length });
}

export class Secrets {
  constructor({ config }) {
    this.config = config;
    this.parameters = new Map(pairs(config.parameter, 'parameter').map(([name, value]) => [name, { name, value }]));
    this.secrets = new Map(pairs(config.secret, 'secret').map(([name, value]) => [name, { name, value }]));
    this.quotas = new Map(pairs(config.quota, 'quota').map(([name, value]) => [name, Number(value)]));
    this.kms = new Map();
    this.keys = new ImportedKeys({ arn: (rest) => this.arn('kms', rest), kms: this.kms });
    for (const [id, file] of pairs(config.kms_key, 'kms-key')) this.addKmsKey({ id, pem: fs.readFileSync(file, 'utf8') });
    this.operations = {
      'AmazonSSM.GetParameter': ['ssm', this.getParameter],
      'AmazonSSM.PutParameter': ['ssm', this.putParameter],
      'AmazonSSM.DeleteParameter': ['ssm', this.deleteParameter],
      'secretsmanager.GetSecretValue': ['secretsmanager', this.getSecret],
      'TrentService.Sign': ['kms', this.signMessage],
      'TrentService.GetPublicKey': ['kms', this.getPublicKey],
      'TrentService.CreateKey': ['kms', this.keys.create],
      'TrentService.CreateAlias': ['kms', this.keys.alias],
      'TrentService.DescribeKey': ['kms', this.keys.describe],
      'TrentService.GetParametersForImport': ['kms', this.keys.parameters],
      'TrentService.ImportKeyMaterial': ['kms', this.keys.importMaterial],
      'ServiceQuotasV20190624.GetServiceQuota': ['servicequotas', this.getQuota],
    };
  }

  find(call) {
    const target = call.request.headers['x-amz-target'];
    const [service, work] = this.operations[target] ?? [];
    if (!work || call.request.method !== 'POST') return null;
    const perform = () => ({
      status: 200, headers: { 'Content-Type': 'application/x-amz-json-1.1' }, body: JSON.stringify(work.call(this, readJson(call.raw))),
    });
    const operation = target.split('.')[1];
    const needs = () => {
      const body = readJson(call.raw);
      const context = operation === 'Sign' ? { 'kms:SigningAlgorithm': body.SigningAlgorithm, 'kms:MessageType': body.MessageType ?? 'RAW' } : {};
      return [{ action: `${service}:${operation}`, resource: this.resource(service, body), context }];
    };
    return { operation, protocol: 'json', service, needs, perform };
  }

  resource(service, { Name: name = '', SecretId: secret = '', KeyId: key = '', ServiceCode: quotas, QuotaCode: quota }) {
    const full = (asked, kind) => (asked.startsWith('arn:') ? asked : this.arn(service, `${kind}${asked}`));
    switch (service) {
      case 'ssm': return full(name.replace(/^\//, ''), 'parameter/');
      case 'secretsmanager': return full(secret, 'secret:');
      case 'kms': return full(key, 'key/');
      default: return this.arn(service, `${quotas}/${quota}`);
    }
  }

  arn(service, rest) {
    return `arn:aws:${service}:${this.config.region}:${this.config.account}:${rest}`;
  }

  /** By name, ARN, and SSM's own NAME:VERSION. */
  getParameter({ Name: asked = '', WithDecryption: open = false }) {
    const name = asked.startsWith('arn:') ? asked.replace(/^.*:parameter/, '') : asked.replace(/:\d+$/, '');
    const found = this.parameters.get(name) ?? this.parameters.get(name.replace(/^\//, ''));
    if (!found) throw new AwsError('ParameterNotFound', null);
    const { value, type = 'SecureString' } = found;
    return {
      Parameter: {
        Name: found.name, Type: type, Value: type === 'SecureString' && !open ? Buffer.from(`sealed ${found.name}`).toString('base64') : value,
        Version: found.version ?? 1, LastModifiedDate: 1750000000.5, ARN: this.arn('ssm', `parameter/${found.name.replace(/^\//, '')}`), DataType: 'text',
      },
    };
  }

  putParameter({ Name: name = '', Value: value, Type: type = 'String', Overwrite: replace = false }) {
    if (!/^[\w./-]+$/.test(name) || typeof value !== 'string' || value.length < 1 || value.length > 4096) throw invalid('1 validation error detected');
    const found = this.parameters.get(name);
    if (found && !replace) throw new AwsError('ParameterAlreadyExists', 'The parameter already exists. To overwrite this value, set the overwrite option in the request to true.');
    this.parameters.set(name, { name, value, type, version: (found?.version ?? 0) + 1 });
    return { Version: (found?.version ?? 0) + 1, Tier: 'Standard' };
  }

  deleteParameter({ Name: name = '' }) {
    if (!this.parameters.delete(name)) throw new AwsError('ParameterNotFound', null);
    return {};
  }

  getSecret({ SecretId: asked = '' }) {
    const name = asked.startsWith('arn:') ? asked.replace(/^.*:secret:/, '').replace(/-[A-Za-z0-9]{6}$/, '') : asked;
    const found = this.secrets.get(name);
    if (!found) throw new AwsError('ResourceNotFoundException', 'Secrets Manager can\'t find the specified secret.');
    const content = found.binary === undefined ? { SecretString: found.value } : { SecretBinary: found.binary };
    return {
      ARN: this.arn('secretsmanager', `secret:${name}-a1b2c3`), Name: name, VersionId: '00000000-0000-4000-8000-000000000001',
      VersionStages: ['AWSCURRENT'], CreatedDate: 1750000000.5, ...content,
    };
  }

  addKmsKey({ id = crypto.randomUUID(), pem }) {
    const key = pem ? crypto.createPrivateKey(pem) : crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    if (key.asymmetricKeyType !== 'rsa') throw new RangeError('the stand-in\'s KMS signs with RSA');
    this.kms.set(id, key);
    return { key_id: id, arn: this.arn('kms', `key/${id}`), public_pem: crypto.createPublicKey(key).export({ type: 'spki', format: 'pem' }) };
  }

  kmsKey(asked = '') {
    const id = this.keys.idOf(asked);
    const key = this.kms.get(id);
    if (!key && this.keys.made.has(id)) throw new AwsError('KMSInvalidStateException', `${this.arn('kms', `key/${id}`)} is pending import.`);
    if (!key) throw new AwsError('NotFoundException', `Key '${this.arn('kms', `key/${id}`)}' does not exist`);
    return { key, KeyId: this.arn('kms', `key/${id}`) };
  }

  signMessage(body) {
    const { key, KeyId } = this.kmsKey(body.KeyId);
    return { KeyId, Signature: sign(key, body).toString('base64'), SigningAlgorithm: body.SigningAlgorithm };
  }

  getPublicKey(body) {
    const { key, KeyId } = this.kmsKey(body.KeyId);
    return { KeyId, PublicKey: crypto.createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('base64'), KeyUsage: 'SIGN_VERIFY' };
  }

  getQuota({ ServiceCode: service, QuotaCode: code }) {
    const value = this.quotas.get(`${service}/${code}`);
    if (value === undefined) throw new AwsError('NoSuchResourceException', 'The request failed because the specified quota does not exist.');
    return { Quota: { ServiceCode: service, QuotaCode: code, QuotaArn: this.arn('servicequotas', `${service}/${code}`), Value: value, Unit: 'None', Adjustable: true } };
  }
}

function readJson(raw) {
  try {
    return parseJson(raw) ?? {};
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    throw new AwsError('SerializationException', error.message);
  }
}

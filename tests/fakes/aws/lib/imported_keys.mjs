/* KMS keys whose material comes from outside: made without it, described, and given it wrapped (RSA_AES_KEY_WRAP_SHA_256), which is unwrapped for real. */
import crypto from 'node:crypto';
import { AwsError, invalid } from '../../lib/aws_errors.mjs';

const ICV = Buffer.from('a65959a6', 'hex'); // RFC 5649

export class ImportedKeys {
  constructor({ arn, kms }) {
    Object.assign(this, { arn, kms, made: new Map(), aliases: new Map(), tokens: new Map() });
    for (const name of ['create', 'alias', 'describe', 'parameters', 'importMaterial']) this[name] = this[name].bind(this);
  }

  idOf(asked = '') {
    return this.aliases.get(asked) ?? asked.replace(/^arn:.*:key\//, '');
  }

  find({ KeyId: asked }) {
    const id = this.idOf(asked);
    const key = this.made.get(id) ?? (this.kms.has(id) ? { id, origin: 'AWS_KMS' } : null);
    if (!key) throw new AwsError('NotFoundException', asked.startsWith('alias/') ? `Alias ${this.arn(asked)} is not found.` : `Key '${this.arn(`key/${id}`)}' does not exist`);
    return key;
  }

  metadata({ id, origin }) {
    return {
      KeyMetadata: {
        KeyId: id, Arn: this.arn(`key/${id}`), KeyState: this.kms.has(id) ? 'Enabled' : 'PendingImport', Enabled: this.kms.has(id), KeyUsage: 'SIGN_VERIFY', KeySpec: 'RSA_2048',
        CustomerMasterKeySpec: 'RSA_2048', Origin: origin, KeyManager: 'CUSTOMER', SigningAlgorithms: ['RSASSA_PKCS1_V1_5_SHA_256'], MultiRegion: false,
      },
    };
  }

  create({ KeySpec: spec, KeyUsage: usage, Origin: origin }) {
    if (spec !== 'RSA_2048' || usage !== 'SIGN_VERIFY' || origin !== 'EXTERNAL') throw invalid('the stand-in makes keys for RSA signatures, without material');
    const id = crypto.randomUUID();
    this.made.set(id, { id, origin });
    return this.metadata(this.made.get(id));
  }

  alias({ AliasName: name, TargetKeyId: of }) {
    if (this.aliases.has(name)) throw new AwsError('AlreadyExistsException', `An alias with the name ${this.arn(name)} already exists`);
    this.aliases.set(name, this.find({ KeyId: of }).id);
    return {};
  }

  describe(body) {
    return this.metadata(this.find(body));
  }

  parameters(body) {
    const key = this.find(body);
    if (key.origin !== 'EXTERNAL') throw new AwsError('UnsupportedOperationException', `${key.id} origin is AWS_KMS which is not valid for this operation.`);
    if (body.WrappingAlgorithm !== 'RSA_AES_KEY_WRAP_SHA_256') throw invalid('the stand-in unwraps RSA_AES_KEY_WRAP_SHA_256 alone');
    const pair = crypto.generateKeyPairSync('rsa', { modulusLength: Number(body.WrappingKeySpec.replace('RSA_', '')) });
    const token = crypto.randomBytes(64).toString('base64');
    this.tokens.set(token, { id: key.id, pair });
    return { KeyId: this.arn(`key/${key.id}`), ImportToken: token, PublicKey: pair.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'), ParametersValidTo: Date.now() / 1000 + 86400 };
  }

  importMaterial(body) {
    const key = this.find(body);
    const token = this.tokens.get(body.ImportToken);
    if (token?.id !== key.id) throw new AwsError('InvalidImportTokenException', null);
    if (body.ExpirationModel !== 'KEY_MATERIAL_DOES_NOT_EXPIRE') throw invalid('ValidTo is missing');
    const wrapped = Buffer.from(body.EncryptedKeyMaterial, 'base64');
    const size = token.pair.privateKey.asymmetricKeyDetails.modulusLength / 8;
    let material;
    try {
      const aes = crypto.privateDecrypt({ key: token.pair.privateKey, padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, wrapped.subarray(0, size));
      const decipher = crypto.createDecipheriv('id-aes256-wrap-pad', aes, ICV);
      material = crypto.createPrivateKey({ key: Buffer.concat([decipher.update(wrapped.subarray(size)), decipher.final()]), format: 'der', type: 'pkcs8' });
    } catch {
      throw new AwsError('InvalidCiphertextException', null);
    }
    if (material.asymmetricKeyDetails.modulusLength !== 2048) throw new AwsError('IncorrectKeyMaterialException', null);
    const print = crypto.createPublicKey(material).export({ type: 'spki', format: 'der' }).toString('base64');
    if (key.print && key.print !== print) throw new AwsError('IncorrectKeyMaterialException', null);
    key.print = print;
    this.kms.set(key.id, material);
    return { KeyId: this.arn(`key/${key.id}`) };
  }
}

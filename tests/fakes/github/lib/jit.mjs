/*
 * JIT configurations of GitHub's shape and size: base64 of a JSON object of three base64 files. Keys are true
 * RSA-2048 keys out of a small pool made once, since making one takes longer than all the rest of a launch: some
 * runners share one.
 */
import crypto from 'node:crypto';

const POOL_SIZE = 4;

function makeKey() {
  return new Promise((resolve, reject) => {
    crypto.generateKeyPair('rsa', { modulusLength: 2048 }, (error, publicKey, privateKey) => {
      if (error) reject(error);
      else resolve({ publicKey, parameters: encodeParameters(privateKey.export({ format: 'jwk' })) });
    });
  });
}

function encodeParameters(jwk) {
  const plain = (text) => Buffer.from(text, 'base64url').toString('base64');
  const parameters = {
    d: plain(jwk.d), dp: plain(jwk.dp), dq: plain(jwk.dq), exponent: plain(jwk.e), inverseQ: plain(jwk.qi),
    modulus: plain(jwk.n), p: plain(jwk.p), q: plain(jwk.q),
  };
  return Buffer.from(JSON.stringify(parameters)).toString('base64');
}

/** Keys are made from the first use on, in the background; the first to come serves until there are more. */
class KeyPool {
  constructor() {
    this.keys = [];
    this.turn = 0;
    this.filling = null;
  }

  async fill() {
    while (this.keys.length < POOL_SIZE) this.keys.push(await makeKey());
  }

  async next() {
    if (this.keys.length === 0) {
      this.first ??= makeKey().then((key) => this.keys.push(key));
      await this.first;
      this.filling ??= this.fill().catch(() => {});
    }
    return this.keys[this.turn++ % this.keys.length];
  }
}

const pool = new KeyPool();

export class JitMint {
  /** Makes the first key ahead of the first call. */
  async warm() {
    await pool.next();
  }

  /** Returns the blob for a runner, and gives the runner its public key; `addresses` are those of the runner's side. */
  async mint(runner, addresses, webUrl) {
    const { publicKey, parameters } = await pool.next();
    runner.key = publicKey;
    const settings = {
      AgentId: String(runner.id),
      AgentName: runner.name,
      PoolId: String(runner.group.id),
      PoolName: runner.group.name,
      DisableUpdate: 'False',
      Ephemeral: 'True',
      ServerUrl: addresses.server,
      GitHubUrl: `${webUrl}/${runner.scope}`,
      WorkFolder: runner.workFolder,
      ServerUrlV2: addresses.broker,
      UseV2Flow: 'True',
    };
    const credentials = {
      scheme: 'OAuth',
      data: {
        clientId: runner.clientId,
        authorizationUrl: addresses.authorization,
        requireFipsCryptography: 'True',
      },
    };
    const encode = (object) => Buffer.from(JSON.stringify(object)).toString('base64');
    return encode({ '.runner': encode(settings), '.credentials': encode(credentials), '.credentials_rsaparams': parameters });
  }
}

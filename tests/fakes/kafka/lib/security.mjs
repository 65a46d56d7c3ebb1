/*
 * The listeners with security, for tests of clients: SASL (SASL_SSL: PLAIN, SCRAM, OAUTHBEARER with unsecured tokens), TLS, and
 * MTLS (a client needs a certificate). The brokers themselves use the open one.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

export const LISTENERS = { SASL: 'SASL_SSL', TLS: 'SSL', MTLS: 'SSL' };
export const USER = 'mayfly';
export const PASSWORD = 'the password of the test';

/* ca.pem, client.pem, client.key, other-ca.pem (that signed nothing), server.pem, password */
export function makeFiles(dir) {
  const at = (name) => path.join(dir, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const key = (name) => openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', at(name));
  for (const ca of ['ca', 'other-ca']) {
    key(`${ca}.key`);
    openssl('req', '-x509', '-new', '-key', at(`${ca}.key`), '-days', '2', '-subj', `/CN=${ca} of a test`, '-out', at(`${ca}.pem`));
  }
  for (const name of ['server', 'client']) {
    key(`${name}.key`);
    fs.writeFileSync(at('extensions'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
    openssl('req', '-new', '-key', at(`${name}.key`), '-subj', `/CN=${name === 'client' ? USER : 'broker'}`, '-out', at('request'));
    openssl('x509', '-req', '-in', at('request'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2',
      '-extfile', at('extensions'), '-out', at(`${name}.pem`));
  }
  fs.writeFileSync(at('keystore.pem'), ['server.key', 'server.pem', 'ca.pem'].map((name) => fs.readFileSync(at(name))).join(''));
  fs.writeFileSync(at('password'), `${PASSWORD}\n`, { mode: 0o600 });
}

export const ADD_USER = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((kind) => ['--add-scram', `${kind}=[name=${USER},password=${PASSWORD}]`]);

export function properties(dir) {
  const login = (mechanism, module, rest) => [`listener.name.sasl.${mechanism}.sasl.jaas.config`, `org.apache.kafka.common.security.${module} required${rest};`];
  return Object.fromEntries([
    ['ssl.keystore.type', 'PEM'], ['ssl.keystore.location', path.join(dir, 'keystore.pem')],
    ['ssl.truststore.type', 'PEM'], ['ssl.truststore.location', path.join(dir, 'ca.pem')],
    ['listener.name.mtls.ssl.client.auth', 'required'],
    ['sasl.enabled.mechanisms', 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER'],
    login('plain', 'plain.PlainLoginModule', ` user_${USER}="${PASSWORD}"`),
    login('scram-sha-256', 'scram.ScramLoginModule', ''), login('scram-sha-512', 'scram.ScramLoginModule', ''),
    login('oauthbearer', 'oauthbearer.OAuthBearerLoginModule', ' unsecuredLoginStringClaim_sub="broker"'),
  ]);
}

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { until } from '../../../lib/wait.mjs';
import { quick } from '../../lib/quick.mjs';
import { temporary } from '../../lib/testing.mjs';
import { Cluster, missing } from '../cluster.mjs';

const main = fileURLToPath(new URL('../main.mjs', import.meta.url));
const skip = missing() ?? false;

async function start(t, options) {
  const cluster = new Cluster({ dir: temporary(t), ...options });
  t.after(() => cluster.stop());
  await cluster.start();
  return cluster;
}

/* Resolves to the certificate's subject, or to the code of the error. In TLS 1.3 a client learns after the handshake that it is refused. */
function shakeHands(port, options) {
  return new Promise((resolve) => {
    const socket = tls.connect({ port, host: '127.0.0.1', maxVersion: 'TLSv1.2', ...options }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', (error) => resolve(error.code));
  });
}

async function checkListeners(cluster) {
  const file = (name) => fs.readFileSync(path.join(cluster.dir, name));
  const [ports] = cluster.ports;
  for (const listener of ['SASL', 'TLS']) {
    assert.equal(await shakeHands(ports[listener], { ca: file('ca.pem') }), 'broker');
    assert.match(await shakeHands(ports[listener], { ca: file('other-ca.pem') }), /CERT|SIGNATURE/);
  }
  assert.equal(await shakeHands(ports.MTLS, { ca: file('ca.pem'), cert: file('client.pem'), key: file('client.key') }), 'broker');
  assert.match(await shakeHands(ports.MTLS, { ca: file('ca.pem') }), /ALERT|ECONNRESET/);
}

const unlessQuick = quick ? () => {} : test;
unlessQuick('three brokers: what a broken leader led has another leader, the broker comes back; listeners have their certificates', { skip }, async (t) => {
  const cluster = await start(t, { brokers: 3, secure: true });
  await cluster.tool('TopicCommand', '--create', '--topic', 'lane', '--partitions', '3');
  assert.deepEqual((await cluster.metadata()).brokers.sort(), [1, 2, 3]);
  await checkListeners(cluster);
  const moved = (from) => until('the leader has moved', async () => ![from, -1].includes(await cluster.leader('lane', 0)));

  const killed = await cluster.leader('lane', 0);
  await cluster.kill(killed);
  await moved(killed);
  await cluster.begin(killed);
  await cluster.untilWhole();

  const frozen = await cluster.leader('lane', 0);
  cluster.freeze(frozen);
  await moved(frozen);
  cluster.resume(frozen);
  await cluster.untilWhole();

  const controller = await cluster.controller();
  await cluster.kill(controller);
  await until('another controller is active', async () => ![controller, -1].includes(await cluster.controller()));
});

test('a program beside a cluster finds its address, acts on it, and its status is the result', { skip }, () => {
  const steps = 'case {kafka} in kafka://127.0.0.1:*) ;; *) exit 1 ;; esac; {kafka-dir}/control restart 1 && [ "$({kafka-dir}/control controller)" = 1 ] && exit 7';
  const { status, stderr } = spawnSync(process.execPath, [main, '--', 'sh', '-c', steps], { encoding: 'utf8' });
  assert.equal(status, 7, stderr);
});

test('a broker that does not start is said, with its log', { skip }, () => {
  const { status, stderr } = spawnSync(process.execPath, [main, '--set', 'num.io.threads=none', '--', 'true'], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /num\.io\.threads/);
});

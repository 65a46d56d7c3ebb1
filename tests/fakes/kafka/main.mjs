/*
 * Runs a program beside a Kafka cluster of its own; the status is the program's, or 77 where Java or the jars are missing:
 *
 *   node main.mjs [--brokers N] [--secure] [--set NAME=VALUE] … -- PROGRAM [ARGUMENTS]
 *
 * In an argument, {kafka} becomes kafka://127.0.0.1:PORT[,…], {kafka-dir} the cluster's folder. With --secure also {kafka-sasl}, {kafka-tls},
 * {kafka-mtls}: other listeners; their files and users are in lib/security.mjs. In the folder, `control` acts on a broker:
 * kill, end (SIGTERM), freeze, resume, begin, restart N; and prints `leader TOPIC PARTITION` and `controller`; `tool NAME …` is one of
 * org.apache.kafka.tools. Without a program the addresses are printed, as one JSON line, and the cluster stays until SIGTERM.
 */
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { spawn } from '../../lib/child.mjs';
import { Cluster, JAVA, missing } from './cluster.mjs';

const ACTIONS = ['kill', 'end', 'freeze', 'resume', 'begin', 'restart', 'leader', 'controller'];
const argv = process.argv.slice(2);
const cut = argv.includes('--') ? argv.indexOf('--') : argv.length;
const [program, ...args] = argv.slice(cut + 1);
const { values } = parseArgs({ args: argv.slice(0, cut), options: {
  brokers: { type: 'string', default: '1' }, secure: { type: 'boolean', default: false }, set: { type: 'string', multiple: true, default: [] } } });

const why = missing();
if (why) {
  process.stderr.write(`kafka: skipped: ${why}\n`);
  process.exit(77);
}
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-kafka-'));
const cluster = new Cluster({ dir, brokers: Number(values.brokers), secure: values.secure,
  set: Object.fromEntries(values.set.map((one) => one.split(/=(.*)/s, 2))) });

async function end(code) {
  await cluster.stop();
  fs.rmSync(dir, { recursive: true, force: true });
  process.exit(code);
}

const server = http.createServer(async (request, response) => {
  const [action, first, second] = request.url.split('/').slice(1);
  try {
    if (!ACTIONS.includes(action)) throw new Error(`${action} is none of ${ACTIONS.join(', ')}`);
    const answer = await cluster[action](action === 'leader' ? first : Number(first), Number(second));
    response.end(typeof answer === 'number' ? `${answer}\n` : '');
  } catch (error) {
    response.writeHead(500).end(`${error.message}\n`);
  }
});

function script(name, text) { fs.writeFileSync(path.join(dir, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 }); }

let child = null;
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => (child ? child.kill(signal) : end(0)));
try {
  await cluster.start();
} catch (error) {
  process.stderr.write(`kafka: ${error.message}\n`);
  for (const { log } of cluster.programs) if (fs.existsSync(log)) process.stderr.write(fs.readFileSync(log, 'utf8').split('\n').slice(-40).join('\n'));
  await end(1);
}
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
script('control', `IFS=/\nexec curl -sS --fail-with-body --max-time 120 "http://127.0.0.1:${server.address().port}/$*"`);
script('tool', `name=$1\nshift\nexec java ${JAVA.map((word) => `'${word}'`).join(' ')} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "org.apache.kafka.tools.$name" --bootstrap-server ${cluster.addresses()} "$@"`);

const names = { kafka: `kafka://${cluster.addresses()}`, 'kafka-dir': dir };
if (values.secure) for (const listener of ['SASL', 'TLS', 'MTLS']) names[`kafka-${listener.toLowerCase()}`] = `kafka://${cluster.addresses(listener)}`;
if (program) {
  child = spawn(program, args.map((arg) => arg.replace(/\{(kafka[a-z-]*)\}/g, (text, name) => names[name] ?? text)), { stdio: 'inherit' });
  child.on('error', (error) => { process.stderr.write(`kafka: ${error.message}\n`); end(1); });
  child.on('exit', (code, signal) => end(signal ? 128 + os.constants.signals[signal] : code));
} else {
  process.stdout.write(`${JSON.stringify(names)}\n`);
}

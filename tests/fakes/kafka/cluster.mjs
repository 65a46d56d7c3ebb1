/*
 * A Kafka cluster of a test: one broker or three (each a controller too) on the loopback address, in a folder that the caller
 * removes. Not a stand-in: it is Apache Kafka. The brokers are numbered from 1 and end with this process.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawn } from '../../lib/child.mjs';
import { Program } from '../../lib/program.mjs';
import { until } from '../../lib/wait.mjs';
import * as questions from './lib/questions.mjs';
import * as security from './lib/security.mjs';

const JARS = process.env.MAYFLY_KAFKA_JARS ?? fileURLToPath(new URL('../../../build/kafka', import.meta.url));
export const JAVA = ['-Xmx192m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData', '-Xshare:auto', '-cp', `${JARS}/*`];
const LOG = ['-Dorg.slf4j.simpleLogger.showDateTime=true', '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS'];

/* A broken leader costs 8 to 20 s with Kafka's own settings, 2 to 3 s with these. A killed broker may return only when its session is over. */
const quickFailover = (brokers) => ({
  'broker.session.timeout.ms': brokers > 1 ? 1500 : 3000, 'broker.heartbeat.interval.ms': 300,
  'controller.quorum.fetch.timeout.ms': 1000, 'controller.quorum.election.timeout.ms': 500,
});
const SMALL = {
  'offsets.topic.num.partitions': 4, 'transaction.state.log.num.partitions': 1, 'share.coordinator.state.topic.num.partitions': 1,
  'log.cleaner.dedupe.buffer.size': 4 << 20, 'num.network.threads': 2, 'num.io.threads': 4, 'background.threads': 2,
  'group.initial.rebalance.delay.ms': 0, 'auto.create.topics.enable': false,
};

function replicated(brokers) {
  const [copies, least] = brokers > 1 ? [3, 2] : [1, 1];
  return { 'default.replication.factor': copies, 'min.insync.replicas': least, 'offsets.topic.replication.factor': copies,
    'transaction.state.log.replication.factor': copies, 'transaction.state.log.min.isr': least,
    'share.coordinator.state.topic.replication.factor': copies, 'share.coordinator.state.topic.min.isr': least };
}

/* Why there can be no cluster, or null. */
export function missing() {
  if (!(process.env.PATH ?? '').split(':').some((folder) => fs.existsSync(path.join(folder, 'java')))) return 'there is no Java (deploy/packages kafka)';
  return fs.existsSync(path.join(JARS, 'made-of')) ? null : 'Kafka is not there (tests/fakes/kafka/setup)';
}

/* Below the range of outgoing connections, one of which could otherwise have the port of a broker that is down. */
async function freePort(taken) {
  for (;;) {
    const port = 20000 + crypto.randomInt(12000);
    const free = await new Promise((resolve) => {
      const server = net.createServer().once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free && !taken.has(port)) {
      taken.add(port);
      return port;
    }
  }
}

export class Cluster {
  /* dir: an empty folder. secure: also the listeners of lib/security.mjs. set: properties of the brokers. */
  constructor({ dir, brokers = 1, secure = false, set = {} }) {
    Object.assign(this, { dir, size: brokers, secure, set, programs: [], ports: [] });
    this.listeners = { PLAINTEXT: 'PLAINTEXT', CONTROLLER: 'PLAINTEXT', ...(secure && security.LISTENERS) };
  }

  get numbers() { return Array.from({ length: this.size }, (_, i) => i + 1); }

  /* "127.0.0.1:PORT,…" of one kind of listener. */
  addresses(listener = 'PLAINTEXT') { return this.ports.map((ports) => `127.0.0.1:${ports[listener]}`).join(','); }

  at(...parts) { return path.join(this.dir, ...parts.map(String)); }

  async start() {
    if (this.secure) security.makeFiles(this.dir);
    const taken = new Set();
    for (const _ of this.numbers) {
      const ports = {};
      for (const name of Object.keys(this.listeners)) ports[name] = await freePort(taken);
      this.ports.push(ports);
    }
    const id = crypto.randomBytes(16).toString('base64url').replace(/^-/, 'A'); // no option
    await Promise.all(this.numbers.map((n) => this.format(n, id)));
    this.programs = this.numbers.map((n) => new Program({ name: `kafka-${n}`, kind: 'kafka', command: 'java',
      args: [...JAVA, ...LOG, 'kafka.Kafka', this.at(`${n}.properties`)], log: this.at(`kafka-${n}.log`), started: (line) => line.includes('Kafka Server started') }));
    // Three of them take minutes on a loaded machine, which is no result.
    await Promise.all(this.programs.map((program) => program.start({ seconds: 240 })));
    await this.untilWhole();
  }

  properties(n) {
    const ports = this.ports[n - 1];
    const each = (write) => Object.keys(this.listeners).map(write).join(',');
    return { 'process.roles': 'broker,controller', 'node.id': n, 'log.dirs': this.at(`data-${n}`),
      'controller.quorum.voters': this.ports.map((p, i) => `${i + 1}@127.0.0.1:${p.CONTROLLER}`).join(','),
      'listeners': each((name) => `${name}://127.0.0.1:${ports[name]}`), 'controller.listener.names': 'CONTROLLER',
      'inter.broker.listener.name': 'PLAINTEXT', 'listener.security.protocol.map': each((name) => `${name}:${this.listeners[name]}`),
      ...replicated(this.size), ...SMALL, ...quickFailover(this.size), ...(this.secure && security.properties(this.dir)), ...this.set };
  }

  format(n, id) {
    fs.writeFileSync(this.at(`${n}.properties`), Object.entries(this.properties(n)).map(([key, value]) => `${key}=${value}\n`).join(''));
    return this.java(['kafka.tools.StorageTool', 'format', '-t', id, '-c', this.at(`${n}.properties`), ...(this.secure ? security.ADD_USER : [])]);
  }

  /* Runs one of Kafka's own tools; resolves to what it printed. */
  java(args) {
    return new Promise((resolve, reject) => {
      const child = spawn('java', [...JAVA, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      let out = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { out += data; });
      child.on('error', reject);
      child.on('close', (code) => (code === 0 ? resolve(out) : reject(new Error(`${args[0]}: ${code}: ${out}`))));
    });
  }

  tool(name, ...args) { return this.java([`org.apache.kafka.tools.${name}`, '--bootstrap-server', this.addresses(), ...args]); }

  /* Until every broker runs, and each partition has a leader and all its copies. */
  untilWhole() {
    return until('the cluster is whole', async () => {
      const { brokers, topics } = await this.metadata();
      return brokers.length === this.size && Object.values(topics).flat().every(({ leader, whole }) => leader > 0 && whole) && (await this.controller()) > 0;
    }, { seconds: 120 });
  }

  /* The first response of a broker, else of the next; the question is asked again until there is one. */
  ask(question, empty) {
    const asked = async (n) => (this.programs[n - 1].alive && !this.frozen(n) ? question(this.ports[n - 1].PLAINTEXT).catch(() => empty) : empty);
    return until('a broker responds', async () => {
      for (const n of this.numbers) {
        const answer = await asked(n);
        if (answer !== empty) return answer;
      }
      return null;
    }, { seconds: 60, every_ms: 100 });
  }

  metadata() { return this.ask(questions.metadata, null); }
  controller() { return this.ask(questions.controller, -1); }
  async leader(topic, partition) { return (await this.metadata()).topics[topic]?.[partition]?.leader ?? -1; }

  frozen(n) { return this.programs[n - 1].frozen ?? false; }
  kill(n) { return this.programs[n - 1].stop('SIGKILL'); }
  /* In order: its partitions get another leader first. */
  end(n) { return this.programs[n - 1].stop('SIGTERM'); }
  begin(n) { return this.programs[n - 1].start(); }
  async restart(n) { await this.kill(n); await this.begin(n); }

  freeze(n) {
    this.programs[n - 1].frozen = true;
    this.programs[n - 1].signal('SIGSTOP');
  }

  resume(n) {
    this.programs[n - 1].signal('SIGCONT');
    this.programs[n - 1].frozen = false;
  }

  stop() { return Promise.all(this.programs.filter((program) => program.child).map((program) => program.stop('SIGKILL'))); }
}

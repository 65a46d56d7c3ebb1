/* The engine: a Python process that carries out one operation after the other (../engine/main.py). */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../engine/main.py', import.meta.url));
const PYTHON = process.env.MAYFLY_FAKES_PYTHON ?? fileURLToPath(new URL('../../../../build/fakes-python/bin/python', import.meta.url));

export class Engine {
  /** Resolves when it takes operations. */
  async start({ region, account }) {
    if (!fs.existsSync(PYTHON)) throw new Error(`there is no ${PYTHON}: run tests/fakes/dynamodb/setup`);
    this.waiting = [];
    this.ended = false;
    this.child = spawn(PYTHON, [PROGRAM, region, account], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.gone = new Promise((resolve) => { this.child.once('exit', resolve); });
    this.child.stdin.on('error', () => {}); // its end is what is noticed
    const ready = new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
    readline.createInterface({ input: this.child.stdout }).on('line', (line) => this.waiting.shift().resolve(line));
    this.gone.then((code) => {
      this.ended = true;
      for (const { reject } of this.waiting.splice(0)) reject(new Error(`the engine ended with ${code}`));
    });
    await ready;
  }

  /** {status, body}. */
  async run(operation, lagMs, body) {
    if (this.ended) throw new Error('the engine has ended');
    const answer = new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
    this.child.stdin.write(`${JSON.stringify([operation, lagMs, body])}\n`);
    const [status, text] = JSON.parse(await answer);
    return { status, body: text };
  }

  stop() {
    this.child.stdin.end();
    return this.gone;
  }
}

/*
 * Runs a program with stand-ins of its own:
 *
 *   node with-fakes.mjs NAME [its options] [-- NAME [its options]] … -- PROGRAM [ARGUMENTS]
 *
 * NAME is a folder beside this file. The program finds each address in MAYFLY_FAKE_<NAME>, in capitals and with _ for
 * -; its exit status is the result. A stand-in that does not start or ends early is a failure.
 */
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { spawn } from '../lib/child.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const mainOf = (name) => path.join(here, name, 'main.mjs');
const children = [];
let ending = false;

function end(code) {
  if (ending) return;
  ending = true;
  const alive = children.filter((child) => child.exitCode === null && child.signalCode === null);
  Promise.all(alive.map((child) => new Promise((resolve) => {
    child.once('exit', resolve);
    child.kill('SIGTERM');
  }))).then(() => process.exit(code));
}

function fail(message) {
  if (ending) return;
  process.stderr.write(`with-fakes: ${message}\n`);
  end(2);
}

function start([name, ...options]) {
  const child = spawn(process.execPath, [mainOf(name), ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  child.once('exit', (code, signal) => fail(`the stand-in ${name} ended with ${code ?? signal}`));
  return new Promise((resolve) => {
    readline.createInterface({ input: child.stdout }).once('line', (line) => {
      resolve([`MAYFLY_FAKE_${name.toUpperCase().replaceAll('-', '_')}`, JSON.parse(line).url]);
    });
  });
}

/** Groups of words parted by `--`, as long as a group begins with a stand-in's name; the rest is the program. */
function split(argv) {
  const fakes = [];
  let rest = argv;
  while (rest.length > 0 && fs.existsSync(mainOf(rest[0]))) {
    const cut = rest.indexOf('--');
    if (cut < 0) return { fakes, program: [] };
    fakes.push(rest.slice(0, cut));
    rest = rest.slice(cut + 1);
  }
  return { fakes, program: rest };
}

const { fakes, program: [program, ...args] } = split(process.argv.slice(2));
if (fakes.length === 0 || !program) {
  process.stderr.write('usage: node with-fakes.mjs NAME [options] [-- NAME [options]] … -- PROGRAM [ARGUMENTS]\n');
  process.exit(2);
}
const addresses = Object.fromEntries(await Promise.all(fakes.map(start)));
const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...addresses } });
child.on('error', (error) => fail(error.message));
child.on('exit', (code, signal) => {
  if (signal) process.stderr.write(`${program} was ended by ${signal}\n`);
  end(code ?? 1);
});
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => child.kill(signal));

/*
 * Runs a program against a fake of its own: node with-fake.mjs [fake's options] -- PROGRAM [ARGUMENTS]
 * The program finds the fake's address in MAYFLY_FAKE_LAMBDA; its exit status is the result.
 */
import { spawn } from 'node:child_process';
import { parseArguments } from './lib/options.mjs';
import { FakeLambda } from './lib/server.mjs';

const argv = process.argv.slice(2);
const cut = argv.indexOf('--');
if (cut < 0 || cut === argv.length - 1) throw new Error('usage: node with-fake.mjs [options] -- PROGRAM [ARGUMENTS]');
const fake = new FakeLambda(parseArguments(argv.slice(0, cut)));
const url = await fake.listen();
const [program, ...rest] = argv.slice(cut + 1);
const child = spawn(program, rest, { stdio: 'inherit', env: { ...process.env, MAYFLY_FAKE_LAMBDA: url } });
child.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
});
child.on('exit', (code, signal) => fake.stop().then(() => {
  if (signal) process.stderr.write(`${program} was ended by ${signal}\n`);
  process.exit(code ?? 1);
}));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => child.kill(signal));

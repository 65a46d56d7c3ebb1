/*
 * A stand-in as a program: its options, its first line on standard output ({"url": "..."}), its end on SIGTERM.
 * `make(config)` returns (or resolves to) what has listen() and stop().
 */
import { OptionError } from './options.mjs';

async function start(options, make, argv) {
  if (argv.includes('--help')) {
    process.stdout.write(`${options.usage()}\n`);
    return;
  }
  const fake = await make(options.parse(argv));
  const url = await fake.listen();
  const stop = () => fake.stop().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdout.write(`${JSON.stringify({ url })}\n`);
}

export function run(options, make, argv = process.argv.slice(2)) {
  start(options, make, argv).catch((error) => {
    process.stderr.write(error instanceof OptionError ? `${error.message}\n${options.usage()}\n` : `${error.stack}\n`);
    process.exit(2);
  });
}

/*
 * A stand-in for AWS Lambda MicroVMs, whose VMs play runners. See README.md.
 * The first line on standard output is {"url": "..."}; SIGTERM ends it.
 */
import { OptionError, parseArguments, usage } from './lib/options.mjs';
import { FakeLambda } from './lib/server.mjs';

async function main(argv) {
  if (argv.includes('--help')) {
    process.stdout.write(`${usage()}\n`);
    return;
  }
  const fake = new FakeLambda(parseArguments(argv));
  const url = await fake.listen();
  const stop = () => fake.stop().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdout.write(`${JSON.stringify({ url })}\n`);
}

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(error instanceof OptionError ? `${error.message}\n${usage()}\n` : `${error.stack}\n`);
  process.exit(2);
});

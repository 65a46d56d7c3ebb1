/*
 * A stand-in for GitHub: REST API of Actions runners and jobs, webhooks, and the runner's side. See README.md.
 * The first line on standard output is {"url": "..."}; SIGTERM ends it.
 */
import { OptionError, parseArguments, usage } from './lib/options.mjs';
import { FakeGitHub } from './lib/server.mjs';

async function main(argv) {
  if (argv.includes('--help')) {
    process.stdout.write(`${usage()}\n`);
    return;
  }
  const config = parseArguments(argv);
  const validator = config.validate ? await (await import('./lib/openapi.mjs')).loadValidator() : null;
  const fake = new FakeGitHub(config, validator);
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

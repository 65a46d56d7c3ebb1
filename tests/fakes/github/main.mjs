/*
 * A stand-in for GitHub: REST API of Actions runners and jobs, webhooks, and the runner's side. See README.md.
 */
import { run } from '../lib/program.mjs';
import { options } from './lib/options.mjs';
import { FakeGitHub } from './lib/server.mjs';

run(options, async (config) => {
  const validator = config.validate ? await (await import('./lib/openapi.mjs')).loadValidator() : null;
  return new FakeGitHub(config, validator);
});

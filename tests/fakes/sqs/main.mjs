/* A stand-in for Amazon SQS. See README.md. */
import { run } from '../lib/program.mjs';
import { options } from './lib/options.mjs';
import { FakeSqs } from './lib/server.mjs';

run(options, (config) => new FakeSqs(config));

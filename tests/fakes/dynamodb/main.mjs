/* A stand-in for Amazon DynamoDB. See README.md. */
import { run } from '../lib/program.mjs';
import { options } from './lib/options.mjs';
import { FakeDynamo } from './lib/server.mjs';

run(options, (config) => new FakeDynamo(config));

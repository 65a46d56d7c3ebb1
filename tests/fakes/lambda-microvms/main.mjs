/* A stand-in for AWS Lambda MicroVMs, whose VMs play runners. See README.md. */
import { run } from '../lib/program.mjs';
import { options } from './lib/options.mjs';
import { FakeLambda } from './lib/server.mjs';

run(options, (config) => new FakeLambda(config));

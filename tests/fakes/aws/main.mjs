/* A stand-in for AWS's credentials and secrets: STS, container and instance metadata, SSM, Secrets Manager, KMS, Service Quotas. */
import { run } from '../lib/program.mjs';
import { options } from './lib/options.mjs';
import { FakeAws } from './lib/server.mjs';

run(options, (config) => new FakeAws(config));

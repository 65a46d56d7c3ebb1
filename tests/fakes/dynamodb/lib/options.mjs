/* The options beside the common ones; see ../../lib/options.mjs. */
import { AWS_OPTIONS } from '../../lib/aws_service.mjs';
import { Options } from '../../lib/options.mjs';
import { EMULATOR_OPTION } from '../../emulators/emulators.mjs';

export const options = new Options([
  ...AWS_OPTIONS,
  EMULATOR_OPTION,
  { key: 'read_lag_ms', kind: 'number', default: 0, live: true, help: 'reads without ConsistentRead tell what was so long ago' },
]);

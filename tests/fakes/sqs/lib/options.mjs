/* The options beside the common ones; see ../../lib/options.mjs. */
import { AWS_OPTIONS } from '../../lib/aws_service.mjs';
import { Options } from '../../lib/options.mjs';
import { EMULATOR_OPTION } from '../../emulators/emulators.mjs';

export const options = new Options([
  ...AWS_OPTIONS.filter(({ key }) => key !== 'account'), // the emulator's is fixed
  EMULATOR_OPTION,
  { key: 'queue', kind: 'list', default: [], help: 'name of a queue that exists from the start; may repeat' },
]);

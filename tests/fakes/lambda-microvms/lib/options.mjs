/* The options beside the common ones; see ../../lib/options.mjs. */
import { AWS_OPTIONS } from '../../lib/aws_service.mjs';
import { Options } from '../../lib/options.mjs';

export const options = new Options([
  ...AWS_OPTIONS,
  { key: 'image', kind: 'list', default: [], help: 'NAME[=MEMORY_MIB] of an image that exists; may repeat (mayfly=2048)' },
  { key: 'run_rate', kind: 'number', default: 5, live: true, help: 'RunMicrovm per second; 0 does not limit' },
  { key: 'run_burst', kind: 'int', default: 5, live: true, help: 'RunMicrovm at once after a quiet time' },
  { key: 'terminate_rate', kind: 'number', default: 10, live: true, help: 'TerminateMicrovm per second' },
  { key: 'terminate_burst', kind: 'int', default: 10, live: true, help: 'TerminateMicrovm at once' },
  { key: 'get_rate', kind: 'number', default: 100, live: true, help: 'GetMicrovm per second' },
  { key: 'get_burst', kind: 'int', default: 100, live: true, help: 'GetMicrovm at once' },
  { key: 'list_rate', kind: 'number', default: 100, live: true, help: 'ListMicrovms and calls about images per second' },
  { key: 'list_burst', kind: 'int', default: 100, live: true, help: 'ListMicrovms and calls about images at once' },
  { key: 'retry_after_s', kind: 'int', default: 1, live: true, help: 'Retry-After of throttled answers; 0 tells none' },
  { key: 'memory_quota_mib', kind: 'int', default: 1048576, live: true, help: 'memory of all VMs at once' },
  { key: 'memory_factor', kind: 'number', default: 4, live: true, help: 'a VM counts at so many times its size' },
  { key: 'payload_limit', kind: 'int', default: 4096, live: true, help: 'bytes of runHookPayload' },
  { key: 'page_size', kind: 'int', default: 50, live: true, help: 'items of a page when maxResults is not given' },
  { key: 'empty_page_every', kind: 'int', default: 0, live: true, help: 'every so many list answers one is an empty page; 0 never' },
  { key: 'read_lag_ms', kind: 'number', default: 0, live: true, help: 'Get and List tell what was so long ago' },
  { key: 'keep_terminated_s', kind: 'number', default: 60, live: true, help: 'an ended VM is told so long' },
  { key: 'error_style', kind: 'text', default: 'header', values: ['header', 'body'], live: true, help: 'where the name of an error stands' },
  { key: 'start_ms', kind: 'number', default: 20, live: true, help: 'from RunMicrovm to RUNNING' },
  { key: 'runner_start_ms', kind: 'number', default: 0, live: true, help: 'from RUNNING to the runner\'s session' },
  { key: 'terminate_ms', kind: 'number', default: 20, live: true, help: 'from TerminateMicrovm to TERMINATED' },
  { key: 'job_ms', kind: 'number', default: 0, live: true, help: 'a job takes so long, on top of the sleeps in its command' },
  { key: 'jitter', kind: 'number', default: 0, live: true, help: 'the times above vary by this share of themselves, 0 to 1' },
  { key: 'poll_s', kind: 'number', default: 25, live: true, help: 'a runner\'s long poll' },
  { key: 'self_terminate', kind: 'flag', default: false, live: true, help: 'VMs end themselves after their runner even without an execution role' },
]);

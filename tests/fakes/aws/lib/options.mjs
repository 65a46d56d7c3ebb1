/* The options beside the common ones; see ../../lib/options.mjs. */
import { AWS_OPTIONS } from '../../lib/aws_service.mjs';
import { Options } from '../../lib/options.mjs';

export const options = new Options([
  ...AWS_OPTIONS.map((option) => (option.key === 'realm' ? { ...option, default: 'mayfly', help: 'where the keys that it issues are accepted' } : option)),
  { key: 'credential_life_s', kind: 'number', default: 0, live: true, help: 'life of issued keys; 0: as asked, else an hour' },
  { key: 'role', kind: 'list', default: [], help: 'ARN of a role that may be assumed; may repeat; any without' },
  { key: 'web_identity_token', kind: 'text', default: null, live: true, help: 'the only one that is accepted; any without' },
  { key: 'container_token', kind: 'text', default: null, live: true, help: 'the container endpoint wants it as Authorization' },
  { key: 'instance_role', kind: 'text', default: 'mayfly-host', live: true, help: 'role of the instance; empty: it has none' },
  { key: 'imds_v1', kind: 'flag', default: false, live: true, help: 'instance metadata without a token' },
  { key: 'parameter', kind: 'list', default: [], help: 'NAME=VALUE in SSM; may repeat' },
  { key: 'secret', kind: 'list', default: [], help: 'NAME=VALUE in Secrets Manager; may repeat' },
  { key: 'kms_key', kind: 'list', default: [], help: 'ID=PEM-FILE of an RSA private key in KMS; may repeat' },
  { key: 'quota', kind: 'list', default: [], help: 'SERVICE/CODE=VALUE in Service Quotas; may repeat' },
]);

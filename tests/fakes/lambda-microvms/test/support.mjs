/* What the tests share: a fake in this process, AWS's own client. */
import { LambdaMicrovmsClient } from '@aws-sdk/client-lambda-microvms';
import { serve } from '../../lib/testing.mjs';
import { options } from '../lib/options.mjs';
import { FakeLambda } from '../lib/server.mjs';

export const IMAGE = 'arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly';

/** Unlimited unless the test says otherwise. */
export function startFake(t, settings = {}) {
  const config = { ...options.defaults(), run_rate: 0, terminate_rate: 0, get_rate: 0, list_rate: 0, start_ms: 1, terminate_ms: 1, ...settings };
  return serve(t, new FakeLambda(config));
}

/** AWS's own client. One attempt, so that a refusal is seen as it came. */
export function client(t, fake, settings = {}) {
  const made = new LambdaMicrovmsClient({
    endpoint: fake.url, region: 'us-east-1', credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'not-a-secret' }, maxAttempts: 1, ...settings,
  });
  t.after(() => made.destroy());
  return made;
}

/* What the tests share: a fake in this process, AWS's own client. */
import assert from 'node:assert/strict';
import { LambdaMicrovmsClient } from '@aws-sdk/client-lambda-microvms';
import { defaults } from '../lib/options.mjs';
import { FakeLambda } from '../lib/server.mjs';

export const IMAGE = 'arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly';
const GIVE_UP_MS = 20_000;

/** Unlimited unless the test says otherwise; `fake.happened(event, fields)` resolves with the entry, past or to come. */
export async function startFake(t, settings = {}, parts = {}) {
  const config = { ...defaults(), run_rate: 0, terminate_rate: 0, get_rate: 0, list_rate: 0, start_ms: 1, terminate_ms: 1, ...settings };
  const fake = new FakeLambda(config, parts);
  const entries = [];
  fake.entries = entries;
  fake.log.listeners.add((entry) => entries.push(entry));
  fake.happened = (event, fields = {}) => {
    const accepts = (entry) => entry.event === event && Object.entries(fields).every(([key, value]) => entry[key] === value);
    const past = entries.find(accepts);
    if (past) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const listener = (entry) => {
        if (!accepts(entry)) return;
        clearTimeout(timer);
        fake.log.listeners.delete(listener);
        resolve(entry);
      };
      const timer = setTimeout(() => reject(new Error(`${event} ${JSON.stringify(fields)} did not happen`)), GIVE_UP_MS);
      fake.log.listeners.add(listener);
    });
  };
  fake.ask = async (method, where, body) => {
    const response = await fetch(`${fake.url}/_fake${where}`, { method, body: body === undefined ? undefined : JSON.stringify(body) });
    const answer = await response.json();
    assert.ok(response.ok || response.status === 408, `${where}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  };
  await fake.listen();
  t.after(() => fake.stop());
  return fake;
}

/** AWS's own client. One attempt, so that a refusal is seen as it came. */
export function client(t, fake, options = {}) {
  const made = new LambdaMicrovmsClient({
    endpoint: fake.url, region: 'us-east-1', credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'not-a-secret' }, maxAttempts: 1, ...options,
  });
  t.after(() => made.destroy());
  return made;
}

/* What the tests of all stand-ins share. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { spawn } from '../../lib/child.mjs';

export const GIVE_UP_MS = 20_000;

export function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mayfly-fake-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const readLog = (file) => fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));

/** A call of the control API; its answer must be one of success, or that the time of a wait is over. */
export async function ask(url, method, where, body) {
  const response = await fetch(`${url}/_fake${where}`, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  const answer = await response.json();
  assert.ok(response.ok || response.status === 408, `${where}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/**
 * Lets a stand-in of this process listen until the test's end, with three helps: `entries` of its log so far,
 * `happened(event, fields)` that resolves with the entry, past or to come, and `ask(method, where, body)`.
 */
export async function serve(t, fake) {
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
  fake.ask = (...args) => ask(fake.url, ...args);
  await fake.listen();
  t.after(() => fake.stop());
  return fake;
}

/** Starts a stand-in as a program; `stop()` resolves with its exit code, or the signal that ended it. */
export async function launch(t, main, ...options) {
  const child = spawn(process.execPath, [main, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const line = await new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)));
  });
  const { url } = JSON.parse(line);
  const stop = () => new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal));
    child.kill('SIGTERM');
  });
  return { url, stop, ask: (...args) => ask(url, ...args) };
}

/** Each list of options must end the program with status 2 and the usage. */
export function refusesOptions(main, ...lists) {
  for (const options of lists) {
    const { status, stderr } = spawnSync(process.execPath, [main, ...options], { encoding: 'utf8' });
    assert.equal(status, 2, options.join(' '));
    assert.match(stderr, /usage:/);
  }
  assert.equal(spawnSync(process.execPath, [main, '--help']).status, 0);
}

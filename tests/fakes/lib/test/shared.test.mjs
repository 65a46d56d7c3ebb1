/* What all stand-ins share, by itself. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Control } from '../control.mjs';
import { FaultList } from '../fault_list.mjs';
import { LoopbackServer, Router, send } from '../http.mjs';
import { Log } from '../log.mjs';
import { Options } from '../options.mjs';
import { Random } from '../random.mjs';
import { ask } from '../testing.mjs';

const WITH = fileURLToPath(new URL('../../with-fakes.mjs', import.meta.url));
const rows = [
  { key: 'rate', kind: 'number', default: 5, live: true, help: 'calls per second' },
  { key: 'style', kind: 'text', default: 'a', values: ['a', 'b'], live: true, help: 'style' },
  { key: 'name', kind: 'list', default: [], help: 'names' },
];

test('options_take_both_forms_and_lists', () => {
  const config = new Options(rows).parse(['--rate=2.5', '--name', 'x', '--name=y=z', '--style', 'b']);
  assert.deepEqual(config, { port: 0, log: null, rate: 2.5, style: 'b', name: ['x', 'y=z'] });
});

test('options_changes_are_applied_whole_or_not_at_all', () => {
  const options = new Options(rows);
  const config = options.defaults();
  assert.throws(() => options.reconfigure(config, { rate: 7, style: 'c' }), /style is a or b/);
  assert.throws(() => options.reconfigure(config, { rate: 7, name: ['x'] }), /name cannot be changed/);
  assert.throws(() => options.reconfigure(config, { rate: -1 }), /not a number >= 0/);
  assert.equal(config.rate, 5);
  assert.equal(options.reconfigure(config, { rate: 7 }).rate, 7);
});

test('router_tells_an_unknown_path_from_an_unknown_method', () => {
  const router = new Router();
  router.add('GET', '/vms/{id}/x', { handle: 1 });
  assert.deepEqual(router.find('GET', '/vms/a%2Fb/x').params, { id: 'a/b' });
  assert.deepEqual([router.find('PUT', '/vms/a/x').known, router.find('GET', '/vms/a').known], [true, false]);
});

test('fault_list_serves_the_first_with_times_left', () => {
  const faults = new FaultList((fault) => {
    if (!fault.operation) throw new RangeError('no operation');
  }, new Random(1));
  assert.throws(() => faults.add([{ operation: 'a' }, { status: 1 }]), /no operation/);
  assert.throws(() => faults.add(undefined), /no operation/);
  assert.equal(faults.list.length, 0);
  faults.add([{ operation: 'a', times: 2, n: 1 }, { operation: 'a', n: 2 }, { operation: 'b', probability: 0 }]);
  const take = (operation) => faults.take((fault) => fault.operation === operation)?.n;
  assert.deepEqual([take('a'), take('a'), take('a'), take('b')], [1, 1, 2, undefined]);
});

test('control_waits_for_counts_and_hides_no_bug', async (t) => {
  const log = new Log(null);
  const entries = [];
  log.listeners.add((entry) => entries.push(entry));
  const control = new Control({ config: { rate: 1 }, options: new Options(rows), log, faults: new FaultList(() => {}, new Random(1)) });
  let calls = 0;
  control.counters = () => ({ calls });
  const route = (request, response, url) => {
    if (url.pathname === '/bug') throw new Error('oops');
    calls += 1;
    control.changed();
    send(response, 200, {}, 'ok');
  };
  const server = new LoopbackServer({ port: 0, log, control, route });
  await server.listen();
  t.after(() => server.stop());
  const waiting = ask(server.url, 'GET', '/wait?calls=2&timeout=20');
  await fetch(`${server.url}/a`);
  assert.equal((await ask(server.url, 'GET', '/wait?calls=2&timeout=0.02')).met, false);
  await fetch(`${server.url}/a`);
  assert.equal((await waiting).met, true);
  await assert.rejects(ask(server.url, 'GET', '/nothing'), /404.*no call/);
  await assert.rejects(ask(server.url, 'PUT', '/state'), /405/);
  await assert.rejects(ask(server.url, 'GET', '/wait?x=1'), /400.*cannot wait/);
  assert.equal(entries.filter((entry) => entry.event === 'internal_error').length, 0);
  await assert.rejects(fetch(`${server.url}/bug`));
  assert.equal(entries.filter((entry) => entry.event === 'internal_error').length, 1);
});

test('with_fakes_gives_the_addresses_and_passes_the_result_on', () => {
  const script = `Promise.all(['GITHUB', 'LAMBDA_MICROVMS'].map((name) => fetch(process.env['MAYFLY_FAKE_' + name] + '/_fake/state')))
    .then((all) => process.exit(all.every((r) => r.ok) ? 7 : 1))`;
  const { status } = spawnSync(process.execPath, [WITH, 'github', '--org', 'x', '--', 'lambda-microvms', '--', process.execPath, '-e', script]);
  assert.equal(status, 7);
});

test('with_fakes_fails_when_a_stand_in_does_not_start', () => {
  const { status, stderr } = spawnSync(process.execPath, [WITH, 'github', '--nonsense', '--', 'sleep', '60'], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /github ended with 2/);
});

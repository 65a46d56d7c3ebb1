/* DynamoDB, judged by AWS's own client. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  BatchGetItemCommand, BatchWriteItemCommand, ConditionalCheckFailedException, CreateTableCommand, DescribeTableCommand, DescribeTimeToLiveCommand,
  DynamoDBClient, GetItemCommand, IdempotentParameterMismatchException, InternalServerError, ProvisionedThroughputExceededException, PutItemCommand,
  QueryCommand, ResourceNotFoundException, TransactWriteItemsCommand, TransactionCanceledException, TransactionConflictException, UpdateItemCommand,
  UpdateTimeToLiveCommand,
} from '@aws-sdk/client-dynamodb';
import { launch, readLog, refusesOptions, serve, temporary } from '../../lib/testing.mjs';
import { Engine } from '../lib/engine.mjs';
import { options } from '../lib/options.mjs';
import { FakeDynamo } from '../lib/server.mjs';

const MAIN = fileURLToPath(new URL('../main.mjs', import.meta.url));
const OWN = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'own/secret+key' };
const TABLE = {
  TableName: 'ledger', BillingMode: 'PAY_PER_REQUEST',
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  AttributeDefinitions: ['pk', 'sk', 'state'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
  GlobalSecondaryIndexes: [{
    IndexName: 'by-state', Projection: { ProjectionType: 'ALL' },
    KeySchema: [{ AttributeName: 'state', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  }],
};

/* One engine for all tests: Python takes its time to start. */
const engine = new Engine();
before(() => engine.start({ region: 'us-east-1', account: '123456789012' }));
after(() => engine.stop());

function client(t, fake, settings = {}) {
  const made = new DynamoDBClient({ endpoint: fake.url, region: 'us-east-1', credentials: OWN, maxAttempts: 1, ...settings });
  t.after(() => made.destroy());
  return made;
}
const key = (pk, sk = 'x') => ({ pk: { S: pk }, sk: { S: sk } });
const fails = (promise, type, check = () => {}) => assert.rejects(promise, (error) => {
  assert.ok(typeof type === 'string' ? error.name === type : error instanceof type, error.stack);
  check(error);
  return true;
});

/** A fake with the table, and the calls that most tests make. */
async function scene(t, settings = {}) {
  await engine.run('reset', 0, '');
  const fake = await serve(t, new FakeDynamo({ ...options.defaults(), ...settings }, engine));
  const c = client(t, fake);
  await c.send(new CreateTableCommand(TABLE));
  const put = (pk, sk, more = {}, extra = {}) => c.send(new PutItemCommand({ TableName: 'ledger', Item: { ...key(pk, sk), ...more }, ...extra }));
  const get = async (pk, sk, ConsistentRead = true) => (await c.send(new GetItemCommand({ TableName: 'ledger', Key: key(pk, sk), ConsistentRead }))).Item;
  const add = (pk, sk, limit) => c.send(new UpdateItemCommand({
    TableName: 'ledger', Key: key(pk, sk), UpdateExpression: 'ADD #n :one', ConditionExpression: 'attribute_not_exists(#n) OR #n < :limit',
    ExpressionAttributeNames: { '#n': 'count' }, ExpressionAttributeValues: { ':one': { N: '1' }, ':limit': { N: String(limit) } }, ReturnValues: 'UPDATED_NEW',
  }));
  const transact = (TransactItems, more = {}) => c.send(new TransactWriteItemsCommand({ TransactItems, ...more }));
  return { fake, c, put, get, add, transact };
}
const putOnce = (pk, sk) => ({ Put: { TableName: 'ledger', Item: key(pk, sk), ConditionExpression: 'attribute_not_exists(pk)' } });
const countUp = (pk, sk, limit) => ({
  Update: {
    TableName: 'ledger', Key: key(pk, sk), UpdateExpression: 'ADD n :one', ConditionExpression: 'attribute_not_exists(n) OR n < :limit',
    ExpressionAttributeValues: { ':one': { N: '1' }, ':limit': { N: String(limit) } },
  },
});

test('conditional_put_tells_what_was_there', async (t) => {
  const { put } = await scene(t);
  const once = { ConditionExpression: 'attribute_not_exists(pk)', ReturnValuesOnConditionCheckFailure: 'ALL_OLD' };
  await put('a', 'x', { owner: { S: 'me' } }, once);
  await fails(put('a', 'x', { owner: { S: 'you' } }, once), ConditionalCheckFailedException, (error) => assert.equal(error.Item.owner.S, 'me'));
});

test('counter_never_passes_its_limit_however_many_ask', async (t) => {
  const { add, get, fake } = await scene(t);
  const answers = await Promise.allSettled(Array.from({ length: 40 }, () => add('slots', 'fleet', 25)));
  assert.equal(answers.filter((answer) => answer.status === 'fulfilled').length, 25);
  assert.equal((await get('slots', 'fleet')).count.N, '25');
  assert.equal((await fake.ask('GET', '/state')).conditions_failed, 15);
});

test('transaction_is_whole_or_not_at_all_with_a_reason_for_each', async (t) => {
  const { transact, get, put } = await scene(t);
  await put('b', 'x', { n: { N: '3' }, state: { S: 'old' } });
  await transact([putOnce('a', 'x'), countUp('b', 'x', 4)]);
  assert.equal((await get('b', 'x')).n.N, '4');
  const refused = transact([putOnce('new', 'x'), countUp('b', 'x', 4), { ConditionCheck: { TableName: 'ledger', Key: key('a', 'x'), ConditionExpression: 'attribute_exists(pk)' } }]);
  await fails(refused, TransactionCanceledException, (error) => {
    assert.deepEqual(error.CancellationReasons.map((reason) => reason.Code), ['None', 'ConditionalCheckFailed', 'None']);
  });
  assert.equal(await get('new', 'x'), undefined);
  assert.deepEqual((await get('b', 'x')).n.N, '4');
  await fails(transact([putOnce('z', 'x'), { Delete: { TableName: 'ledger', Key: key('z', 'x') } }]), 'ValidationException');
});

test('transaction_with_the_same_token_happens_once', async (t) => {
  const { transact, get } = await scene(t);
  for (let i = 0; i < 3; i++) await transact([countUp('a', 'x', 9)], { ClientRequestToken: 'token-1' });
  assert.equal((await get('a', 'x')).n.N, '1');
  await fails(transact([countUp('a', 'x', 8)], { ClientRequestToken: 'token-1' }), IdempotentParameterMismatchException);
  await transact([countUp('a', 'x', 9)], { ClientRequestToken: 'token-2' });
  assert.equal((await get('a', 'x')).n.N, '2');
});

test('query_reads_ranges_of_the_sort_key_in_order_and_pages', async (t) => {
  const { put, c } = await scene(t);
  for (const n of [3, 1, 2, 5, 4]) await put('job', `t#${n}`);
  await put('job', 'other');
  const ask = (more = {}) => c.send(new QueryCommand({
    TableName: 'ledger', KeyConditionExpression: 'pk = :p AND begins_with(sk, :t)', ExpressionAttributeValues: { ':p': { S: 'job' }, ':t': { S: 't#' } }, ...more,
  }));
  const told = (answer) => answer.Items.map((item) => item.sk.S);
  assert.deepEqual(told(await ask()), ['t#1', 't#2', 't#3', 't#4', 't#5']);
  assert.deepEqual(told(await ask({ ScanIndexForward: false, Limit: 2 })), ['t#5', 't#4']);
  const first = await ask({ Limit: 3 });
  assert.deepEqual(told(await ask({ ExclusiveStartKey: first.LastEvaluatedKey })), ['t#4', 't#5']);
  const between = { KeyConditionExpression: 'pk = :p AND sk BETWEEN :a AND :b', ExpressionAttributeValues: { ':p': { S: 'job' }, ':a': { S: 't#2' }, ':b': { S: 't#3' } } };
  assert.deepEqual(told(await ask(between)), ['t#2', 't#3']);
});

test('empty_removes_all_items_and_what_the_index_knows_of_them', async (t) => {
  const { fake, c, put, get } = await scene(t);
  const idle = async () => (await c.send(new QueryCommand({
    TableName: 'ledger', IndexName: 'by-state', KeyConditionExpression: '#s = :s', ExpressionAttributeNames: { '#s': 'state' }, ExpressionAttributeValues: { ':s': { S: 'idle' } },
  }))).Items.map((item) => item.sk.S);
  await put('vm', '1', { state: { S: 'idle' } });
  await put('job', '1');
  const response = await fetch(`${fake.url}/_fake/empty`, { method: 'POST', body: '{}' });
  assert.deepEqual(await response.json(), { items: 2 });
  assert.equal(await get('job', '1'), undefined);
  assert.deepEqual(await idle(), []);
  await put('vm', '2', { state: { S: 'idle' } });
  assert.deepEqual(await idle(), ['2']);
});

test('index_follows_every_kind_of_write', async (t) => {
  const { put, c, transact } = await scene(t);
  const inState = async (state) => (await c.send(new QueryCommand({
    TableName: 'ledger', IndexName: 'by-state', KeyConditionExpression: '#s = :s', ExpressionAttributeNames: { '#s': 'state' }, ExpressionAttributeValues: { ':s': { S: state } },
  }))).Items.map((item) => item.sk.S);
  await put('vm', '2', { state: { S: 'idle' } });
  await put('vm', '1', { state: { S: 'idle' } });
  await put('vm', '3');
  assert.deepEqual(await inState('idle'), ['1', '2']);
  const move = (sk, state, from = null) => ({
    TableName: 'ledger', Key: key('vm', sk), UpdateExpression: 'SET #s = :s', ExpressionAttributeNames: { '#s': 'state' },
    ExpressionAttributeValues: { ':s': { S: state }, ...(from && { ':f': { S: from } }) }, ...(from && { ConditionExpression: '#s = :f' }),
  });
  await c.send(new UpdateItemCommand(move('1', 'busy')));
  assert.deepEqual([await inState('idle'), await inState('busy')], [['2'], ['1']]);
  await fails(transact([{ Update: move('2', 'busy') }, { Update: move('3', 'busy', 'idle') }]), TransactionCanceledException);
  assert.deepEqual([await inState('idle'), await inState('busy')], [['2'], ['1']]);
  await transact([{ Update: move('2', 'busy') }, { Delete: { TableName: 'ledger', Key: key('vm', '1') } }]);
  assert.deepEqual([await inState('idle'), await inState('busy')], [[], ['2']]);
  await c.send(new BatchWriteItemCommand({ RequestItems: { ledger: [{ DeleteRequest: { Key: key('vm', '2') } }, { PutRequest: { Item: { ...key('vm', '4'), state: { S: 'busy' } } } }] } }));
  assert.deepEqual(await inState('busy'), ['4']);
});

test('batch_get_leaves_what_a_fault_says', async (t) => {
  const { put, c, fake } = await scene(t);
  await put('a', '1');
  await put('a', '2', { data: { B: Buffer.from([0, 255]) } });
  const ask = (Keys) => c.send(new BatchGetItemCommand({ RequestItems: { ledger: { Keys, ConsistentRead: true } } }));
  const keys = [key('a', '1'), key('a', '2'), key('a', 'none')];
  assert.deepEqual((await ask(keys)).Responses.ledger.map((item) => item.sk.S), ['1', '2']);
  await fake.ask('POST', '/faults', { operation: 'BatchGetItem', unprocessed: 1, times: 1 });
  const { Responses, UnprocessedKeys } = await ask(keys);
  assert.deepEqual([Responses.ledger.map((item) => item.data?.B && [...item.data.B]), UnprocessedKeys.ledger.Keys], [[[0, 255]], [key('a', '1')]]);
});

test('table_and_its_time_to_live_are_told', async (t) => {
  const { c } = await scene(t);
  const { Table } = await c.send(new DescribeTableCommand({ TableName: 'ledger' }));
  assert.deepEqual([Table.TableStatus, Table.GlobalSecondaryIndexes[0].IndexName, Table.CreationDateTime instanceof Date], ['ACTIVE', 'by-state', true]);
  await c.send(new UpdateTimeToLiveCommand({ TableName: 'ledger', TimeToLiveSpecification: { Enabled: true, AttributeName: 'expires' } }));
  const { TimeToLiveDescription: ttl } = await c.send(new DescribeTimeToLiveCommand({ TableName: 'ledger' }));
  assert.deepEqual([ttl.TimeToLiveStatus, ttl.AttributeName], ['ENABLED', 'expires']);
  await fails(c.send(new DescribeTableCommand({ TableName: 'nothing' })), ResourceNotFoundException);
  await fails(c.send(new GetItemCommand({ TableName: 'nothing', Key: key('a') })), ResourceNotFoundException);
});

test('read_without_consistency_may_be_old', async (t) => {
  const { put, get, fake, c } = await scene(t, { read_lag_ms: 60_000 });
  await put('a', 'x', { n: { N: '1' } });
  await put('a', 'x', { n: { N: '2' } });
  const query = async (ConsistentRead) => (await c.send(new QueryCommand({
    TableName: 'ledger', KeyConditionExpression: 'pk = :p', ExpressionAttributeValues: { ':p': { S: 'a' } }, ConsistentRead,
  }))).Items.map((item) => item.n.N);
  assert.deepEqual([(await get('a', 'x')).n.N, await get('a', 'x', false)], ['2', undefined]);
  assert.deepEqual([await query(true), await query(false)], [['2'], []]);
  await fake.ask('POST', '/config', { read_lag_ms: 0 });
  assert.deepEqual([(await get('a', 'x', false)).n.N, await query(false)], ['2', ['2']]);
});

test('faults_are_the_classes_of_the_client', async (t) => {
  const { put, get, transact, fake } = await scene(t);
  const fault = (more) => fake.ask('POST', '/faults', { operation: 'PutItem', times: 1, ...more });
  await fault({ preset: 'throttle' });
  await fails(put('a', 'x'), ProvisionedThroughputExceededException);
  await fault({ preset: 'throttling-exception' });
  await fails(put('a', 'x'), 'ThrottlingException');
  await fault({ preset: 'conflict' });
  await fails(put('a', 'x'), TransactionConflictException);
  assert.equal(await get('a', 'x'), undefined);
  await fault({ preset: 'internal', work: true });
  await fails(put('a', 'x'), InternalServerError);
  assert.ok(await get('a', 'x'));
  await fault({ drop: true });
  await assert.rejects(put('b', 'x'));
  assert.ok(await get('b', 'x'));
  await fault({ operation: 'TransactWriteItems', reasons: ['None', 'TransactionConflict'] });
  await fails(transact([putOnce('c', '1'), putOnce('c', '2')]), TransactionCanceledException, (error) => {
    assert.deepEqual(error.CancellationReasons.map((reason) => reason.Code), ['None', 'TransactionConflict']);
  });
  assert.equal(await get('c', '1'), undefined);
});

test('signatures_are_judged', async (t) => {
  const { fake, put } = await scene(t, { key: [`${OWN.accessKeyId}:${OWN.secretAccessKey}`] });
  await put('ä', 'ö/+');
  const ask = (credentials) => client(t, fake, { credentials }).send(new GetItemCommand({ TableName: 'ledger', Key: key('a') }));
  await fails(ask({ ...OWN, secretAccessKey: 'x' }), 'InvalidSignatureException');
  await fails(ask({ ...OWN, accessKeyId: 'x' }), 'UnrecognizedClientException');
});

test('program_logs_no_item', async (t) => {
  const log = path.join(temporary(t), 'dynamodb.jsonl');
  const fake = await launch(t, MAIN, '--log', log);
  const c = client(t, fake);
  await c.send(new CreateTableCommand(TABLE));
  await c.send(new PutItemCommand({ TableName: 'ledger', Item: { ...key('geheim') } }));
  assert.equal(await fake.stop(), 0);
  const entries = readLog(log);
  assert.deepEqual(entries.map((e) => e.operation ?? e.event), ['started', 'CreateTable', 'PutItem', 'stopped']);
  assert.doesNotMatch(JSON.stringify(entries), /geheim/);
  refusesOptions(MAIN, ['--nonsense'], ['--key', 'x']);
});

/* SQS, judged by AWS's own client. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  ChangeMessageVisibilityBatchCommand, ChangeMessageVisibilityCommand, CreateQueueCommand, DeleteMessageBatchCommand, DeleteMessageCommand,
  GetQueueAttributesCommand, GetQueueUrlCommand, QueueDoesNotExist, ReceiptHandleIsInvalid, ReceiveMessageCommand, RequestThrottled,
  SQSClient, SendMessageBatchCommand, SendMessageCommand,
} from '@aws-sdk/client-sqs';
import { launch, readLog, refusesOptions, serve, temporary } from '../../lib/testing.mjs';
import { options } from '../lib/options.mjs';
import { FakeSqs } from '../lib/server.mjs';

const MAIN = fileURLToPath(new URL('../main.mjs', import.meta.url));
const OWN = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'own/secret+key' };

function client(t, fake, settings = {}) {
  const made = new SQSClient({ endpoint: fake.url, region: 'eu-central-1', credentials: OWN, maxAttempts: 1, ...settings });
  t.after(() => made.destroy());
  return made;
}

/** A fake, its client, a queue, and the calls that most tests make. */
async function scene(t, attributes = {}, settings = {}) {
  const fake = await serve(t, new FakeSqs({ ...options.defaults(), region: 'eu-central-1', ...settings }));
  const c = client(t, fake);
  const { QueueUrl } = await c.send(new CreateQueueCommand({ QueueName: 'jobs', Attributes: attributes }));
  const sendAll = (bodies, more = {}) => c.send(new SendMessageBatchCommand({
    QueueUrl, Entries: bodies.map((MessageBody, i) => ({ Id: `e${i}`, MessageBody, ...more })),
  }));
  const receive = async (more = {}) => (await c.send(new ReceiveMessageCommand({
    QueueUrl, MaxNumberOfMessages: 10, MessageSystemAttributeNames: ['All'], MessageAttributeNames: ['All'], ...more,
  }))).Messages ?? [];
  const entriesOf = (messages, more = {}) => messages.map(({ ReceiptHandle }, i) => ({ Id: `e${i}`, ReceiptHandle, ...more }));
  return { fake, c, QueueUrl, sendAll, receive, entriesOf };
}
const fails = (promise, check) => assert.rejects(promise, (error) => {
  assert.ok(typeof check === 'string' ? error.name === check : error instanceof check, error.stack);
  return true;
});

test('queue_url_points_at_the_stand_in_and_any_host_will_do', async (t) => {
  const { fake, c, QueueUrl } = await scene(t);
  assert.equal(QueueUrl, `${fake.url}/000000000000/jobs`);
  assert.equal((await c.send(new GetQueueUrlCommand({ QueueName: 'jobs' }))).QueueUrl, QueueUrl);
  await c.send(new SendMessageCommand({ QueueUrl: QueueUrl.replace('127.0.0.1', 'localhost'), MessageBody: 'a' }));
  await fails(c.send(new SendMessageCommand({ QueueUrl: `${QueueUrl}x`, MessageBody: 'a' })), QueueDoesNotExist);
  const { Attributes } = await c.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }));
  assert.deepEqual([Attributes.QueueArn, Attributes.ApproximateNumberOfMessages], ['arn:aws:sqs:eu-central-1:000000000000:jobs', '1']);
});

test('batches_send_receive_delete_and_tell_each_entry', async (t) => {
  const { c, QueueUrl, sendAll, receive, entriesOf } = await scene(t);
  const sent = await sendAll(['a', 'b', '\u0000'], { MessageAttributes: { kind: { DataType: 'String', StringValue: 'x' } } });
  assert.deepEqual([sent.Successful.length, sent.Failed[0].Id, sent.Failed[0].Code], [2, 'e2', 'InvalidMessageContents']);
  const messages = await receive();
  assert.deepEqual(messages.map((m) => [m.Body, m.MessageAttributes.kind.StringValue, m.Attributes.ApproximateReceiveCount]), [['a', 'x', '1'], ['b', 'x', '1']]);
  assert.ok(messages[0].ReceiptHandle.length > 200);
  const entries = [...entriesOf(messages), { Id: 'bad', ReceiptHandle: 'nonsense' }];
  const deleted = await c.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: entries }));
  assert.deepEqual([deleted.Successful.length, deleted.Failed.map((f) => [f.Id, f.Code, f.SenderFault])], [2, [['bad', 'ReceiptHandleIsInvalid', true]]]);
  await fails(c.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: 'nonsense' })), ReceiptHandleIsInvalid);
  assert.deepEqual(await receive({ VisibilityTimeout: 0 }), []);
  await fails(sendAll(Array.from({ length: 11 }, () => 'x')), 'TooManyEntriesInBatchRequest');
  await fails(sendAll([]), 'EmptyBatchRequest');
});

test('visibility_hides_and_gives_back', async (t) => {
  const { c, QueueUrl, sendAll, receive, entriesOf } = await scene(t);
  await sendAll(['a', 'b']);
  const first = await receive();
  assert.deepEqual(await receive(), []);
  await c.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries: entriesOf(first, { VisibilityTimeout: 0 }) }));
  const again = await receive({ VisibilityTimeout: 1 });
  assert.deepEqual(again.map((m) => m.Attributes.ApproximateReceiveCount), ['2', '2']);
  await c.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: again[1].ReceiptHandle, VisibilityTimeout: 600 }));
  const expired = await receive({ WaitTimeSeconds: 5 });
  assert.deepEqual(expired.map((m) => m.MessageId), [again[0].MessageId]);
  await fails(c.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: again[0].ReceiptHandle, VisibilityTimeout: 0 })), 'MessageNotInflight');
});

test('dead_letters_come_after_the_last_receive', async (t) => {
  const fakeQueue = await scene(t);
  const { c } = fakeQueue;
  const { QueueUrl: dead } = await c.send(new CreateQueueCommand({ QueueName: 'dead' }));
  const { Attributes: { QueueArn } } = await c.send(new GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ['QueueArn'] }));
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: QueueArn, maxReceiveCount: 2 });
  const { QueueUrl } = await c.send(new CreateQueueCommand({ QueueName: 'live', Attributes: { RedrivePolicy, VisibilityTimeout: '0' } }));
  const told = await c.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['RedrivePolicy'] }));
  assert.deepEqual(JSON.parse(told.Attributes.RedrivePolicy), JSON.parse(RedrivePolicy));
  await c.send(new SendMessageCommand({ QueueUrl, MessageBody: 'poison' }));
  const take = async (url) => (await c.send(new ReceiveMessageCommand({ QueueUrl: url }))).Messages?.[0]?.Body;
  assert.deepEqual([await take(QueueUrl), await take(QueueUrl), await take(QueueUrl), await take(dead)], ['poison', 'poison', undefined, 'poison']);
});

test('message_group_on_a_standard_queue_is_told_and_locks_nothing', async (t) => {
  const { sendAll, receive } = await scene(t);
  await sendAll(['a', 'b'], { MessageGroupId: 'repository' });
  const [one] = await receive({ MaxNumberOfMessages: 1 });
  const [two] = await receive({ MaxNumberOfMessages: 1 });
  assert.deepEqual([one.Body, two.Body, one.Attributes.MessageGroupId], ['a', 'b', 'repository']);
});

test('long_poll_wakes_for_a_message_and_the_others_wait_on', async (t) => {
  const { sendAll, receive, fake } = await scene(t);
  const started = Date.now();
  const both = [receive({ WaitTimeSeconds: 2 }), receive({ WaitTimeSeconds: 2 })];
  await fake.ask('GET', '/wait?requests=1');
  await sendAll(['a']);
  const answers = await Promise.all(both);
  assert.deepEqual(answers.map((messages) => messages.length).sort(), [0, 1]);
  assert.ok(Date.now() - started >= 1900);
});

test('delayed_message_comes_when_it_is_due', async (t) => {
  const { sendAll, receive, fake } = await scene(t);
  await sendAll(['later'], { DelaySeconds: 1 });
  assert.deepEqual(await receive(), []);
  assert.deepEqual((await fake.ask('GET', '/queues')).map((q) => [q.ready, q.delayed]), [[0, 1]]);
  assert.deepEqual((await receive({ WaitTimeSeconds: 5 })).map((m) => m.Body), ['later']);
});

test('faults_are_the_classes_of_the_client', async (t) => {
  const { fake, c, sendAll, receive } = await scene(t);
  const fault = (more) => fake.ask('POST', '/faults', { operation: 'SendMessageBatch', times: 1, ...more });
  await fault({ preset: 'throttle' });
  await fails(sendAll(['a']), RequestThrottled);
  await fault({ preset: 'throttling-exception' });
  await fails(sendAll(['a']), 'ThrottlingException');
  await fault({ preset: 'gone' });
  await fails(sendAll(['a']), QueueDoesNotExist);
  await fault({ preset: 'internal', work: true });
  await fails(sendAll(['worked']), 'InternalFailure');
  await fault({ preset: 'unavailable' });
  await assert.rejects(sendAll(['a']), (error) => error.$metadata.httpStatusCode === 503);
  await fault({ drop: 'before' });
  await assert.rejects(sendAll(['lost']));
  await fault({ drop: true });
  await assert.rejects(sendAll(['kept']));
  assert.deepEqual((await receive()).map((m) => m.Body), ['worked', 'kept']);
  assert.equal((await c.send(new GetQueueUrlCommand({ QueueName: 'jobs' }))).$metadata.httpStatusCode, 200);
});

test('entries_fail_alone_and_messages_come_twice', async (t) => {
  const { fake, sendAll, receive, c, QueueUrl, entriesOf } = await scene(t);
  await fake.ask('POST', '/faults', [{ operation: 'SendMessageBatch', entries: 1, times: 1 }, { operation: 'SendMessageBatch', entries: 2, work: true, code: 'ServiceUnavailable', times: 1 }]);
  const one = await sendAll(['a', 'b']);
  assert.deepEqual([one.Successful.map((s) => s.Id), one.Failed.map((f) => [f.Id, f.Code, f.SenderFault])], [['e1'], [['e0', 'InternalError', false]]]);
  const none = await sendAll(['c', 'd']);
  assert.deepEqual([none.Successful ?? [], none.Failed.length], [[], 2]);
  await fake.ask('POST', '/faults', { operation: 'ReceiveMessage', duplicate: true, times: 1 });
  const first = await receive();
  const second = await receive();
  assert.deepEqual(first.map((m) => m.Body), ['b', 'c', 'd']);
  assert.deepEqual(second.map((m) => m.MessageId), first.map((m) => m.MessageId));
  await c.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: entriesOf(second) }));
  const { sent, received, deleted, entries_failed: failed } = await fake.ask('GET', '/state');
  assert.deepEqual([sent, received, deleted, failed], [1, 6, 3, 3]);
});

test('signatures_are_judged', async (t) => {
  const { c, fake, QueueUrl } = await scene(t, {}, { key: [`${OWN.accessKeyId}:${OWN.secretAccessKey}`] });
  await c.send(new SendMessageCommand({ QueueUrl, MessageBody: 'ä ü' }));
  const send = (credentials) => client(t, fake, { credentials }).send(new SendMessageCommand({ QueueUrl, MessageBody: 'a' }));
  await fails(send({ ...OWN, secretAccessKey: 'x' }), 'SignatureDoesNotMatch');
  await fails(send({ ...OWN, accessKeyId: 'x' }), 'InvalidClientTokenId');
  await fake.ask('POST', `/keys/${OWN.accessKeyId}/revoke`);
  await fails(send(OWN), 'ExpiredToken');
});

test('program_has_its_queues_and_logs_no_body', async (t) => {
  const log = path.join(temporary(t), 'sqs.jsonl');
  const fake = await launch(t, MAIN, '--log', log, '--queue', 'a', '--queue=b');
  const queues = await fake.ask('GET', '/queues');
  assert.deepEqual(queues.map((q) => q.name), ['a', 'b']);
  await client(t, fake).send(new SendMessageCommand({ QueueUrl: queues[1].url, MessageBody: 'geheim' }));
  assert.equal(await fake.stop(), 0);
  const entries = readLog(log);
  assert.deepEqual(entries.map((e) => [e.event, e.operation, e.queue, e.status]).slice(1, -1), [['request', 'SendMessage', 'b', 200]]);
  assert.doesNotMatch(JSON.stringify(entries), /geheim/);
  refusesOptions(MAIN, ['--nonsense'], ['--key', 'x']);
});

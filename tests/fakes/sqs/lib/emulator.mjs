/*
 * The emulator fauxqs, embedded: operations go in and come out as JSON, without a socket. What it does otherwise than
 * SQS and is cheap to mend is mended here: a queue is known by the path of its URL, whatever the host; receipt handles
 * are as long as SQS's, and one that is none is refused; a long poll that lost its message to another waits on; a message
 * group on a standard queue is told to who receives.
 */
import { buildApp } from 'fauxqs';
import { AwsError } from '../../lib/aws_errors.mjs';

const GROUPS_KEPT = 200_000;
const HANDLE_HEAD = 'AQEB';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/** SQS's handles are some hundred characters of base64. */
const longHandle = (uuid) => HANDLE_HEAD + Buffer.from(uuid.repeat(6)).toString('base64').replaceAll('Z', '+');

function shortHandle(handle) {
  const text = String(handle).startsWith(HANDLE_HEAD) ? Buffer.from(handle.slice(4).replaceAll('+', 'Z'), 'base64').toString() : '';
  const [uuid] = UUID.exec(text) ?? [];
  return uuid !== undefined && longHandle(uuid) === handle ? uuid : null;
}

const noHandle = (handle) => `The input receipt handle "${handle}" is not a valid receipt handle.`;

export class Emulator {
  constructor({ region, urlOf }) {
    Object.assign(this, { urlOf, inside: new Map(), groups: new Map(), app: buildApp({ logger: false, defaultRegion: region }) });
    this.authorization = `AWS4-HMAC-SHA256 Credential=x/20260101/${region}/sqs/aws4_request`;
  }

  async start() {
    await this.app.ready();
  }

  async stop() {
    await this.app.close();
  }

  /** {status, headers, body}, with the body as text. */
  async raw(operation, body) {
    const { statusCode, headers, payload } = await this.app.inject({
      method: 'POST', url: '/', payload: JSON.stringify(body),
      headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `AmazonSQS.${operation}`, host: 'localhost:1', authorization: this.authorization },
    });
    const told = { 'Content-Type': 'application/x-amz-json-1.0' };
    if (headers['x-amzn-query-error']) told['x-amzn-query-error'] = headers['x-amzn-query-error'];
    return { status: statusCode, headers: told, body: payload };
  }

  /** The name in the URL's path leads to the queue, as in SQS. */
  insideUrl(url) {
    const name = String(url).replace(/\/+$/, '').split('/').at(-1);
    return this.inside.get(name) ?? `http://unknown/${name}`;
  }

  outsideUrl(url) {
    const name = url.split('/').at(-1);
    this.inside.set(name, url);
    return this.urlOf(name);
  }

  async run(operation, asked) {
    const body = { ...asked };
    if (body.QueueUrl !== undefined) body.QueueUrl = this.insideUrl(body.QueueUrl);
    const failed = this.takeHandles(body);
    if (failed.length > 0 && body.Entries.length === 0) return this.answer(200, { Successful: [], Failed: failed });
    const answer = operation === 'ReceiveMessage' ? await this.receive(body) : await this.raw(operation, body);
    if (answer.status !== 200) return answer;
    if (operation.startsWith('SendMessage')) this.noteGroups(body, answer);
    const asks = [body.AttributeNames, body.MessageSystemAttributeNames].flat();
    return this.told(answer, failed, asks.includes('All') || asks.includes('MessageGroupId'));
  }

  /** The oldest are forgotten. */
  noteGroups(body, answer) {
    const entries = body.Entries ?? [body];
    if (!entries.some((entry) => entry.MessageGroupId)) return;
    const value = JSON.parse(answer.body);
    for (const { Id, MessageId } of value.Successful ?? [value]) {
      const group = entries.find((entry) => entry.Id === Id)?.MessageGroupId;
      if (group) this.groups.set(MessageId, group);
    }
    while (this.groups.size > GROUPS_KEPT) this.groups.delete(this.groups.keys().next().value);
  }

  /** Short handles for long ones; returns the entries that have none, as failed. */
  takeHandles(body) {
    if (body.ReceiptHandle !== undefined) {
      const short = shortHandle(body.ReceiptHandle);
      if (short === null) throw new AwsError('ReceiptHandleIsInvalid', noHandle(body.ReceiptHandle));
      body.ReceiptHandle = short;
    }
    const failed = [];
    if (!Array.isArray(body.Entries)) return failed;
    body.Entries = body.Entries.flatMap((entry) => {
      if (entry.ReceiptHandle === undefined) return [entry];
      const short = shortHandle(entry.ReceiptHandle);
      if (short !== null) return [{ ...entry, ReceiptHandle: short }];
      failed.push({ Id: entry.Id, SenderFault: true, Code: 'ReceiptHandleIsInvalid', Message: noHandle(entry.ReceiptHandle) });
      return [];
    });
    return failed;
  }

  /** The emulator wakes all that wait for one message; who comes late waits for the rest of the time. */
  async receive(body) {
    const until = Date.now() + (body.WaitTimeSeconds ?? 0) * 1000;
    for (;;) {
      const answer = await this.raw('ReceiveMessage', body);
      const left = (until - Date.now()) / 1000;
      if (answer.status !== 200 || left < 0.005 || answer.body.includes('"Messages"')) return answer;
      body.WaitTimeSeconds = left;
    }
  }

  told(answer, failed, withGroups) {
    if (!/"QueueUrl|"ReceiptHandle"/.test(answer.body) && failed.length === 0) return answer;
    const value = JSON.parse(answer.body);
    if (value.QueueUrl) value.QueueUrl = this.outsideUrl(value.QueueUrl);
    if (value.QueueUrls) value.QueueUrls = value.QueueUrls.map((url) => this.outsideUrl(url));
    for (const message of value.Messages ?? []) {
      message.ReceiptHandle = longHandle(message.ReceiptHandle);
      const group = withGroups ? this.groups.get(message.MessageId) : undefined;
      if (group) message.Attributes = { ...message.Attributes, MessageGroupId: group };
    }
    if (failed.length > 0) value.Failed = [...(value.Failed ?? []), ...failed];
    return { ...answer, body: JSON.stringify(value) };
  }

  answer(status, value) {
    return { status, headers: { 'Content-Type': 'application/x-amz-json-1.0' }, body: JSON.stringify(value) };
  }

  async queues() {
    const { payload } = await this.app.inject({ method: 'GET', url: '/_fauxqs/queues' });
    return JSON.parse(payload).map((q) => ({
      name: q.name, url: this.urlOf(q.name), arn: q.arn, ready: q.approximateMessageCount, in_flight: q.approximateInflightCount, delayed: q.approximateDelayedCount,
    }));
  }
}

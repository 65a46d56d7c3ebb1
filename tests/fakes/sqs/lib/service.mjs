/*
 * The calls of the service: which they are, faults of single entries, counts. Beside the faults of all of AWS:
 *
 *   {operation: …Batch, entries: N, code, work, times, probability}     N entries fail; with `work` in spite of their work
 *   {operation: ReceiveMessage, duplicate: true, times, probability}    what is received comes once more, at once
 */
import { AwsError } from '../../lib/aws_errors.mjs';
import { AwsFaults, AwsService } from '../../lib/aws_service.mjs';
import { BadRequest, parseJson } from '../../lib/http.mjs';

const PRESETS = {
  throttle: () => new AwsError('RequestThrottled', 'Request is throttled.', { status: 403 }),
  'throttling-exception': () => new AwsError('ThrottlingException', 'Rate exceeded', { status: 400 }),
  'over-limit': () => new AwsError('OverLimit', 'Too many messages in flight.', { status: 403 }),
  gone: () => new AwsError('QueueDoesNotExist', 'The specified queue does not exist.'),
};

const EMULATORS_ACCOUNT = '000000000000';

const isOfEntries = (fault) => (fault.entries !== undefined && /Batch$/.test(fault.operation)) || (fault.duplicate && fault.operation === 'ReceiveMessage');

export const faults = (random) => new AwsFaults(random, { presets: PRESETS, isPart: isOfEntries });

export class SqsService extends AwsService {
  constructor({ emulator, ...parts }) {
    super(parts);
    Object.assign(this, { emulator, protocol: 'queryJson' });
    Object.assign(this.counts, { sent: 0, received: 0, deleted: 0, entries_failed: 0 });
  }

  find(call) {
    const [, operation] = /^AmazonSQS\.(\w+)$/.exec(call.request.headers['x-amz-target'] ?? '') ?? [];
    if (!operation || call.request.method !== 'POST') return null;
    return { operation, protocol: 'queryJson', needs: () => this.needed(call, operation), perform: () => this.perform(call, operation) };
  }

  /** A batch is allowed by the action of its single call. */
  needed(call, operation) {
    const { QueueUrl: url, QueueName: name } = readJson(call.raw);
    const queue = operation === 'ListQueues' ? '*' : name ?? String(url).split('/').at(-1);
    return [{ action: `sqs:${operation.replace(/Batch$/, '')}`, resource: this.arn('sqs', queue, { ...this.config, account: EMULATORS_ACCOUNT }) }];
  }

  async perform(call, operation) {
    const body = readJson(call.raw);
    call.noted = { queue: typeof body.QueueUrl === 'string' ? body.QueueUrl.split('/').at(-1) : body.QueueName };
    const fault = this.faults.part(operation);
    const answer = fault?.entries ? await this.withFailures(operation, body, fault) : await this.emulator.run(operation, body);
    if (answer.status === 200) await this.count(operation, body, answer, call, fault);
    else answer.error = answer.headers['x-amzn-query-error']?.replace(/^AWS\.SimpleQueueService\.|;.*$/g, '') ?? null;
    return answer;
  }

  /** The first entries fail, the others go on. */
  async withFailures(operation, body, { entries: count, code = 'InternalError', work = false }) {
    const entries = Array.isArray(body.Entries) ? body.Entries : [];
    const bad = entries.slice(0, count);
    const failed = bad.map(({ Id }) => ({ Id, SenderFault: false, Code: code, Message: 'The entry failed.' }));
    this.counts.entries_failed += failed.length;
    const rest = work ? entries : entries.slice(count);
    const answer = rest.length > 0 ? await this.emulator.run(operation, { ...body, Entries: rest }) : this.emulator.answer(200, {});
    if (answer.status !== 200) return answer;
    const { Successful = [], Failed = [] } = JSON.parse(answer.body);
    const ids = new Set(failed.map(({ Id }) => Id));
    return this.emulator.answer(200, { Successful: Successful.filter(({ Id }) => !ids.has(Id)), Failed: [...Failed, ...failed] });
  }

  async count(operation, body, answer, call, fault) {
    const { counts } = this;
    const good = () => JSON.parse(answer.body).Successful?.length ?? 0;
    if (operation === 'SendMessage') counts.sent += 1;
    else if (operation === 'SendMessageBatch') counts.sent += good();
    else if (operation === 'DeleteMessage') counts.deleted += 1;
    else if (operation === 'DeleteMessageBatch') counts.deleted += good();
    else if (operation === 'ReceiveMessage') {
      const { Messages = [] } = JSON.parse(answer.body);
      counts.received += Messages.length;
      call.noted.messages = Messages.length;
      if (!fault?.duplicate) return;
      const entries = Messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle, VisibilityTimeout: 0 }));
      if (entries.length > 0) await this.emulator.run('ChangeMessageVisibilityBatch', { QueueUrl: body.QueueUrl, Entries: entries });
    }
  }
}

function readJson(raw) {
  try {
    const body = parseJson(raw) ?? {};
    if (typeof body === 'object' && !Array.isArray(body)) return body;
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
  }
  throw new AwsError('SerializationException', 'the body is no JSON object');
}

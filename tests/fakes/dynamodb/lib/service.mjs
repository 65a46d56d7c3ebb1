/*
 * The calls of the service. Beside the faults of all of AWS:
 *
 *   {operation: TransactWriteItems, reasons: ["TransactionConflict", …], times, probability}     cancelled for these reasons
 *   {operation: BatchGetItem | BatchWriteItem, unprocessed: N, times, probability}               the first N are left to the caller
 */
import { AwsError } from '../../lib/aws_errors.mjs';
import { AwsFaults, AwsService } from '../../lib/aws_service.mjs';

const TYPE = { 'Content-Type': 'application/x-amz-json-1.0' };
const LEFT = { BatchGetItem: 'UnprocessedKeys', BatchWriteItem: 'UnprocessedItems' };

const PRESETS = {
  throttle: () => new AwsError('ProvisionedThroughputExceededException', 'The level of configured provisioned throughput for the table was exceeded. '
    + 'Consider increasing your provisioning level with the UpdateTable API.', { status: 400 }),
  'throttling-exception': () => new AwsError('ThrottlingException', 'Throughput exceeds the current capacity of your table or index.', { status: 400 }),
  'request-limit': () => new AwsError('RequestLimitExceeded', 'Throughput exceeds the current throughput limit for your account.', { status: 400 }),
  internal: () => new AwsError('InternalServerError', 'Internal server error'),
  conflict: () => new AwsError('TransactionConflictException', 'Transaction is ongoing for the item'),
  'in-progress': () => new AwsError('TransactionInProgressException', 'The transaction with the given request token is already in progress.'),
};

const MESSAGE = {
  TransactionConflict: 'Transaction is ongoing for the item', ConditionalCheckFailed: 'The conditional request failed', ThrottlingError: 'Throughput exceeds the current capacity.',
};

const isOfParts = (fault) => (Array.isArray(fault.reasons) && fault.operation === 'TransactWriteItems')
  || (fault.unprocessed > 0 && LEFT[fault.operation] !== undefined);

export const faults = (random) => new AwsFaults(random, { presets: PRESETS, isPart: isOfParts });

/** Cancelled as the service says it: a reason for each of the items. */
function cancelled(body, reasons) {
  const all = JSON.parse(body).TransactItems.map((_, i) => reasons[i] ?? 'None');
  throw new AwsError('TransactionCanceledException', `Transaction cancelled, please refer cancellation reasons for specific reasons [${all.join(', ')}]`, {
    members: { CancellationReasons: all.map((Code) => (Code === 'None' ? { Code } : { Code, Message: MESSAGE[Code] ?? Code })) },
  });
}

/** Parts a batch: {now, later}, each as RequestItems, the first `count` later. */
function part(operation, items, count) {
  const [now, later] = [{}, {}];
  let left = count;
  for (const [table, wanted] of Object.entries(items)) {
    const list = operation === 'BatchGetItem' ? wanted.Keys : wanted;
    const cut = Math.min(left, list.length);
    left -= cut;
    const of = (some) => (operation === 'BatchGetItem' ? { ...wanted, Keys: some } : some);
    if (cut > 0) later[table] = of(list.slice(0, cut));
    if (cut < list.length) now[table] = of(list.slice(cut));
  }
  return { now, later };
}

export class DynamoService extends AwsService {
  constructor({ engine, ...parts }) {
    super(parts);
    Object.assign(this, { engine, protocol: 'json', jsonVersion: '1.0' });
    Object.assign(this.counts, { conditions_failed: 0, cancelled: 0 });
  }

  find(call) {
    const [, operation] = /^DynamoDB_20120810\.(\w+)$/.exec(call.request.headers['x-amz-target'] ?? '') ?? [];
    if (!operation || call.request.method !== 'POST') return null;
    return { operation, protocol: 'json', needs: () => this.needed(JSON.parse(call.raw), operation), perform: () => this.perform(call, operation) };
  }

  /** A transaction is allowed by the actions of its parts, a query of an index on the index. */
  needed(body, operation) {
    const need = (action, table, index) => ({ action: `dynamodb:${action}`, resource: this.arn('dynamodb', `table/${table}${index ? `/index/${index}` : ''}`) });
    if (operation === 'TransactWriteItems' || operation === 'TransactGetItems') {
      return body.TransactItems.flatMap((item) => Object.entries(item).map(([kind, { TableName }]) => need(kind === 'ConditionCheck' ? 'ConditionCheckItem' : `${kind}Item`, TableName)));
    }
    if (body.RequestItems) return Object.keys(body.RequestItems).map((table) => need(operation, table));
    return [need(operation, body.TableName ?? '*', body.IndexName)];
  }

  async perform(call, operation) {
    const body = call.raw.toString();
    const fault = this.faults.part(operation);
    if (fault?.reasons) cancelled(body, fault.reasons);
    const answer = fault ? await this.partly(operation, JSON.parse(body), fault.unprocessed) : await this.run(operation, body);
    if (answer.status !== 200) answer.error = this.errorOf(answer.body);
    return { ...answer, headers: TYPE };
  }

  run(operation, body) {
    return this.engine.run(operation, this.config.read_lag_ms, body);
  }

  async partly(operation, body, count) {
    const { now, later } = part(operation, body.RequestItems, count);
    const answer = Object.keys(now).length > 0 ? await this.run(operation, JSON.stringify({ ...body, RequestItems: now })) : { status: 200, body: '{}' };
    if (answer.status !== 200) return answer;
    return { status: 200, body: JSON.stringify({ ...(operation === 'BatchGetItem' ? { Responses: {} } : {}), ...JSON.parse(answer.body), [LEFT[operation]]: later }) };
  }

  errorOf(body) {
    const [, name = null] = /"__type":\s*"[^"]*#(\w+)"/.exec(body) ?? [];
    if (name === 'ConditionalCheckFailedException') this.counts.conditions_failed += 1;
    if (name === 'TransactionCanceledException') this.counts.cancelled += 1;
    return name;
  }
}

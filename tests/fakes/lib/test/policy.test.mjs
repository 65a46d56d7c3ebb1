/* Policies of access keys, as IAM judges them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Policies, readPolicy } from '../aws_policy.mjs';
import { temporary } from '../testing.mjs';

const statement = (more) => ({ Effect: 'Allow', Action: 'sqs:Get*', Resource: ['arn:aws:sqs:*:1:mayfly-*'], ...more });
const policy = (...statements) => JSON.stringify({ Version: '2012-10-17', Statement: statements });

function policies(t, text) {
  const file = path.join(temporary(t), 'policy.json');
  fs.writeFileSync(file, text);
  return new Policies({ policy: [`AKID=${file}`] });
}
const allows = (p, action, resource, id = 'AKID', context = {}) => {
  try {
    p.judge(id, () => [{ action, resource, context }]);
    return true;
  } catch (error) {
    assert.equal(error.errorName, 'AccessDeniedException');
    assert.match(error.message, new RegExp(`not authorized to perform: ${action}`));
    return false;
  }
};

test('policy_allows_its_actions_on_its_resources_and_nothing_else', (t) => {
  const p = policies(t, policy(statement(), statement({ Action: ['sqs:Sen?Message'], Resource: '*' }), statement({ Effect: 'Deny', Action: 'sqs:*', Resource: 'arn:aws:sqs:us:1:mayfly-secret' })));
  assert.equal(allows(p, 'sqs:GetQueueUrl', 'arn:aws:sqs:us:1:mayfly-events'), true);
  assert.equal(allows(p, 'sqs:getqueueurl', 'arn:aws:sqs:us:1:mayfly-events'), true, 'actions have no case');
  assert.equal(allows(p, 'sqs:GetQueueUrl', 'arn:aws:sqs:us:2:mayfly-events'), false);
  assert.equal(allows(p, 'sqs:GetQueueUrl', 'arn:aws:sqs:us:1:Mayfly-events'), false, 'resources have');
  assert.equal(allows(p, 'sqs:SendMessage', 'arn:other'), true);
  assert.equal(allows(p, 'sqs:SendMessages', 'arn:other'), false);
  assert.equal(allows(p, 'sqs:SendMessage', 'arn:aws:sqs:us:1:mayfly-secret'), false);
  assert.equal(allows(p, 'sqs:DeleteQueue', 'arn:any', 'ANOTHER'), true, 'a key without a policy may do all');
  assert.deepEqual(p.state().used, { AKID: { 'sqs:GetQueueUrl': 1, 'sqs:getqueueurl': 1, 'sqs:SendMessage': 1 } });
  assert.equal(p.state().denied.length, 4);
});

test('policy_with_a_condition_allows_what_meets_it', (t) => {
  const p = policies(t, policy(statement({ Action: 'kms:Sign', Resource: '*', Condition: { StringEquals: { 'kms:SigningAlgorithm': ['A', 'B'], 'kms:MessageType': 'DIGEST' } } })));
  const signs = (algorithm, type) => allows(p, 'kms:Sign', 'arn:key', 'AKID', { 'kms:SigningAlgorithm': algorithm, 'kms:MessageType': type });
  assert.deepEqual([signs('A', 'DIGEST'), signs('B', 'DIGEST'), signs('C', 'DIGEST'), signs('A', 'RAW')], [true, true, false, false]);
  assert.equal(allows(p, 'kms:Sign', 'arn:key'), false, 'a key that the call does not have meets nothing');
});

test('policy_says_which_actions_and_resources_were_of_no_use', (t) => {
  const p = policies(t, policy(statement({ Sid: 'Put', Action: ['sqs:SendMessage', 'sqs:Purge'], Resource: ['arn:a', 'arn:b'] }), statement({ Sid: 'Never', Effect: 'Deny', Action: '*', Resource: 'arn:c' })));
  assert.equal(allows(p, 'sqs:SendMessage', 'arn:b'), true);
  assert.deepEqual(p.state().unused, { AKID: ['Put: sqs:Purge', 'Put: arn:a'] });
});

test('policy_with_what_is_not_judged_here_is_refused', () => {
  for (const more of [{ Condition: { Bool: {} } }, { NotAction: 'x' }, { Principal: '*' }, { Effect: 'Perhaps' }]) {
    assert.throws(() => readPolicy(policy(statement(more))), /a statement (with|has)/, JSON.stringify(more));
  }
  assert.throws(() => readPolicy(JSON.stringify({ Statement: [statement()] })), /Version/);
});

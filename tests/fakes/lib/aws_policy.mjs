/*
 * What an access key may do: the policy of its role, judged as IAM judges it, as far as ours go. A key without a policy may do
 * all. Each service says what a call needs (`needs(call, found)`): {action, resource, context}, one or more; a call that needs nothing
 * (sts:GetCallerIdentity) is none of this. `context` holds the condition keys of the call.
 *
 * What a policy holds beyond Allow, Deny, Action, Resource and StringEquals is refused, so that nothing is let pass unseen.
 */
import fs from 'node:fs';
import { AwsError } from './aws_errors.mjs';
import { OptionError } from './options.mjs';

export const POLICY_OPTION = { key: 'policy', kind: 'list', default: [], help: 'KEY-ID=FILE: the key may do what the IAM policy in the file allows; may repeat' };

const MEMBERS = ['Sid', 'Effect', 'Action', 'Resource', 'Condition'];

const list = (value) => (Array.isArray(value) ? value : [value]);

/** As a policy's wildcards: * is any text, ? one character. */
const pattern = (text, flags = '') => new RegExp(`^${text.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`, flags);

export function readPolicy(text) {
  const { Version: version, Statement: statements, ...rest } = JSON.parse(text);
  if (version !== '2012-10-17' || Object.keys(rest).length > 0) throw new OptionError('a policy has Version 2012-10-17 and Statement');
  return list(statements).map((statement) => {
    const other = Object.keys(statement).find((member) => !MEMBERS.includes(member));
    if (other) throw new OptionError(`a statement with ${other} is not judged here`);
    if (!['Allow', 'Deny'].includes(statement.Effect)) throw new OptionError('a statement has the Effect Allow or Deny');
    const operator = Object.keys(statement.Condition ?? {}).find((name) => name !== 'StringEquals');
    if (operator) throw new OptionError(`a statement with the condition ${operator} is not judged here`);
    const named = (text, flags) => ({ name: `${statement.Sid}: ${text}`, is: pattern(text, flags), used: false });
    return {
      deny: statement.Effect === 'Deny', actions: list(statement.Action).map((action) => named(action, 'i')), resources: list(statement.Resource).map((r) => named(r)),
      conditions: Object.entries(statement.Condition?.StringEquals ?? {}).map(([key, values]) => [key, list(values)]),
    };
  });
}

/** The action and the resource of the statement that fit the need; null if it does not apply. */
function fitting({ actions, resources, conditions }, { action, resource, context = {} }) {
  const parts = [actions.find(({ is }) => is.test(action)), resources.find(({ is }) => is.test(resource))];
  return parts.every(Boolean) && conditions.every(([key, values]) => values.includes(context[key])) ? parts : null;
}

export class Policies {
  constructor(config) {
    this.known = new Map();
    this.used = new Map();
    this.denied = [];
    for (const text of config.policy ?? []) {
      const [id, file] = text.split(/=(.*)/s, 2);
      if (!id || !file) throw new OptionError('--policy is KEY-ID=FILE');
      this.known.set(id, readPolicy(fs.readFileSync(file, 'utf8')));
    }
  }

  /** Throws what AWS answers to a key that may not. `needs()` is asked of keys with a policy alone. */
  judge(id, needs) {
    const statements = this.known.get(id);
    if (!statements) return;
    for (const need of needs()) {
      const { action, resource } = need;
      const allowing = statements.filter(({ deny }) => !deny).map((s) => fitting(s, need)).filter(Boolean);
      if (allowing.length === 0 || statements.some((s) => s.deny && fitting(s, need))) {
        this.denied.push({ key: id, action, resource });
        throw new AwsError('AccessDeniedException', `User: ${id} is not authorized to perform: ${action} on resource: ${resource} because no identity-based policy allows the ${action} action`);
      }
      for (const part of allowing.flat()) part.used = true;
      if (!this.used.has(id)) this.used.set(id, {});
      this.used.get(id)[action] = (this.used.get(id)[action] ?? 0) + 1;
    }
  }

  /** {used: {KEY: {action: calls}}, unused: {KEY: ["SID: ACTION or RESOURCE"]}, denied: [{key, action, resource}]}. */
  state() {
    const unusedOf = (statements) => statements.filter(({ deny }) => !deny).flatMap(({ actions, resources }) => [...actions, ...resources]).filter(({ used }) => !used).map(({ name }) => name);
    const unused = Object.fromEntries([...this.known].map(([id, statements]) => [id, unusedOf(statements)]));
    return { used: Object.fromEntries(this.used), unused, denied: this.denied };
  }
}

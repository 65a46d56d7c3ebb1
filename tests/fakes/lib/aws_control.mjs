/* The control of the stand-ins for AWS: beside what all have, counts of calls, and the access keys. */
import { Control } from './control.mjs';

export class AwsControl extends Control {
  constructor({ service, keys, ...parts }) {
    super(parts);
    Object.assign(this, { service, keys });
    service.changed = () => this.changed();
    this.add('POST', '/keys', ({ body }) => {
      keys.add(body ?? {});
      return {};
    });
    this.add('GET', '/policies', () => service.policies.state());
    this.add('POST', '/keys/{id}/revoke', ({ params, body }) => {
      keys.revoke(params.id, body?.as);
      return {};
    });
    this.add('POST', '/keys/{id}/restore', ({ params }) => {
      keys.restore(params.id);
      return {};
    });
  }

  counters() {
    return this.service.counts;
  }

  state() {
    const { operations, statuses } = this.service;
    return { ...this.counters(), operations: Object.fromEntries(operations), answers: Object.fromEntries(statuses) };
  }
}

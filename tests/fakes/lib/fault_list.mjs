/*
 * The faults that a test asked for, in the order in which it did. Of those that apply, the first with times left
 * (`times`, or without end) and chance on its side (`probability`) happens. What a fault says beyond that is the
 * stand-in's own; it checks each one as it is added. A fault may have a `name`, by which it is removed and its uses are counted.
 */

export class FaultList {
  /** `check(fault)` throws a RangeError at what makes no sense; `random` is seeded, so that a run can be repeated. */
  constructor(check, random) {
    Object.assign(this, { check, random, list: [], used: {} });
  }

  /** One fault or a list; all of them, or none if one makes no sense. */
  add(faults) {
    const wanted = Array.isArray(faults) ? faults : [faults];
    wanted.forEach((fault) => this.check(fault ?? {}));
    this.list.push(...wanted.map((fault) => ({ ...fault, left: fault.times ?? Infinity })));
  }

  /** All of them, or those of one name. */
  clear(name = null) {
    this.list = name === null ? [] : this.list.filter((fault) => fault.name !== name);
  }

  take(applies) {
    if (this.list.length === 0) return null;
    const fault = this.list.find((candidate) => candidate.left > 0 && applies(candidate)
      && (candidate.probability === undefined || this.random.next() < candidate.probability));
    if (!fault) return null;
    fault.left -= 1;
    if (fault.name !== undefined) this.used[fault.name] = (this.used[fault.name] ?? 0) + 1;
    this.list = this.list.filter((candidate) => candidate.left > 0);
    return fault;
  }
}

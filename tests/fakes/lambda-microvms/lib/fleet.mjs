/*
 * The VMs, and what becomes of them.
 *
 *   PENDING ──> RUNNING ──> TERMINATING ──> TERMINATED
 *      │           └──> SUSPENDED ─^            ^
 *      └────────────────────────────────────────┘   the run hook failed
 *
 * A VM goes on RUNNING after its runner ended, until it is terminated or its maximum duration is over: without an
 * execution role it cannot end itself. A VM is alive until it is TERMINATING or TERMINATED; its memory is held until
 * it is TERMINATED. Everything is logged and told as 'change'.
 */
import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { Guest } from './guest.mjs';

const SECOND_MS = 1000;
const TIDY_MS = 1000;
/** In place of a payload: the agent checks its VM, answers 200, and starts no runner. */
const TRIAL = 'mayfly-try';
const ENDINGS = ['TERMINATING', 'TERMINATED'];

export class Microvm {
  constructor(seq, spec, image, version, now) {
    Object.assign(this, {
      seq, id: `microvm-${randomUUID()}`, spec, image, version, createdAt: now, terminatedAt: null, state: 'PENDING', reason: null,
      history: [[now, 'PENDING']], counted: 0, timers: new Set(), guest: null, runner: null, fault: null, job: null,
    });
  }

  /** The state as it was then; null before the VM was there. */
  stateAt(when) {
    for (let i = this.history.length - 1; i >= 0; i--) if (this.history[i][0] <= when) return this.history[i][1];
    return null;
  }
}

export class Fleet extends EventEmitter {
  /** `whole`: {alive, alive_peak} of all accounts and regions; `target` names this one, if there are several. */
  constructor({ config, log, quotas, faults, random, target = null, whole }) {
    super();
    Object.assign(this, { config, log, quotas, faults, random, target, whole, list: [], byId: new Map(), byToken: new Map(), seq: 0, recent: [] });
    this.counts = {
      launched: 0, alive: 0, alive_peak: 0, held: 0, held_peak: 0, running: 0, terminated: 0, replayed: 0, launches_per_second_peak: 0,
      jobs_started: 0, jobs_done: 0, listening: 0, idle_ended: 0, self_ended: 0, overtime: 0, faults: 0,
    };
    this.ticker = setInterval(() => this.tidy(Date.now()), TIDY_MS);
    this.ticker.unref();
  }

  stop() {
    clearInterval(this.ticker);
    for (const vm of this.list) {
      vm.guest?.stop();
      for (const timer of vm.timers) clearTimeout(timer);
    }
  }

  /** Makes a VM. The memory quota is asked first, and may refuse. */
  launch(spec, image, version) {
    const counted = this.quotas.reserve(image.memoryMib);
    const now = Date.now();
    const vm = new Microvm(++this.seq, spec, image, version, now);
    Object.assign(vm, { counted, fault: this.faults.machine(version.version, this.target) });
    this.list.push(vm);
    this.byId.set(vm.id, vm);
    this.countLaunch(now);
    this.log.write('vm_requested', {
      microvm: vm.id, image: image.name, version: version.version, token: spec.clientToken ?? null, fault: vm.fault?.vm ?? null,
      ...this.alive(),
    });
    if (vm.fault) this.counts.faults += 1;
    const slow = vm.fault?.vm === 'slow' ? vm.fault.factor ?? 10 : 1;
    this.after(vm, this.random.vary(this.config.start_ms, this.config.jitter) * slow, () => this.start(vm));
    this.after(vm, spec.maximumDurationInSeconds * SECOND_MS, () => this.overtime(vm));
    this.emit('change');
    return vm;
  }

  /** For the log: of all, and of one of several targets. */
  alive() {
    return { alive: this.whole.alive, ...(this.target && { target: this.target, target_alive: this.counts.alive }) };
  }

  countLaunch(now) {
    const { counts, recent, whole } = this;
    whole.alive += 1;
    whole.alive_peak = Math.max(whole.alive_peak, whole.alive);
    counts.launched += 1;
    counts.alive += 1;
    counts.held += 1;
    counts.alive_peak = Math.max(counts.alive_peak, counts.alive);
    counts.held_peak = Math.max(counts.held_peak, counts.held);
    recent.push(now);
    while (recent[0] <= now - SECOND_MS) recent.shift();
    counts.launches_per_second_peak = Math.max(counts.launches_per_second_peak, recent.length);
  }

  after(vm, ms, action) {
    const timer = setTimeout(() => {
      vm.timers.delete(timer);
      action();
    }, Math.min(ms, 2 ** 31 - 1));
    vm.timers.add(timer);
  }

  setState(vm, state, reason = null) {
    if (vm.state === 'RUNNING') this.counts.running -= 1;
    if (state === 'RUNNING') this.counts.running += 1;
    if (!ENDINGS.includes(vm.state) && ENDINGS.includes(state)) {
      this.counts.alive -= 1;
      this.whole.alive -= 1;
    }
    vm.state = state;
    vm.reason = reason ?? vm.reason;
    vm.history.push([Date.now(), state]);
    this.log.write('vm_state', { microvm: vm.id, state, reason: vm.reason, runner: vm.runner, ...this.alive() });
    this.emit('change');
  }

  /** PENDING ends here: the run hook takes the payload, or the VM dies in it. */
  start(vm) {
    if (vm.state !== 'PENDING') return;
    if (vm.fault?.vm === 'fail-start') {
      this.end(vm, 'Run hook failed: connection refused');
      return;
    }
    if (vm.fault?.vm === 'never-start' || [undefined, TRIAL].includes(vm.spec.runHookPayload)) {
      this.setState(vm, 'RUNNING');
      return;
    }
    const tell = (event, fields) => this.heard(vm, event, fields);
    const guest = new Guest({ config: this.config, random: this.random, tell, fault: vm.fault });
    try {
      guest.accept(vm.spec.runHookPayload);
    } catch (error) {
      this.end(vm, `Run hook failed with status 400: ${error.message}`);
      return;
    }
    vm.guest = guest;
    vm.runner = guest.name;
    this.setState(vm, 'RUNNING');
    guest.run().then((reason) => this.guestOver(vm, reason));
  }

  heard(vm, event, fields) {
    if (event === 'vm_listening') this.counts.listening += 1;
    if (event === 'vm_job') {
      this.counts.jobs_started += 1;
      vm.job = fields.job;
    }
    if (event === 'vm_job_done') this.counts.jobs_done += 1;
    this.log.write(event, { microvm: vm.id, ...fields });
    this.emit('change');
  }

  /** The runner ended. Only a VM with a role may end itself; one that died is ended by the platform. */
  guestOver(vm, reason) {
    if (reason === null || vm.state !== 'RUNNING') return;
    this.log.write('vm_runner_ended', { microvm: vm.id, runner: vm.runner, reason });
    if (reason === 'idle-timeout') this.counts.idle_ended += 1;
    if (reason === 'died') {
      this.end(vm, 'MicroVM stopped unexpectedly');
    } else if (vm.spec.executionRoleArn || this.config.self_terminate) {
      this.counts.self_ended += 1;
      this.terminate(vm, 'Terminated by the MicroVM');
    }
    this.emit('change');
  }

  /** A VM that hangs does so past its deadline too: somebody must end it. */
  overtime(vm) {
    if (vm.fault?.vm === 'hang') return;
    this.counts.overtime += 1;
    this.terminate(vm, 'Maximum duration exceeded');
  }

  terminate(vm, reason) {
    if (vm.state === 'TERMINATING' || vm.state === 'TERMINATED') return;
    vm.guest?.stop();
    this.setState(vm, 'TERMINATING', reason);
    this.after(vm, this.random.vary(this.config.terminate_ms, this.config.jitter), () => this.end(vm, null));
  }

  suspend(vm) {
    vm.guest?.stop();
    this.setState(vm, 'SUSPENDED', 'Suspended by request');
  }

  end(vm, reason) {
    if (vm.state === 'TERMINATED') return;
    for (const timer of vm.timers) clearTimeout(timer);
    vm.timers.clear();
    vm.guest?.stop();
    vm.guest = null;
    vm.terminatedAt = Date.now();
    this.quotas.release(vm.counted);
    this.counts.held -= 1;
    this.counts.terminated += 1;
    this.setState(vm, 'TERMINATED', reason);
    this.log.write('vm_ended', {
      microvm: vm.id, reason: vm.reason, runner: vm.runner, job: vm.job, lived_ms: vm.terminatedAt - vm.createdAt,
    });
  }

  /** VMs that ended a moment ago, as a busy account has thousands of. */
  bury(image, count) {
    const now = Date.now();
    for (let i = 0; i < count; i++) {
      const vm = new Microvm(++this.seq, {}, image, image.versions.at(-1), now);
      Object.assign(vm, { state: 'TERMINATED', terminatedAt: now, history: [[now, 'TERMINATED']] });
      this.list.push(vm);
      this.byId.set(vm.id, vm);
    }
    return this.list.length;
  }

  /** Index of the first VM whose number is greater. */
  indexAfter(seq) {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle].seq <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  tidy(now) {
    const { keep_terminated_s: keep, read_lag_ms: both, list_lag_ms: list, get_lag_ms: get } = this.config;
    const before = now - keep * SECOND_MS - Math.max(both, list, get);
    const kept = this.list.filter((vm) => vm.terminatedAt === null || vm.terminatedAt > before);
    if (kept.length === this.list.length) return;
    for (const vm of this.list) if (vm.terminatedAt !== null && vm.terminatedAt <= before) this.byId.delete(vm.id);
    this.list = kept;
    this.emit('change');
  }
}

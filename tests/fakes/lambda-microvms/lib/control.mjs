/* The control API: what is this stand-in's own, beside ../../lib/aws_control.mjs. */
import { AwsControl } from '../../lib/aws_control.mjs';
import { connectorsOf } from './api.mjs';
import { options } from './options.mjs';

export class Control extends AwsControl {
  constructor(parts) {
    super({ ...parts, options });
    Object.assign(this, parts);
    const wanted = (query) => (vm) => !query.get('state') || vm.state === query.get('state');
    this.add('GET', '/vms', ({ query }) => this.fleet.list.map((vm) => vmView(vm, this.config)).filter(wanted(query)));
    this.add('GET', '/vms/{id}', ({ params }) => vmView(this.vm(params.id), this.config));
    this.add('POST', '/dead', ({ body: { image, count } }) => ({ known: this.fleet.bury(this.images.find(image), count) }));
    this.add('POST', '/vms/{id}/kill', ({ params }) => ({ done: this.fleet.end(this.vm(params.id), 'MicroVM stopped unexpectedly') === undefined }));
    this.fleet.on('change', () => this.changed());
  }

  vm(id) {
    const vm = this.fleet.byId.get(id);
    if (!vm) throw new RangeError(`there is no VM ${id}`);
    return vm;
  }

  configure({ images = [], ...settings }) {
    for (const image of images) this.images.set(image);
    return super.configure(settings);
  }

  counters() {
    return { ...this.fleet.counts, ...this.service.counts, ...this.api.counts, memory_counted_mib: this.quotas.memoryMib, known: this.fleet.list.length };
  }
}

function vmView(vm, config) {
  return {
    id: vm.id, state: vm.state, reason: vm.reason, image: vm.image.name, version: vm.version.version, token: vm.spec.clientToken ?? null,
    ingress: connectorsOf(vm.spec, config).ingress, runner: vm.runner, job: vm.job, fault: vm.fault?.vm ?? null, created_ms: vm.createdAt, terminated_ms: vm.terminatedAt,
  };
}

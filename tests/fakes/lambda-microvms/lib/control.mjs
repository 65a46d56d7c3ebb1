/* The control API: what is this stand-in's own, beside ../../lib/aws_control.mjs. */
import { AwsControl } from '../../lib/aws_control.mjs';
import { connectorsOf } from './api.mjs';
import { options } from './options.mjs';

export class Control extends AwsControl {
  constructor(parts) {
    super({ ...parts, options });
    Object.assign(this, parts);
    const wanted = (query) => (vm) => !query.get('state') || vm.state === query.get('state');
    this.add('GET', '/vms', ({ query }) => this.places.all.flatMap((place) => place.fleet.list.map((vm) => vmView(vm, place))).filter(wanted(query)));
    this.add('GET', '/vms/{id}', ({ params }) => this.vm(params.id, vmView));
    this.add('POST', '/dead', ({ body: { image, count } }) => ({ known: this.placeOf(image).fleet.bury(this.placeOf(image).images.find(image), count) }));
    this.add('POST', '/vms/{id}/kill', ({ params }) => this.vm(params.id, (vm, { fleet }) => ({ done: fleet.end(vm, 'MicroVM stopped unexpectedly') === undefined })));
    this.add('GET', '/targets', () => this.places.all.map((place) => place.state()));
    for (const { fleet } of this.places.all) fleet.on('change', () => this.changed());
  }

  vm(id, use) {
    const place = this.places.withVm(id);
    if (!place) throw new RangeError(`there is no VM ${id}`);
    return use(place.fleet.byId.get(id), place);
  }

  /** Of an image's ARN. */
  placeOf(image) {
    const [, , , region, account] = image.split(':');
    return this.places.byName.get(`${account}/${region}`) ?? this.places.first;
  }

  configure({ images = [], ...settings }) {
    for (const image of images) for (const place of this.places.all) place.images.set(image);
    return super.configure(settings);
  }

  counters() {
    return { ...this.places.counters(), ...this.service.counts };
  }
}

function vmView(vm, { config, name }) {
  return {
    id: vm.id, ...(name && { target: name }), state: vm.state, reason: vm.reason, image: vm.image.name, version: vm.version.version, token: vm.spec.clientToken ?? null,
    ingress: connectorsOf(vm.spec, config).ingress, runner: vm.runner, job: vm.job, fault: vm.fault?.vm ?? null, created_ms: vm.createdAt, terminated_ms: vm.terminatedAt,
  };
}

/*
 * Images of the account: a name, a size, versions. RunMicrovm takes the newest version that is ACTIVE.
 */
import { AwsError, invalid } from '../../lib/aws_errors.mjs';
import { partitionOf } from '../../lib/aws_service.mjs';
import { notFound } from './errors.mjs';
import { newBuilds } from './image_api.mjs';

const DEFAULT_MEMORY_MIB = 2048;

/** Also the answer to a launch whose image does not exist. */
const noVersion = (arn) => `No active version found for MicroVM image ${arn}.`;

/** One build of an image's files. A failure shows in one of its builds, as a chipset may fail alone. */
export class ImageVersion {
  constructor({ version, status = 'ACTIVE', state = 'SUCCESSFUL', spec = null, createdAt }) {
    Object.assign(this, { version, status, state, spec, createdAt, updatedAt: createdAt, reason: null, builds: newBuilds() });
    if (state !== 'PENDING') this.setState(state);
  }

  setState(state, reason = null) {
    this.state = state;
    this.updatedAt = Date.now() / 1000;
    if (state === 'FAILED') this.reason = 'One or more builds failed.';
    this.builds.forEach((build, i) => {
      const failed = state === 'FAILED' && i > 0;
      build.state = failed || state !== 'FAILED' ? state : 'SUCCESSFUL';
      build.reason = failed ? reason : null;
    });
  }
}

export class Images {
  constructor(config) {
    this.config = config;
    this.byName = new Map();
    this.deleted = new Set();
    this.timers = new Set();
    for (const text of config.image.length > 0 ? config.image : ['mayfly']) {
      const [name, memory] = text.split('=');
      this.set({ name, memory_mib: Number(memory ?? DEFAULT_MEMORY_MIB) });
    }
  }

  get prefix() {
    return `arn:${partitionOf(this.config.region)}`;
  }

  /** The one managed image. */
  get baseArn() {
    return `${this.prefix}:lambda:${this.config.region}:aws:microvm-image:al2023-1`;
  }

  arn(name) {
    return `${this.prefix}:lambda:${this.config.region}:${this.config.account}:microvm-image:${name}`;
  }

  /** Makes or replaces one: {name, memory_mib, versions: [{version, status, state}]}. */
  set({ name, memory_mib: memoryMib = DEFAULT_MEMORY_MIB, versions = [{ version: '1.0' }] }) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name ?? '') || !Number.isInteger(memoryMib) || memoryMib <= 0) {
      throw new RangeError('an image has a name and memory_mib');
    }
    const createdAt = Date.now() / 1000;
    this.byName.set(name, {
      name, arn: this.arn(name), memoryMib, createdAt,
      tags: {}, versions: versions.map((v) => new ImageVersion({ createdAt, ...v })),
    });
  }

  /** Makes one without versions. */
  add(name, tags = {}) {
    const image = { name, arn: this.arn(name), memoryMib: DEFAULT_MEMORY_MIB, createdAt: Date.now() / 1000, tags, versions: [] };
    this.byName.set(name, image);
    this.deleted.delete(image.arn);
    return image;
  }

  forget(image) {
    this.byName.delete(image.name);
    this.deleted.add(image.arn);
  }

  addVersion(image, spec) {
    const version = new ImageVersion({ version: `${(image.numbered = Math.max(image.numbered ?? 0, image.versions.length) + 1)}.0`, state: 'PENDING', spec, createdAt: Date.now() / 1000 });
    image.memoryMib = spec.resources?.[0].minimumMemoryInMiB ?? DEFAULT_MEMORY_MIB;
    image.versions.push(version);
    return version;
  }

  after(ms, action) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, ms);
    this.timers.add(timer);
  }

  stop() {
    for (const timer of this.timers) clearTimeout(timer);
  }

  /** By ARN. The form with a slash answers a misleading refusal, as the service does. */
  find(identifier, operation = 'RunMicrovm') {
    const match = /^arn:aws[a-z-]*:lambda:([a-z0-9-]+):(\d{12}):microvm-image([:/])([A-Za-z0-9_-]+)$/.exec(identifier ?? '');
    if (!match) throw invalid(`imageIdentifier '${identifier}' is not an ARN of a MicroVM image.`);
    const [, region, account, separator, name] = match;
    if (separator === '/' || region !== this.config.region || account !== this.config.account) {
      throw new AwsError('AccessDeniedException', `User is not authorized to perform: lambda:${operation} on resource: ${identifier}`);
    }
    const image = this.byName.get(name);
    if (!image) throw notFound('microvm-image', identifier, operation === 'RunMicrovm' ? noVersion(identifier) : undefined);
    return image;
  }

  /** The version to run: the one asked for, or the newest; only an ACTIVE one. */
  versionToRun(image, wanted) {
    const usable = image.deleting ? [] : image.versions.filter((v) => v.status === 'ACTIVE' && v.state === 'SUCCESSFUL');
    const version = wanted === undefined ? usable.at(-1) : usable.find((v) => v.version === wanted);
    if (!version) throw notFound('microvm-image', image.arn, noVersion(image.arn));
    return version;
  }

  view(image) {
    const last = (test) => image.versions.filter(test).at(-1)?.version;
    const active = last((v) => v.status === 'ACTIVE' && v.state === 'SUCCESSFUL');
    const failed = last((v) => v.state === 'FAILED');
    return {
      imageArn: image.arn, name: image.name, state: stateOf(image), createdAt: image.createdAt, tags: image.tags,
      ...(active ? { latestActiveImageVersion: active } : {}), ...(failed ? { latestFailedImageVersion: failed } : {}),
    };
  }

  versionView(image, version) {
    const spec = version.spec ?? {
      baseImageArn: this.baseArn, baseImageVersion: '8', codeArtifact: { uri: 's3://fake/image.zip' },
      buildRoleArn: `${this.prefix}:iam::${this.config.account}:role/build`, resources: [{ minimumMemoryInMiB: image.memoryMib }],
    };
    return {
      ...spec, imageArn: image.arn, imageVersion: version.version, state: version.state, status: version.status, createdAt: version.createdAt,
      updatedAt: version.updatedAt, ...(version.reason ? { stateReason: version.reason } : {}),
    };
  }

  buildView(image, version, build) {
    const architecture = version.spec?.cpuConfigurations?.[0].architecture ?? 'ARM_64';
    return {
      imageArn: image.arn, imageVersion: version.version, buildId: build.id, buildState: build.state, architecture,
      chipset: architecture === 'ARM_64' ? 'GRAVITON' : 'INTEL',
      chipsetGeneration: build.generation, createdAt: version.createdAt, ...(build.reason ? { stateReason: build.reason } : {}),
    };
  }
}

/** What the newest version makes of its image. */
function stateOf(image) {
  if (image.deleting) return 'DELETING';
  const first = image.versions.length < 2;
  switch (image.versions.at(-1)?.state) {
    case 'PENDING':
    case 'IN_PROGRESS': return first ? 'CREATING' : 'UPDATING';
    case 'FAILED': return first ? 'CREATE_FAILED' : 'UPDATE_FAILED';
    default: return first ? 'CREATED' : 'UPDATED';
  }
}

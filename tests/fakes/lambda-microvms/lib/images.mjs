/*
 * Images of the account: a name, a size, versions. RunMicrovm takes the newest version that is ACTIVE.
 */
import { AwsError, invalid } from '../../lib/aws_errors.mjs';
import { notFound } from './errors.mjs';

const DEFAULT_MEMORY_MIB = 2048;

export class Images {
  constructor(config) {
    this.config = config;
    this.byName = new Map();
    for (const text of config.image.length > 0 ? config.image : ['mayfly']) {
      const [name, memory] = text.split('=');
      this.set({ name, memory_mib: Number(memory ?? DEFAULT_MEMORY_MIB) });
    }
  }

  arn(name) {
    return `arn:aws:lambda:${this.config.region}:${this.config.account}:microvm-image:${name}`;
  }

  /** Makes or replaces one: {name, memory_mib, versions: [{version, status, state}]}. */
  set({ name, memory_mib: memoryMib = DEFAULT_MEMORY_MIB, versions = [{ version: '1.0' }] }) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name ?? '') || !Number.isInteger(memoryMib) || memoryMib <= 0) {
      throw new RangeError('an image has a name and memory_mib');
    }
    const createdAt = Date.now() / 1000;
    this.byName.set(name, {
      name, arn: this.arn(name), memoryMib, createdAt,
      versions: versions.map((v) => ({ status: 'ACTIVE', state: 'SUCCESSFUL', createdAt, ...v })),
    });
  }

  /** By ARN. The form with a slash answers a misleading refusal, as the service does. */
  find(identifier) {
    const match = /^arn:aws[a-z-]*:lambda:([a-z0-9-]+):(\d{12}):microvm-image([:/])([A-Za-z0-9_-]+)$/.exec(identifier ?? '');
    if (!match) throw invalid(`imageIdentifier '${identifier}' is not an ARN of a MicroVM image.`);
    const [, region, account, separator, name] = match;
    if (separator === '/' || region !== this.config.region || account !== this.config.account) {
      throw new AwsError('AccessDeniedException', `User is not authorized to perform: lambda:RunMicrovm on resource: ${identifier}`);
    }
    const image = this.byName.get(name);
    if (!image) throw notFound('microvm-image', identifier);
    return image;
  }

  /** The version to run: the one asked for, or the newest; only an ACTIVE one. */
  versionToRun(image, wanted) {
    const usable = image.versions.filter((v) => v.status === 'ACTIVE' && v.state === 'SUCCESSFUL');
    const version = wanted === undefined ? usable.at(-1) : usable.find((v) => v.version === wanted);
    if (!version) throw notFound('microvm-image', image.arn, `No active version found for image ${image.arn}.`);
    return version;
  }

  view(image) {
    const active = image.versions.filter((v) => v.status === 'ACTIVE' && v.state === 'SUCCESSFUL').at(-1);
    return {
      imageArn: image.arn, name: image.name, state: 'CREATED', createdAt: image.createdAt,
      ...(active ? { latestActiveImageVersion: active.version } : {}),
    };
  }

  versionView(image, version) {
    return {
      imageArn: image.arn, imageVersion: version.version, state: version.state, status: version.status, createdAt: version.createdAt,
      baseImageArn: `arn:aws:lambda:${this.config.region}:aws:microvm-image:al2023-1`, codeArtifact: { uri: 's3://fake/image.zip' },
      buildRoleArn: `arn:aws:iam::${this.config.account}:role/build`, resources: [{ minimumMemoryInMiB: image.memoryMib }],
    };
  }
}

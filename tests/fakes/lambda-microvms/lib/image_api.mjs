/*
 * The operations on images, version 2025-09-09: creating, updating, versions, builds. Members and their types are those
 * of the service's model; what a request must not have is refused, so that a slip of the caller is found here.
 */
import { randomUUID } from 'node:crypto';
import { AwsError, invalid } from '../../lib/aws_errors.mjs';
import { partitionOf } from '../../lib/aws_service.mjs';
import { notFound } from './errors.mjs';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const ROLE = /^(arn:aws[a-z-]*):iam::\d{12}:role\/.+$/;
const CONNECTOR = /^[^:]+:[^:]+:[^:]+:[a-z0-9-]+:[a-z0-9-]+:network-connector:.+$/;
const URI = /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/.+$/;
const SIZES = [512, 1024, 2048, 4096, 8192];
const SECONDS = { run: 60, resume: 60, suspend: 60, terminate: 60, ready: 3600, validate: 3600 };
const PAGE_MAX = 50;
const MODES = ['ENABLED', 'DISABLED'];

const SPEC = {
  baseImageArn: 'string', baseImageVersion: 'string', buildRoleArn: 'string', description: 'string', codeArtifact: 'object', logging: 'object',
  egressNetworkConnectors: 'array', cpuConfigurations: 'array', resources: 'array', additionalOsCapabilities: 'array', hooks: 'object',
  environmentVariables: 'object',
};
const CREATE = { ...SPEC, name: 'string', tags: 'object', clientToken: 'string' };
const UPDATE = { ...SPEC, clientToken: 'string' };
const REQUIRED = ['baseImageArn', 'buildRoleArn', 'codeArtifact'];

const typeOf = (value) => (Array.isArray(value) ? 'array' : typeof value);

function checkMembers(body, members, required, shape) {
  if (typeOf(body) !== 'object') throw invalid('The body is no JSON object.');
  for (const [key, value] of Object.entries(body)) {
    if (!members[key]) throw invalid(`${key} is no member of ${shape}.`);
    if (value === null || typeOf(value) !== members[key]) throw invalid(`${key} must be of type ${members[key]}.`);
  }
  for (const key of required) if (body[key] === undefined) throw invalid(`${key} is required.`);
}

function checkHookGroup(group, names, which) {
  for (const [key, value] of Object.entries(group ?? {})) {
    const name = key.replace(/TimeoutInSeconds$/, '');
    if (!names.includes(name)) throw invalid(`${key} is no member of ${which}.`);
    if (key === name && !MODES.includes(value)) throw invalid(`${which}.${key} is ENABLED or DISABLED.`);
    if (key !== name && !(Number.isInteger(value) && value >= 1 && value <= SECONDS[name])) throw invalid(`${which}.${key} must be between 1 and ${SECONDS[name]}.`);
  }
}

function checkHooks(hooks) {
  if (hooks === undefined) return;
  for (const key of Object.keys(hooks)) if (!['port', 'microvmHooks', 'microvmImageHooks'].includes(key)) throw invalid(`${key} is no member of Hooks.`);
  if (!Number.isInteger(hooks.port) || hooks.port < 1 || hooks.port > 65535) throw invalid('hooks.port is required when any hook is configured.');
  checkHookGroup(hooks.microvmHooks, ['run', 'resume', 'suspend', 'terminate'], 'microvmHooks');
  checkHookGroup(hooks.microvmImageHooks, ['ready', 'validate'], 'microvmImageHooks');
  if (hooks.microvmHooks && hooks.microvmImageHooks?.ready !== 'ENABLED') throw invalid('MicroVM hooks need the ready hook of the image.');
}

function checkSpec(body, images, config) {
  const { resources = [{ minimumMemoryInMiB: 2048 }], egressNetworkConnectors: egress = [], additionalOsCapabilities: capabilities = [] } = body;
  if (body.baseImageArn !== images.baseArn) throw invalid('baseImageArn is no managed image of this region.');
  if (ROLE.exec(body.buildRoleArn)?.[1] !== images.prefix) throw invalid('buildRoleArn is not an ARN of a role.');
  if (!URI.test(body.codeArtifact.uri ?? '') || Object.keys(body.codeArtifact).length !== 1) throw invalid('codeArtifact.uri is no S3 URI.');
  if (resources.length !== 1 || !SIZES.includes(resources[0].minimumMemoryInMiB)) throw invalid(`minimumMemoryInMiB is one of ${SIZES.join(', ')}.`);
  if (egress.some((arn) => !isConnector(arn, config.region))) throw invalid('egressNetworkConnectors holds what is no ARN of a network connector.');
  if (capabilities.some((name) => name !== 'ALL')) throw invalid('additionalOsCapabilities holds what is none: ALL.');
  const listed = architectures(config);
  if ((body.cpuConfigurations ?? []).some((cpu) => !listed.includes(cpu.architecture))) throw invalid(`architecture is one of ${listed.join(', ')}.`);
  if (body.logging !== undefined) {
    const keys = Object.keys(body.logging);
    if (keys.length !== 1 || !['cloudWatch', 'disabled'].includes(keys[0])) throw invalid('logging is either cloudWatch or disabled.');
  }
  checkHooks(body.hooks);
}

/** What the region takes. */
const architectures = (config) => (config.x86_64 ? ['ARM_64', 'X86_64'] : ['ARM_64']);

/** The same parameters in any order give the same text. */
const canonical = (value) => JSON.stringify(value, (_, v) => (v && typeOf(v) === 'object'
  ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v));

export class ImageApi {
  constructor({ config, images, log }) {
    Object.assign(this, { config, images, log, byToken: new Map() });
  }

  addRoutes(add) {
    const route = (method, path, operation, handle, status) => add(method, `/microvm-images${path}`, operation, handle.bind(this), status);
    add('GET', '/managed-microvm-images/{arn}/versions', 'ListManagedMicrovmImageVersions', this.listManagedVersions.bind(this));
    route('GET', '', 'ListMicrovmImages', this.list);
    route('POST', '', 'CreateMicrovmImage', this.create, 201);
    route('GET', '/{arn}', 'GetMicrovmImage', this.get);
    route('PUT', '/{arn}', 'UpdateMicrovmImage', this.update);
    route('DELETE', '/{arn}', 'DeleteMicrovmImage', this.remove);
    route('GET', '/{arn}/versions', 'ListMicrovmImageVersions', this.listVersions);
    route('GET', '/{arn}/versions/{version}', 'GetMicrovmImageVersion', this.getVersion);
    route('DELETE', '/{arn}/versions/{version}', 'DeleteMicrovmImageVersion', this.deleteVersion);
    route('PATCH', '/{arn}/versions/{version}', 'UpdateMicrovmImageVersion', this.setStatus);
    route('GET', '/{arn}/versions/{version}/builds', 'ListMicrovmImageBuilds', this.listBuilds);
    route('GET', '/{arn}/versions/{version}/builds/{build}', 'GetMicrovmImageBuild', this.getBuild);
  }

  /** A token never expires: the same parameters get the first answer again. */
  once(body, key, make) {
    const { clientToken: token } = body;
    if (token !== undefined && (token.length < 1 || token.length > 128)) throw invalid('clientToken must have 1 to 128 characters.');
    const print = canonical({ ...body, key });
    const before = token === undefined ? undefined : this.byToken.get(token);
    if (before && before.print !== print) {
      throw new AwsError('ConflictException', 'The client token was used with other parameters.', { members: { resourceType: 'microvm-image', resourceId: token } });
    }
    const answer = before ? before.answer : make();
    if (token !== undefined) this.byToken.set(token, { print, answer });
    return answer;
  }

  create({ body }) {
    checkMembers(body, CREATE, [...REQUIRED, 'name'], 'CreateMicrovmImageRequest');
    checkSpec(body, this.images, this.config);
    if (!NAME.test(body.name)) throw invalid('name must match [a-zA-Z0-9-_]{1,64}.');
    return this.once(body, 'create', () => {
      if (this.images.byName.has(body.name)) {
        throw new AwsError('ConflictException', `The image ${body.name} exists already.`, { members: { resourceType: 'microvm-image', resourceId: body.name } });
      }
      const image = this.images.add(body.name, body.tags);
      return this.built(image, this.startBuild(image, body));
    });
  }

  update({ params, body }) {
    checkMembers(body, UPDATE, REQUIRED, 'UpdateMicrovmImageRequest');
    checkSpec(body, this.images, this.config);
    const image = this.images.find(params.arn, 'UpdateMicrovmImage');
    return this.once(body, params.arn, () => {
      this.mustBeAtRest(image);
      return this.built(image, this.startBuild(image, body));
    });
  }

  mustBeAtRest(image) {
    const conflict = (what) => new AwsError('ConflictException', `The image ${image.name} is being ${what}.`, { members: { resourceType: 'microvm-image', resourceId: image.arn } });
    if (image.deleting) throw conflict('deleted');
    if (image.versions.some((v) => v.state === 'PENDING' || v.state === 'IN_PROGRESS')) throw conflict('built');
  }

  /** DELETING for `image_build_ms`, then unknown. Once more is a success, as the service's reference says. */
  remove({ params }) {
    const { arn } = params;
    if (this.images.deleted.has(arn)) return { imageIdentifier: arn, state: 'DELETED' };
    const image = this.images.find(arn, 'DeleteMicrovmImage');
    if (!image.deleting) {
      this.mustBeAtRest(image);
      image.deleting = true;
      this.images.after(this.config.image_build_ms, () => this.images.forget(image));
    }
    return { imageIdentifier: arn, state: 'DELETING' };
  }

  built(image, version) {
    return { ...this.images.view(image), ...version.spec, imageVersion: version.version, updatedAt: version.createdAt };
  }

  /** PENDING, then IN_PROGRESS, then as the options say; `image_build_ms` from step to step. */
  startBuild(image, body) {
    const { clientToken, name, tags, ...spec } = body;
    const version = this.images.addVersion(image, spec);
    this.log.write('image_build', { image: image.name, version: version.version, code: spec.codeArtifact.uri });
    this.images.after(this.config.image_build_ms, () => {
      version.setState('IN_PROGRESS');
      this.images.after(this.config.image_build_ms, () => this.endBuild(image, version));
    });
    return version;
  }

  endBuild(image, version) {
    const reason = this.config.image_build_failure;
    if (reason) version.setState('FAILED', reason);
    else version.setState('SUCCESSFUL');
    this.log.write('image_built', { image: image.name, version: version.version, state: version.state });
  }

  list({ query }) {
    const name = query.get('nameFilter');
    const all = [...this.images.byName.values()].filter((image) => name === null || image.name.includes(name));
    const { items, ...rest } = this.page(all, query);
    return { items: items.map((image) => this.images.view(image)), ...rest };
  }

  /** Cursors need percent-encoding; an empty page may come first. */
  page(all, query) {
    const token = query.get('nextToken');
    const at = token === null ? 0 : Number(Buffer.from(token, 'base64').toString().slice(3));
    if (!Number.isInteger(at)) throw invalid('nextToken is not one that was given.');
    const size = pageSize(query, this.config);
    const cursor = (n) => Buffer.from(`at:${n}`).toString('base64').replace(/=*$/, '==');
    if (token === null && this.config.empty_page_every > 0) return { items: [], nextToken: cursor(0) };
    return at + size < all.length ? { items: all.slice(at, at + size), nextToken: cursor(at + size) } : { items: all.slice(at) };
  }

  get({ params }) {
    return this.images.view(this.images.find(params.arn, 'GetMicrovmImage'));
  }

  version(params, operation) {
    const image = this.images.find(params.arn, operation);
    const version = image.versions.find((v) => v.version === params.version);
    if (!version) throw notFound('microvm-image-version', params.version);
    return { image, version };
  }

  /** Newest first, as the service lists them: one that was recalled, the one in use, one from before there was a choice. */
  listManagedVersions({ params, query }) {
    if (params.arn !== this.images.baseArn) throw notFound('microvm-image', params.arn);
    const supported = architectures(this.config).map((architecture) => ({ architecture }));
    const all = [
      { imageVersion: '9', status: 'RECALLED', supportedCpuConfigurations: [] }, { imageVersion: '8', status: 'AVAILABLE', supportedCpuConfigurations: supported },
      { imageVersion: '7', status: 'DEPRECATED' },
    ];
    const { items, ...rest } = this.page(all, query);
    return { items: items.map((item) => ({ imageArn: params.arn, createdAt: 1.7e9 + Number(item.imageVersion), ...item })), ...rest };
  }

  listVersions({ params, query }) {
    const image = this.images.find(params.arn, 'ListMicrovmImageVersions');
    const { items, ...rest } = this.page([...image.versions].reverse(), query);
    return { items: items.map((version) => this.images.versionView(image, version)), ...rest };
  }

  getVersion({ params }) {
    const { image, version } = this.version(params, 'GetMicrovmImageVersion');
    return this.images.versionView(image, version);
  }

  /** The last one stays: it goes with its image. */
  deleteVersion({ params }) {
    const { image, version } = this.version(params, 'DeleteMicrovmImageVersion');
    if (image.versions.length === 1) throw invalid('This is the last version. Please delete the entire image');
    image.versions.splice(image.versions.indexOf(version), 1);
    return { imageIdentifier: image.arn, imageVersion: version.version, state: 'DELETING' };
  }

  setStatus({ params, body }) {
    checkMembers(body, { status: 'string' }, ['status'], 'UpdateMicrovmImageVersionRequest');
    if (!['ACTIVE', 'INACTIVE'].includes(body.status)) throw invalid('status is ACTIVE or INACTIVE.');
    const { image, version } = this.version(params, 'UpdateMicrovmImageVersion');
    if (version.state !== 'SUCCESSFUL') throw new AwsError('ConflictException', `The version ${version.version} is ${version.state}.`, { members: { resourceType: 'microvm-image-version', resourceId: version.version } });
    version.status = body.status;
    return this.images.versionView(image, version);
  }

  listBuilds({ params }) {
    const { image, version } = this.version(params, 'ListMicrovmImageBuilds');
    return { items: version.builds.map((build) => this.images.buildView(image, version, build)) };
  }

  getBuild({ params }) {
    const { image, version } = this.version(params, 'GetMicrovmImageBuild');
    const build = version.builds.find((b) => b.id === params.build);
    if (!build) throw notFound('microvm-image-build', params.build);
    const sizes = { memorySnapshotSizeInBytes: 604_000_000, codeInstallSizeInBytes: 900_000_000, diskSnapshotSizeInBytes: 24_000_000 };
    return { ...this.images.buildView(image, version, build), ...(build.state === 'SUCCESSFUL' ? { snapshotBuild: sizes } : {}) };
  }
}

/** Another partition's is none. */
export const isConnector = (arn, region) => arn.startsWith(`arn:${partitionOf(region)}:lambda:`) && CONNECTOR.test(arn);

/** How many items a page of any list has. */
export function pageSize(query, config) {
  const size = Number(query.get('maxResults') ?? config.page_size);
  if (!Number.isInteger(size) || size < 1 || size > PAGE_MAX) throw invalid(`maxResults must be between 1 and ${PAGE_MAX}.`);
  return Math.min(size, config.page_size);
}

/** Builds are for one chipset each; a version is what its builds are. */
export const newBuilds = () => ['3', '4'].map((generation) => ({ id: randomUUID(), generation, state: 'PENDING', reason: null }));

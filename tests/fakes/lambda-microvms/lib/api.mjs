/*
 * The operations, version 2025-09-09: each takes {params, query, body} and returns the answer's body, or throws an
 * AwsError. Members a request must not have are refused, so that a slip of the caller is found here.
 */
import { AwsError, invalid } from '../../lib/aws_errors.mjs';
import { partitionOf } from '../../lib/aws_service.mjs';
import { notFound } from './errors.mjs';
import { ImageApi, isConnector, pageSize } from './image_api.mjs';

export const VERSION = '2025-09-09';

const LONGEST_S = 28800;
const ARN = /^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[a-z0-9-]*:.+$/;

const MEMBERS = {
  imageIdentifier: 'string', imageVersion: 'string', executionRoleArn: 'string', ingressNetworkConnectors: 'array',
  egressNetworkConnectors: 'array', idlePolicy: 'object', logging: 'object', runHookPayload: 'string',
  maximumDurationInSeconds: 'number', clientToken: 'string', kmsKeyIdentifier: 'string',
};

const typeOf = (value) => (Array.isArray(value) ? 'array' : typeof value);

function checkTypes(body) {
  for (const [key, value] of Object.entries(body)) {
    if (!MEMBERS[key]) throw invalid(`${key} is no member of RunMicrovmRequest.`);
    if (value === null || typeOf(value) !== MEMBERS[key]) throw invalid(`${key} must be of type ${MEMBERS[key]}.`);
  }
}

function checkLogging({ logging, executionRoleArn }) {
  if (logging === undefined) return;
  const keys = Object.keys(logging);
  if (keys.length !== 1 || !['cloudWatch', 'disabled'].includes(keys[0])) throw invalid('logging is either cloudWatch or disabled.');
  if (keys[0] === 'cloudWatch' && !executionRoleArn) throw invalid('logging to CloudWatch needs an execution role.');
}

function checkRun(body, config) {
  checkTypes(body);
  const { runHookPayload: payload, maximumDurationInSeconds: seconds, clientToken: token, executionRoleArn: role } = body;
  if (payload !== undefined && Buffer.byteLength(payload) > config.payload_limit) {
    throw invalid(`runHookPayload must be at most ${config.payload_limit} bytes.`);
  }
  if (seconds !== undefined && (!Number.isInteger(seconds) || seconds < 1 || seconds > LONGEST_S)) {
    throw invalid(`maximumDurationInSeconds must be between 1 and ${LONGEST_S}.`);
  }
  if (token !== undefined && (token.length < 1 || token.length > 128)) throw invalid('clientToken must have 1 to 128 characters.');
  if (role !== undefined && !ARN.test(role)) throw invalid('executionRoleArn is not an ARN.');
  for (const kind of ['ingressNetworkConnectors', 'egressNetworkConnectors']) {
    if ((body[kind] ?? []).some((arn) => !isConnector(arn, config.region))) throw invalid(`${kind} holds what is no ARN of a network connector.`);
  }
  checkLogging(body);
}

/** The same parameters in any order give the same text. */
const canonical = (value) => JSON.stringify(value, (_, v) => (v && typeOf(v) === 'object'
  ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v));

function view(vm, state, config) {
  const { spec } = vm;
  const told = {
    microvmId: vm.id, state, endpoint: `https://${vm.id}.lambda-microvms.${config.region}.on.aws`, imageArn: vm.image.arn,
    imageVersion: vm.version.version, maximumDurationInSeconds: spec.maximumDurationInSeconds, startedAt: vm.createdAt / 1000,
  };
  for (const key of ['executionRoleArn', 'idlePolicy', 'kmsKeyIdentifier']) if (spec[key] !== undefined) told[key] = spec[key];
  const { ingress, egress } = connectorsOf(spec, config);
  Object.assign(told, { ingressNetworkConnectors: ingress, egressNetworkConnectors: egress });
  if (vm.reason && (state === 'TERMINATING' || state === 'TERMINATED')) told.stateReason = vm.reason;
  if (state === 'TERMINATED') told.terminatedAt = vm.terminatedAt / 1000;
  return told;
}

/** What a VM gets when the launch names none: an ingress with a public endpoint, and the internet. NO_INGRESS leaves none. */
export function connectorsOf({ ingressNetworkConnectors: ingress, egressNetworkConnectors: egress }, config) {
  const own = (name) => `arn:${partitionOf(config.region)}:lambda:${config.region}:aws:network-connector:aws-network-connector:${name}`;
  const orOwn = (named, name) => (named?.length > 0 ? named : [own(name)]);
  return { ingress: orOwn(ingress, 'HTTP_INGRESS').filter((arn) => arn !== own('NO_INGRESS')), egress: orOwn(egress, 'INTERNET_EGRESS') };
}

const cursor = (seq) => Buffer.from(JSON.stringify({ after: seq })).toString('base64').replace(/=*$/, '==');

function readCursor(text) {
  if (text === null) return 0;
  try {
    const { after } = JSON.parse(Buffer.from(text.replace(/=+$/, ''), 'base64').toString());
    if (Number.isSafeInteger(after) && cursor(after) === text) return after;
  } catch { /* falls through to the refusal */ }
  throw invalid('nextToken is not one that was given.');
}

export class Api {
  constructor({ config, fleet, images, log }) {
    Object.assign(this, { config, fleet, images, lists: 0, counts: { empty_ids: 0, stale_reads: 0 }, imageApi: new ImageApi({ config, images, log }) });
  }

  addRoutes(router) {
    const route = (method, path, operation, handle, status = 200) => router.add(method, `/${VERSION}${path}`, { operation, handle, status });
    const add = (method, path, operation, handle) => route(method, path, operation, handle.bind(this));
    add('POST', '/microvms', 'RunMicrovm', this.run);
    add('GET', '/microvms', 'ListMicrovms', this.list);
    add('GET', '/microvms/{id}', 'GetMicrovm', this.get);
    add('DELETE', '/microvms/{id}', 'TerminateMicrovm', this.terminate);
    add('POST', '/microvms/{id}/suspend', 'SuspendMicrovm', this.suspend);
    this.imageApi.addRoutes(route);
  }

  run({ body }) {
    if (typeOf(body) !== 'object') throw invalid('The body is no JSON object.');
    checkRun(body, this.config);
    const image = this.images.find(body.imageIdentifier);
    const { clientToken: token } = body;
    const print = canonical(body);
    const before = token === undefined ? undefined : this.fleet.byToken.get(token);
    if (before) return this.replay(before, print, token);
    const version = this.images.versionToRun(image, body.imageVersion);
    const vm = this.fleet.launch({ maximumDurationInSeconds: LONGEST_S, ...body }, image, version);
    const answer = view(vm, vm.state, this.config);
    if (token !== undefined) this.fleet.byToken.set(token, { print, answer });
    return answer;
  }

  /** A token never expires: the same parameters get the first answer again, whatever became of the VM. */
  replay({ print, answer }, again, token) {
    if (print !== again) {
      throw new AwsError('ConflictException', 'The client token was used with other parameters.', {
        members: { resourceType: 'microvm', resourceId: token },
      });
    }
    this.fleet.counts.replayed += 1;
    return answer;
  }

  /** Reads are as of a while ago; `own` is the lag of the operation. */
  seen(vm, own) {
    const state = vm.stateAt(Date.now() - Math.max(this.config.read_lag_ms, own));
    if (state !== vm.state) this.counts.stale_reads += 1;
    return state;
  }

  /** The service answers "not found" to an id that is empty, as to any other that it does not have; here it is counted. */
  find(id) {
    if (id === '') this.counts.empty_ids += 1;
    return this.fleet.byId.get(id);
  }

  get({ params }) {
    const vm = this.find(params.id);
    const state = vm ? this.seen(vm, this.config.get_lag_ms) : null;
    if (state === null) throw notFound('microvm', params.id);
    return view(vm, state, this.config);
  }

  /** maxResults counts before the filters do, so that a page may be empty and not the last. */
  list({ query }) {
    const size = pageSize(query, this.config);
    const after = readCursor(query.get('nextToken'));
    const from = this.fleet.indexAfter(after);
    this.lists += 1;
    if (this.config.empty_page_every > 0 && this.lists % this.config.empty_page_every === 0) {
      return { items: [], nextToken: cursor(after) };
    }
    const page = this.fleet.list.slice(from, from + size);
    const items = page.map((vm) => ({ vm, state: this.seen(vm, this.config.list_lag_ms) })).filter(({ vm, state }) => state !== null && this.wanted(vm, query))
      .map(({ vm, state }) => ({
        microvmId: vm.id, state, imageArn: vm.image.arn, imageVersion: vm.version.version, startedAt: vm.createdAt / 1000,
      }));
    return from + size < this.fleet.list.length ? { items, nextToken: cursor(page.at(-1).seq) } : { items };
  }

  wanted(vm, query) {
    const image = query.get('imageIdentifier');
    const version = query.get('imageVersion');
    return (image === null || vm.image.arn === image) && (version === null || vm.version.version === version);
  }

  /** Writes see what is so now. Terminating again is fine while the VM is remembered. */
  terminate({ params }) {
    const vm = this.find(params.id);
    if (!vm) throw notFound('microvm', params.id);
    this.fleet.terminate(vm, 'Terminated by request');
    return null;
  }

  suspend({ params }) {
    const vm = this.find(params.id);
    if (!vm) throw notFound('microvm', params.id);
    if (vm.state !== 'RUNNING') throw invalid(`The MicroVM is ${vm.state}.`);
    this.fleet.suspend(vm);
    return {};
  }
}

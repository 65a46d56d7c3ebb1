/*
 * The listener's calls: where things are, the session in its two flows, the long poll, the acknowledgement.
 *
 * The flow V1 asks the connection data for its addresses and gets its session from the pool's service, which sends it on to
 * the broker: in the session's answer, or by a message (the option v1_migration). V2 speaks with the broker alone.
 */
import { guid } from '../ids.mjs';
import { brokerError, lowerKeys, vssError } from './errors.mjs';
import { messageBody } from './job_message.mjs';

const SESSIONS = '134e239e-2df3-4794-a6f6-24f1f19ec8dc';
const MESSAGES = 'c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7';
const GONE = () => brokerError(404, 'RunnerNotFound', 'The runner could not be found.');

function definition(identifier, displayName, path) {
  return {
    serviceType: 'distributedtask', identifier, displayName, relativeToSetting: 'context', relativePath: `/_apis/distributedtask/pools/{poolId}/${path}`,
    resourceVersion: 1, minVersion: '1.0', maxVersion: '6.0', releasedVersion: '0.0',
  };
}

export function connectionData() {
  return {
    status: 200,
    body: {
      instanceId: guid(), deploymentType: 'hosted',
      locationServiceData: {
        serviceOwner: guid(), defaultAccessMappingMoniker: 'PublicAccessMapping', lastChangeId: 1, lastChangeId64: 1,
        serviceDefinitions: [definition(SESSIONS, 'sessions', 'sessions/{sessionId}'), definition(MESSAGES, 'messages', 'messages/{messageId}')],
      },
    },
  };
}

function sessionBody(sessionId, runner, body) {
  const { ownername: ownerName = '', agent = {} } = lowerKeys(body);
  return {
    sessionId, ownerName, useFipsEncryption: false, encryptionKey: { encrypted: false, value: '' },
    agent: { id: runner.id, name: runner.name, version: lowerKeys(agent).version ?? '', osDescription: lowerKeys(agent).osdescription ?? '' },
  };
}

/** The session at the broker: one at a time. */
export function openSession({ fleet, runner, body }) {
  if (!runner) return GONE();
  const version = lowerKeys(lowerKeys(body).agent ?? {}).version || undefined;
  const id = fleet.openSession(runner, version);
  if (id === null) return brokerError(409, 'RunnerSessionConflict', `A session for this runner already exists: ${runner.name}`);
  return { status: 200, body: sessionBody(id, runner, body) };
}

export function openSessionV1(context) {
  const { fleet, runner, config, base } = context;
  if (!runner) return vssError(404, 'TaskAgentNotFoundException', 'The runner could not be found.');
  if (config.v1_migration === 'message') return openSession(context);
  if (runner.session && (runner.poll || fleet.isFresh(runner, Date.now()))) {
    return vssError(409, 'TaskAgentSessionConflictException', `The task agent ${runner.name} already has an active session.`);
  }
  return { status: 200, body: { ...sessionBody(guid(), runner, context.body), brokerMigrationMessage: { brokerBaseUrl: `${base}broker/` } } };
}

export function migrationMessage({ base }) {
  return { status: 200, body: { messageId: 1, messageType: 'BrokerMigration', body: JSON.stringify({ brokerBaseUrl: `${base}broker/` }) } };
}

/** GitHub has forgotten an ephemeral runner by the time it takes its leave. */
export function deleteSession({ fleet, runner }) {
  if (!runner) return { status: 401 };
  if (runner.session) fleet.closeSession(runner);
  return { status: 200, body: {} };
}

const isOlder = (version, than) => {
  const [a, b] = [version, than].map((text) => String(text).split('.').map(Number));
  const at = a.findIndex((part, i) => part !== (b[i] ?? 0));
  return at >= 0 && a[at] < (b[at] ?? 0);
};

/** Resolves when a message came, the wait is over, or the registration went. */
export function message({ fleet, runner, config, query, response, base }) {
  if (!runner) return GONE();
  if (config.min_runner_version && isOlder(query.get('runnerVersion'), config.min_runner_version)) {
    return brokerError(403, 'RunnerVersionTooOld', `Runner version v${query.get('runnerVersion')} is deprecated and cannot receive messages.`);
  }
  if (fleet.sessions.get(query.get('sessionId')) !== runner) return brokerError(404, 'RunnerSessionInvalid', 'The session is not valid.');
  return new Promise((resolve) => {
    const answer = ({ message: what, gone }) => {
      if (gone) resolve(GONE());
      else if (what) resolve({ status: 200, body: messageBody(what, base) });
      else resolve({ status: 202 });
    };
    response.on('close', () => fleet.abandonPoll(runner, answer));
    fleet.poll(runner, config.poll_wait_s * 1000, answer);
  });
}

export function acknowledge({ fleet, runner, body }) {
  const { runnerrequestid: requestId } = lowerKeys(body);
  if (!runner || fleet.requests.get(requestId)?.requestId !== requestId) return brokerError(404, 'AcknowledgeJobNotFound', 'The job could not be found.');
  return { status: 200, body: {} };
}

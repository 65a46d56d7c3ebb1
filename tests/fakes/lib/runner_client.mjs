/*
 * The runner's side of GitHub's protocol, for programs that play runners: each method is one call. Who uses it decides how
 * calls are sent, by `send({method, url, headers, body, ...options})`, which resolves with {status, text}, and what is repeated.
 */
import crypto, { randomUUID } from 'node:crypto';

const PSS = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST };
const VERSION = { runnerVersion: '2.337.0', os: 'Linux', architecture: process.arch === 'arm64' ? 'ARM64' : 'X64', disableUpdate: 'true' };
const RESULTS = 'twirp/results.services.receiver.Receiver';
const STEPS = 'twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate';

/** Runners without a key in their pocket would all make the same one of the same parameters. */
const keys = new Map();

function privateKey(parameters) {
  const known = keys.get(parameters.modulus);
  if (known) return known;
  const url = (text) => Buffer.from(text, 'base64').toString('base64url');
  const { modulus, exponent, d, p, q, dp, dq, inverseQ } = parameters;
  const jwk = { kty: 'RSA', n: url(modulus), e: url(exponent), d: url(d), p: url(p), q: url(q), dp: url(dp), dq: url(dq), qi: url(inverseQ) };
  const key = crypto.createPrivateKey({ key: jwk, format: 'jwk' });
  if (keys.size < 64) keys.set(parameters.modulus, key);
  return key;
}

export function decodeJitConfig(blob) {
  const plain = (text) => JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
  return Object.fromEntries(Object.entries(plain(blob)).map(([name, text]) => [name, plain(text)]));
}

export class RunnerClient {
  /** `jit` is the encoded configuration. */
  constructor(jit, send) {
    const { '.runner': settings, '.credentials': credentials, '.credentials_rsaparams': parameters } = decodeJitConfig(jit);
    Object.assign(this, { send, name: settings.AgentName, agentId: Number(settings.AgentId), broker: settings.ServerUrlV2, credentials: credentials.data });
    this.key = privateKey(parameters);
    this.token = null;
    this.session = null;
    this.job = null;
  }

  async call(method, url, { body, token = this.token, ...options } = {}) {
    const headers = { accept: 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
    if (body !== undefined) headers['content-type'] = 'application/json; charset=utf-8';
    const { status, text } = await this.send({ method, url, headers, body: body === undefined ? '' : JSON.stringify(body), ...options });
    let json = null;
    try {
      json = JSON.parse(text);
    } catch {
      // An empty answer, or a proxy's page.
    }
    return { status, text, json, kind: json?.errorKind ?? json?.error ?? null };
  }

  /** The assertion that is exchanged for a token; claims may be changed by `change`. */
  assertion(change = {}) {
    const fips = String(this.credentials.requireFipsCryptography).toLowerCase() === 'true';
    const now = Math.floor(Date.now() / 1000);
    const { clientId, authorizationUrl } = this.credentials;
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { iss: clientId, sub: clientId, aud: authorizationUrl, jti: randomUUID(), nbf: now, exp: now + 300, ...change };
    const signed = `${part({ alg: fips ? 'PS256' : 'RS256', typ: 'JWT' })}.${part(claims)}`;
    const signature = crypto.sign('sha256', Buffer.from(signed), fips ? { key: this.key, ...PSS } : this.key);
    return `${signed}.${signature.toString('base64url')}`;
  }

  async fetchToken(assertion = this.assertion()) {
    const form = new URLSearchParams({
      grant_type: 'client_credentials', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: assertion,
    });
    const { status, text } = await this.send({
      method: 'POST', url: this.credentials.authorizationUrl, headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: form.toString(),
    });
    const json = text.startsWith('{') ? JSON.parse(text) : null;
    if (status === 200) this.token = json.access_token;
    return { status, json, kind: json?.error ?? null };
  }

  async open() {
    const body = {
      sessionId: '00000000-0000-0000-0000-000000000000', ownerName: `${this.name} (PID: 1)`, useFipsEncryption: false,
      agent: { id: this.agentId, name: this.name, version: VERSION.runnerVersion, osDescription: 'Linux' },
    };
    const answer = await this.call('POST', `${this.broker}session`, { body });
    if (answer.status === 200) this.session = answer.json.sessionId;
    return answer;
  }

  query(status) {
    return new URLSearchParams({ sessionId: this.session, status, ...VERSION });
  }

  /** One long poll: {status} and, when something came, {type, body}. */
  async message(status = 'Online', options = {}) {
    const answer = await this.call('GET', `${this.broker}message?${this.query(status)}`, options);
    if (answer.status !== 200) return answer;
    return { ...answer, type: answer.json.messageType, body: JSON.parse(answer.json.body) };
  }

  acknowledge(request) {
    return this.call('POST', `${this.broker}acknowledge?${this.query('Busy')}`, { body: { runnerRequestId: request.runner_request_id } });
  }

  /** After it `job` is what the job's calls need. */
  async acquire(request) {
    const answer = await this.call('POST', `${request.run_service_url}acquirejob`, {
      body: { jobMessageId: request.runner_request_id, runnerOS: 'Linux', billingOwnerId: request.billing_owner_id },
    });
    if (answer.status === 200) {
      const { json } = answer;
      const { authorization, data } = json.resources.endpoints.find(({ name }) => name === 'SystemVssConnection');
      this.job = {
        id: json.jobId, planId: json.plan.planId, step: json.steps[0].id, command: json.steps[0].inputs.map[0].Value.lit, run: request.run_service_url,
        results: data.ResultsServiceUrl, token: authorization.parameters.AccessToken, number: Number(request.id),
      };
    }
    return answer;
  }

  ofJob(url, body) {
    return this.call('POST', url, { body, token: this.job.token });
  }

  renew() {
    return this.ofJob(`${this.job.run}renewjob`, { planId: this.job.planId, jobId: this.job.id });
  }

  reportSteps(steps) {
    const { planId, id, results } = this.job;
    return this.ofJob(`${results}${STEPS}`, { steps, change_order: 1, workflow_run_backend_id: planId, workflow_job_run_backend_id: id });
  }

  /** The log of the job's step in one piece, each line with its time, as the runner writes it. */
  async log(output, exit = 0) {
    const { planId, id, results, step } = this.job;
    const ids = { workflow_run_backend_id: planId, workflow_job_run_backend_id: id, step_backend_id: step };
    const { status, json } = await this.ofJob(`${results}${RESULTS}/GetStepLogsSignedBlobURL`, ids);
    if (status !== 200) return { status };
    const at = new Date().toISOString().replace('Z', '0000Z');
    const end = output === '' || output.endsWith('\n') || exit === 0 ? '' : '\n';
    const text = output.replace(/^(?!$)/gm, `${at} `) + end + (exit === 0 ? '' : `${at} ##[error]Process completed with exit code ${exit}.\n`);
    const put = await this.send({ method: 'PUT', url: json.logs_url, headers: { 'x-ms-blob-type': 'BlockBlob' }, body: text });
    if (put.status !== 201) return { status: put.status };
    return this.ofJob(`${results}${RESULTS}/CreateStepLogsMetadata`, { ...ids, uploaded_at: at, line_count: text.split('\n').length - 1 });
  }

  complete(conclusion) {
    const { planId, id, run } = this.job;
    return this.ofJob(`${run}completejob`, { planId, jobId: id, conclusion, outputs: {}, stepResults: [], annotations: [], telemetry: [] });
  }

  close() {
    return this.call('DELETE', `${this.broker}session`);
  }
}

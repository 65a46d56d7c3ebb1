/* What a runner gets: the messages of its poll, and the job that it acquires. A job has one step, a shell script. */

let serial = 0;

/** A message as the broker sends it; its body is JSON within JSON. */
export function messageBody({ type, job, requestId, body }, base) {
  serial += 1;
  const inner = job ? {
    id: String(job.id), runner_request_id: requestId, run_service_url: `${base}run/`, billing_owner_id: `O_${job.repository.owner.id}`, should_acknowledge: true,
  } : body ?? {};
  return { messageId: serial, messageType: type, body: JSON.stringify(inner) };
}

/** The typed form of context data: texts are bare, objects and lists say what they are. */
function typed(value) {
  if (Array.isArray(value)) return { t: 1, a: value.map(typed) };
  if (typeof value === 'boolean') return { t: 3, b: value };
  if (typeof value === 'number') return { t: 4, n: value };
  if (value === null || typeof value !== 'object') return value;
  return { t: 2, d: Object.entries(value).map(([k, v]) => ({ k, v: typed(v) })) };
}

const literal = (text) => ({ type: 0, file: 1, line: 1, col: 1, lit: text });

function githubContext(job, web) {
  const { repository } = job;
  return {
    event_name: 'push', server_url: web, api_url: 'https://api.github.com', graphql_url: 'https://api.github.com/graphql', workflow: 'CI',
    repository: repository.fullName, repository_owner: repository.owner.login, repository_id: String(repository.id), ref: 'refs/heads/main', ref_name: 'main',
    ref_type: 'branch', sha: job.headSha, run_id: String(job.runId), run_number: '1', run_attempt: String(job.runAttempt), actor: 'octocat',
    triggering_actor: 'octocat', job: job.name, event: {}, workspace: '', action: '', token: '',
  };
}

function variables(job, { results, token }) {
  const plain = {
    'system.github.results_endpoint': results, 'system.github.results_upload_with_sdk': 'false', 'system.runnerEnvironment': 'self-hosted',
    'system.github.job': job.name, 'system.runner.lowdiskspacethreshold': '100', 'actions_step_debug': 'false',
  };
  return {
    ...Object.fromEntries(Object.entries(plain).map(([name, value]) => [name, { value, isSecret: false }])),
    'system.github.token': { value: token, isSecret: true },
  };
}

export function jobMessage(job, { base, token, web }) {
  const { repository } = job;
  const results = `${base}results/`;
  return {
    messageType: 'RunnerJobRequest', jobId: job.backendId, jobDisplayName: job.name, jobName: job.name, requestId: 0,
    plan: { scopeIdentifier: job.planId, planId: job.planId, planType: 'actions', version: 0, planGroup: 'actions' },
    timeline: { id: job.planId, changeId: 0, location: null },
    lockedUntil: new Date(job.lockedUntil).toISOString(), billingOwnerId: `O_${repository.owner.id}`,
    resources: {
      endpoints: [{
        name: 'SystemVssConnection', url: `${base}run/`, authorization: { scheme: 'OAuth', parameters: { AccessToken: token } },
        data: { ResultsServiceUrl: results, PipelinesServiceUrl: `${base}run/` }, isShared: false, isReady: true,
      }],
    },
    variables: variables(job, { results, token }), mask: [], environmentVariables: [], defaults: [], fileTable: ['.github/workflows/ci.yml'],
    contextData: {
      github: typed(githubContext(job, web)), matrix: null, needs: typed({}), vars: typed({}), inputs: typed({}),
      strategy: typed({ 'fail-fast': true, 'job-index': 0, 'job-total': 1, 'max-parallel': 1 }),
    },
    steps: [{
      type: 'action', id: job.stepId, name: '__run', contextName: '__run', condition: 'success()', reference: { type: 'script' },
      displayNameToken: literal('Run command'), inputs: { type: 2, map: [{ Key: literal('script'), Value: literal(job.command) }] },
    }],
  };
}

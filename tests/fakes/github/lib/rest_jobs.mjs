/* Jobs and runs as the REST API tells of them. */
import { ApiError, notFound, paginate } from './http.mjs';
import { isoTime, nodeId } from './ids.mjs';
import { ownerObject, repositoryObject, snapshot, workflowJob } from './payloads.mjs';
import { idOf, repositoryOf } from './lookups.mjs';

const RUN_STATUSES = new Set([
  'completed', 'action_required', 'cancelled', 'failure', 'neutral', 'skipped', 'stale', 'success', 'timed_out',
  'in_progress', 'queued', 'requested', 'waiting', 'pending',
]);

const SEARCHED_MAX = 1000;

function jobObject(job) {
  return workflowJob(job, snapshot(job), 'completed');
}

/** A run is as far as its least finished job. */
function runState(run) {
  const has = (status) => run.jobs.some((job) => job.status === status);
  if (has('in_progress')) return { status: 'in_progress', conclusion: null };
  if (has('queued')) return { status: run.jobs.some((job) => job.status === 'completed') ? 'in_progress' : 'queued', conclusion: null };
  if (has('waiting')) return { status: 'waiting', conclusion: null };
  const all = new Set(run.jobs.map((job) => job.conclusion));
  const conclusion = ['failure', 'cancelled'].find((candidate) => all.has(candidate)) ?? 'success';
  return { status: 'completed', conclusion };
}

function runObject(run, { apiBase }) {
  const { repository } = run;
  const url = `${apiBase}/repos/${repository.fullName}/actions/runs/${run.id}`;
  const actor = ownerObject(repository.owner);
  const [job] = run.jobs;
  const shortRepository = repositoryObject(repository);
  return {
    id: run.id, name: 'CI', node_id: nodeId('WFR', run.id), head_branch: 'main', head_sha: job.headSha,
    path: '.github/workflows/ci.yml', display_title: 'CI', run_number: 1, event: 'push', ...runState(run), workflow_id: 1,
    url, html_url: `https://github.com/${repository.fullName}/actions/runs/${run.id}`, pull_requests: [],
    created_at: isoTime(run.createdAt), updated_at: isoTime(run.createdAt), actor, triggering_actor: actor,
    run_attempt: job.runAttempt, run_started_at: isoTime(run.createdAt), jobs_url: `${url}/jobs`, logs_url: `${url}/logs`,
    check_suite_url: `${apiBase}/repos/${repository.fullName}/check-suites/${run.id}`, artifacts_url: `${url}/artifacts`,
    cancel_url: `${url}/cancel`, rerun_url: `${url}/rerun`, previous_attempt_url: null,
    workflow_url: `${apiBase}/repos/${repository.fullName}/actions/workflows/1`,
    head_commit: {
      id: job.headSha, tree_id: job.headSha, message: 'A commit', timestamp: isoTime(run.createdAt),
      author: { name: 'Mona', email: 'mona@example.com' }, committer: { name: 'Mona', email: 'mona@example.com' },
    },
    repository: shortRepository, head_repository: shortRepository,
  };
}

function getJob(context) {
  const job = context.rest.fleet.jobs.get(idOf(context.params.job_id));
  if (!job || job.repository !== repositoryOf(context)) throw notFound();
  return { status: 200, body: jobObject(job) };
}

/** Of the syntax of search only `<=TIME` and `>=TIME`. */
function createdFilter(text) {
  if (text === null) return () => true;
  const [, sign, time] = /^(<=|>=)(.+)$/.exec(text) ?? [];
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw new ApiError(422, 'Validation Failed');
  const seconds = (at) => Math.floor(at / 1000) * 1000;
  return sign === '<=' ? (run) => seconds(run.createdAt) <= ms : (run) => seconds(run.createdAt) >= ms;
}

/** A search with parameters returns at most a thousand runs. */
function listRuns(context) {
  const repository = repositoryOf(context);
  const wanted = context.query.get('status');
  if (wanted !== null && !RUN_STATUSES.has(wanted)) throw new ApiError(422, 'Validation Failed');
  const created = createdFilter(context.query.get('created'));
  const all = [...context.rest.fleet.runs.values()].filter((run) => {
    if (run.repository !== repository || !created(run)) return false;
    const { status, conclusion } = runState(run);
    return wanted === null || wanted === status || wanted === conclusion;
  }).reverse();
  const searches = wanted !== null || context.query.has('created');
  const { items, headers } = paginate(context, searches ? all.slice(0, SEARCHED_MAX) : all);
  return { status: 200, headers, body: { total_count: all.length, workflow_runs: items.map((run) => runObject(run, context)) } };
}

function getRun(context) {
  const run = context.rest.fleet.runs.get(idOf(context.params.run_id));
  if (!run || run.repository !== repositoryOf(context)) throw notFound();
  return { status: 200, body: runObject(run, context) };
}

function listRunJobs(context) {
  const run = context.rest.fleet.runs.get(idOf(context.params.run_id));
  if (!run || run.repository !== repositoryOf(context)) throw notFound();
  const filter = context.query.get('filter') ?? 'latest';
  if (!['latest', 'all'].includes(filter)) throw new ApiError(422, 'Validation Failed');
  const attempt = Math.max(...run.jobs.map((job) => job.runAttempt));
  const jobs = filter === 'all' ? run.jobs : run.jobs.filter((job) => job.runAttempt === attempt);
  const { items, headers } = paginate(context, jobs);
  return { status: 200, headers, body: { total_count: jobs.length, jobs: items.map(jobObject) } };
}

/** Every job of the last attempt that is not over; 202 before they are, as GitHub's. */
function cancelRun(context) {
  const { fleet } = context.rest;
  const run = fleet.runs.get(idOf(context.params.run_id));
  if (!run || run.repository !== repositoryOf(context)) throw notFound();
  const alive = run.jobs.filter((job) => job.status !== 'completed');
  if (alive.length === 0) throw new ApiError(409, 'Cannot cancel a workflow run that is completed.');
  fleet.log.write('run_cancelled', { run: run.id, jobs: alive.map((job) => job.id) });
  for (const job of alive) fleet.cancel(job);
  return { status: 202, body: {} };
}

function checkRunObject(check, { apiBase }) {
  const url = `${apiBase}/repos/${check.repository.fullName}/check-runs/${check.id}`;
  const { title, summary } = check.output ?? {};
  return {
    id: check.id, node_id: nodeId('CR', check.id), head_sha: check.head_sha, external_id: check.external_id ?? '', url,
    html_url: `https://github.com/${check.repository.fullName}/runs/${check.id}`, details_url: check.details_url ?? null,
    status: check.status, conclusion: check.conclusion ?? null, started_at: isoTime(check.at), completed_at: check.status === 'completed' ? isoTime(check.at) : null,
    output: { title: title ?? null, summary: summary ?? null, text: null, annotations_count: 0, annotations_url: `${url}/annotations` },
    name: check.name, check_suite: { id: 1 }, app: null, pull_requests: [],
  };
}

/** An App's alone; the newest of a name and commit is the one that GitHub's pages show. */
function createCheckRun(context) {
  const { rest, body, auth } = context;
  const repository = repositoryOf(context);
  if (auth.kind !== 'installation') throw new ApiError(403, 'You must authenticate via a GitHub App.');
  if (![...rest.fleet.jobs.values()].some((job) => job.repository === repository && job.headSha === body.head_sha)) {
    throw new ApiError(422, 'No commit found for SHA: ' + body.head_sha);
  }
  const check = { ...body, id: rest.fleet.checks.length + 1, repository, at: Date.now() };
  rest.fleet.checks.push(check);
  rest.fleet.log.write('check_run_created', { check: check.id, name: check.name, external_id: check.external_id, conclusion: check.conclusion });
  rest.fleet.emit('change');
  return { status: 201, body: checkRunObject(check, context) };
}

export function addJobRoutes(router) {
  const base = '/repos/{owner}/{repo}/actions';
  const add = (path, operation, operationId, handle) => router.add('GET', base + path, {
    operation, operationId, permission: ['actions', 'read'], handle,
  });
  add('/jobs/{job_id}', 'get-job', 'actions/get-job-for-workflow-run', getJob);
  add('/runs', 'list-runs', 'actions/list-workflow-runs-for-repo', listRuns);
  add('/runs/{run_id}', 'get-run', 'actions/get-workflow-run', getRun);
  add('/runs/{run_id}/jobs', 'list-run-jobs', 'actions/list-jobs-for-workflow-run', listRunJobs);
  router.add('POST', `${base}/runs/{run_id}/cancel`, {
    operation: 'cancel-run', operationId: 'actions/cancel-workflow-run', permission: ['actions', 'write'], handle: cancelRun,
  });
  router.add('POST', '/repos/{owner}/{repo}/check-runs', {
    operation: 'create-check-run', operationId: 'checks/create', permission: ['checks', 'write'], handle: createCheckRun,
  });
}

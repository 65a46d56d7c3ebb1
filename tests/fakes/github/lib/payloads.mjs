/*
 * Webhook bodies and REST objects, built from GitHub's published examples (@octokit/webhooks-examples): the
 * newest workflow_job example of each action is the template, and ids, names, labels, times and addresses are
 * filled in. What never changes for a repository is serialised once.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { isoTime, nodeId, stableId } from './ids.mjs';

const API = 'https://api.github.com';
const WEB = 'https://github.com';

/** What is made of examples names GitHub's pages; another base URL replaces it in the finished text. */
export const withWebUrl = (json, url) => (url === WEB ? json : json.replaceAll(`${WEB}/`, `${url}/`));

function loadExamples() {
  const file = createRequire(import.meta.url).resolve('@octokit/webhooks-examples/api.github.com/index.json');
  const all = JSON.parse(fs.readFileSync(file, 'utf8'));
  return (name) => all.find((entry) => entry.name === name).examples;
}

/** The example of an action with the most members: older recordings lack some that GitHub sends today. */
function richest(examples, accepts) {
  const size = (example) => Object.keys(example.workflow_job).length;
  return examples.filter(accepts).reduce((best, example) => (best && size(best) >= size(example) ? best : example), null);
}

const examples = loadExamples();
const jobExamples = examples('workflow_job');
const byAction = Object.fromEntries(['queued', 'waiting', 'in_progress', 'completed'].map((action) => [
  action, richest(jobExamples, (e) => e.action === action && (action !== 'queued' || e.workflow_job.status === 'queued')),
]));
const withOrganization = jobExamples.find((e) => e.organization);
const withDeployment = jobExamples.find((e) => e.deployment);
const orgPing = examples('ping').find((e) => e.organization);

/** Rewrites every text of an example: addresses and names of its repository become ours. */
function renamed(value, pairs) {
  let text = JSON.stringify(value);
  for (const [from, to] of pairs) text = text.replaceAll(from, to);
  return JSON.parse(text);
}

export function ownerObject(owner) {
  const example = withOrganization.repository.owner;
  return {
    ...renamed(example, [[`/${example.login}`, `/${owner.login}`]]),
    login: owner.login, id: owner.id, node_id: nodeId('O', owner.id), type: 'Organization', site_admin: false,
    avatar_url: `https://avatars.githubusercontent.com/u/${owner.id}?v=4`,
  };
}

function senderObject() {
  const example = byAction.queued.sender;
  const sender = renamed(example, [[`/${example.login}`, '/octocat']]);
  return { ...sender, login: 'octocat', id: stableId('octocat'), node_id: nodeId('U', stableId('octocat')), type: 'User' };
}

export function organizationObject(owner) {
  const example = withOrganization.organization;
  return {
    ...renamed(example, [[`/${example.login}`, `/${owner.login}`]]),
    login: owner.login, id: owner.id, node_id: nodeId('O', owner.id), description: example.description ?? '',
    avatar_url: `https://avatars.githubusercontent.com/u/${owner.id}?v=4`,
  };
}

export function repositoryObject(repository) {
  const example = byAction.waiting.repository;
  return {
    ...renamed(example, [[example.full_name, repository.fullName], [`/${example.owner.login}`, `/${repository.owner.login}`]]),
    id: repository.id, node_id: nodeId('R', repository.id), name: repository.name, full_name: repository.fullName,
    private: repository.private, visibility: repository.private ? 'private' : 'public',
    owner: ownerObject(repository.owner), created_at: isoTime(repository.createdAt),
    updated_at: isoTime(repository.createdAt), pushed_at: isoTime(repository.createdAt),
  };
}

function deploymentObject(job) {
  const example = withDeployment.deployment;
  const base = withDeployment.repository.full_name;
  return {
    ...renamed(example, [[base, job.repository.fullName]]), id: stableId(`deployment ${job.id}`), sha: job.headSha,
    environment: job.environment, original_environment: job.environment, creator: senderObject(),
  };
}

/** What of a job goes into bodies and answers, taken at one moment: a delivery tells the past. */
export function snapshot(job) {
  const { runner } = job;
  const known = runner && job.status !== 'queued' && job.status !== 'waiting';
  return {
    id: job.id, run_id: job.runId, status: job.status, conclusion: job.conclusion,
    created_at: isoTime(job.createdAt), started_at: isoTime(job.startedAt ?? job.createdAt),
    completed_at: job.completedAt ? isoTime(job.completedAt) : null, steps: steps(job, known),
    runner_id: known ? runner.id : null, runner_name: known ? runner.name : null,
    runner_group_id: known ? runner.group.id : null, runner_group_name: known ? runner.group.name : null,
  };
}

function steps(job, known) {
  if (!known) return [];
  const at = (ms) => (ms ? new Date(ms).toISOString() : null);
  const done = job.status === 'completed';
  const step = (name, number, status, conclusion) => ({
    name, status, conclusion, number, started_at: at(job.startedAt), completed_at: at(conclusion && (job.completedAt ?? job.startedAt)),
  });
  if (!done) return [step('Set up job', 1, 'in_progress', null)];
  return [
    step('Set up job', 1, 'completed', 'success'),
    step('Run command', 2, 'completed', job.conclusion),
    step('Complete job', 3, 'completed', 'success'),
  ];
}

/** The workflow_job object of a delivery; `view` is a snapshot. Members stand in the order of the example. */
export function workflowJob(job, view, action = 'completed') {
  const repo = `${API}/repos/${job.repository.fullName}`;
  return {
    ...byAction[action].workflow_job,
    ...view,
    run_url: `${repo}/actions/runs/${job.runId}`, run_attempt: job.runAttempt, node_id: nodeId('CR', job.id),
    head_sha: job.headSha, head_branch: 'main', url: `${repo}/actions/jobs/${job.id}`,
    html_url: `${WEB}/${job.repository.fullName}/actions/runs/${job.runId}/job/${job.id}`,
    name: job.name, check_run_url: `${repo}/check-runs/${job.id}`, labels: job.labels, workflow_name: 'CI',
  };
}

/** The tail of every body about a repository: the same bytes each time, so they are made once. */
function tail(repository, fromApp) {
  repository.template ??= {};
  const key = fromApp ? 'app' : 'hook';
  repository.template[key] ??= ',' + JSON.stringify({
    repository: repositoryObject(repository),
    organization: organizationObject(repository.owner),
    sender: senderObject(),
    ...(fromApp ? { installation: installationReference(repository.owner) } : {}),
  }).slice(1);
  return repository.template[key];
}

export function installationReference(owner) {
  return { id: owner.installationId, node_id: Buffer.from(`23:IntegrationInstallation${owner.installationId}`).toString('base64') };
}

export function workflowJobBody(action, job, view, fromApp) {
  const head = { action, workflow_job: workflowJob(job, view, action) };
  if (job.environment) head.deployment = deploymentObject(job);
  return JSON.stringify(head).slice(0, -1) + tail(job.repository, fromApp);
}

export function pingBody(hook, owner) {
  const target = hook.type === 'app' ? {} : { organization: organizationObject(owner) };
  return JSON.stringify({
    zen: orgPing.zen,
    hook_id: hook.id,
    hook: {
      ...orgPing.hook, id: hook.id, type: { app: 'App', organization: 'Organization', repository: 'Repository' }[hook.type],
      events: hook.events, active: hook.active,
      config: { content_type: hook.contentType, insecure_ssl: hook.insecureSsl, url: hook.url, ...(hook.secret ? { secret: '********' } : {}) },
      ...(hook.type === 'app' ? { app_id: hook.targetId } : {}),
    },
    ...target,
    sender: senderObject(),
  });
}

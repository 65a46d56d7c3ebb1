/*
 * The run service: a runner acquires the job that its message names, keeps it, completes it. The protocol has no exit
 * status; it is read from the log, where a runner writes "Process completed with exit code N.".
 */
import { lowerKeys, runError } from './errors.mjs';
import { jobMessage } from './job_message.mjs';
import { logText } from './results.mjs';

const OUTPUT_LIMIT = 1 << 20;
const CONCLUSIONS = { succeeded: 'success', succeededwithissues: 'success', canceled: 'cancelled' };
const TIMESTAMP = /^\uFEFF?\d{4}-\d\d-\d\dT[\d:.]+Z /;
const EXIT = /^##\[error\]Process completed with exit code (\d+)\./m;

export function acquireJob({ fleet, runner, body, base, tokens, config }) {
  const { jobmessageid: requestId } = lowerKeys(body);
  if (typeof requestId !== 'string' || requestId === '') return runError(422, 'jobMessageId is required');
  const { job, refused } = fleet.acquire(runner, requestId);
  if (refused === 'canceled') return runError(404, 'job was canceled');
  if (refused) return runError(409, 'job assignment is invalid: MissingKey');
  return { status: 200, body: jobMessage(job, { base, token: tokens.issue('job', `${job.id}:${requestId}`, 24 * 3600), web: config.web_url }) };
}

const namesAnother = (job, body) => {
  const { planid: plan, jobid: id } = lowerKeys(body);
  return plan !== job.planId || id !== job.backendId;
};

export function renewJob({ fleet, job, body }) {
  if (job.status !== 'in_progress' || namesAnother(job, body)) return runError(404, 'job not found');
  return { status: 200, body: { lockedUntil: new Date(fleet.renew(job)).toISOString() } };
}

/** What the step printed: without the runner's times and remarks. */
function outputOf(log) {
  const lines = log.split('\n').map((line) => line.replace(TIMESTAMP, ''));
  return { exit: EXIT.exec(lines.join('\n'))?.[1], output: lines.filter((line) => !line.startsWith('##[')).join('\n').slice(-OUTPUT_LIMIT) };
}

/** Said again by the same runner, since an answer may be lost, it changes nothing. */
export function completeJob({ fleet, job, body }) {
  if (namesAnother(job, body)) return runError(404, 'job not found');
  const conclusion = CONCLUSIONS[String(lowerKeys(body).conclusion).toLowerCase()] ?? 'failure';
  if (job.completedBy === job.requestId) return { status: 200, body: {} };
  if (job.status !== 'in_progress') return runError(404, 'job not found');
  const { exit, output } = outputOf(logText(job, job.stepId) ?? logText(job, 'job') ?? '');
  const usual = { success: 0, failure: 1, cancelled: null }[conclusion];
  job.completedBy = job.requestId;
  fleet.finish(job, conclusion, { exit: exit === undefined ? usual : Number(exit), output });
  return { status: 200, body: {} };
}

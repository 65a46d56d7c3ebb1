/*
 * The results service: what a runner says of its steps, and logs, which it puts to signed URLs of a blob store. A log is one
 * block, or appended piece by piece until it is sealed.
 */
import { lowerKeys, runError } from './errors.mjs';

const SOFT_LIMIT = 1 << 20;
const BLOB_LIMIT = 8 << 20;
const URL_LIFETIME_S = 3600;

export function updateSteps({ job, body }) {
  const { steps = [] } = lowerKeys(body);
  for (const step of steps) {
    const { external_id: id, number, name, status, conclusion, started_at: startedAt, completed_at: completedAt } = step;
    const known = job.steps.find((one) => one.id === id);
    const now = { id, number, name, status, conclusion, startedAt, completedAt };
    if (known) Object.assign(known, now, { startedAt: startedAt ?? known.startedAt });
    else job.steps.push(now);
  }
  return { status: 200, body: { ok: true } };
}

/** `member` is how the answer calls the URL; the log of a step goes by the step's id, others by their kind. */
const signedUrl = (member, kind) => ({ job, body, base, tokens }) => {
  const { workflow_job_run_backend_id: id, step_backend_id: step } = lowerKeys(body);
  if (id !== job.backendId) return runError(404, 'job not found');
  const name = kind === 'step' ? step : `${kind}${step ? `-${step}` : ''}`;
  const signature = tokens.issue('blob', `${job.id}:${name}`, URL_LIFETIME_S);
  return {
    status: 200,
    body: { [member]: `${base}blobs/${job.id}/${encodeURIComponent(name)}?sv=1&sig=${signature}`, blob_storage_type: 'BLOB_STORAGE_TYPE_AZURE', soft_size_limit: String(SOFT_LIMIT) },
  };
};

export const stepLogUrl = signedUrl('logs_url', 'step');
export const jobLogUrl = signedUrl('logs_url', 'job');
export const summaryUrl = signedUrl('summary_url', 'summary');
export const diagnosticsUrl = signedUrl('diag_logs_url', 'diagnostics');

export const metadata = () => ({ status: 200, body: { ok: true } });

const azureError = (status, code) => ({ status, text: `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code></Error>` });

/** A blob of a job: {chunks, size, kind, sealed}. */
export function putBlob({ fleet, params, query, request, raw, tokens }) {
  const job = fleet.jobs.get(Number(params.job));
  if (!job || tokens.read('blob', query.get('sig')) !== `${params.job}:${params.name}`) return azureError(403, 'AuthenticationFailed');
  const append = query.get('comp') === 'appendblock';
  const blob = job.logs.get(params.name);
  if (append && blob?.kind !== 'AppendBlob') return azureError(404, 'BlobNotFound');
  if (append && blob.sealed) return azureError(409, 'BlobIsSealed');
  if (!append && !['AppendBlob', 'BlockBlob'].includes(request.headers['x-ms-blob-type'])) return azureError(400, 'MissingRequiredHeader');
  if (raw.length + (append ? blob.size : 0) > BLOB_LIMIT) return azureError(413, 'RequestBodyTooLarge');
  if (append) {
    blob.chunks.push(raw);
    blob.size += raw.length;
    blob.sealed = request.headers['x-ms-blob-sealed']?.toLowerCase() === 'true';
  } else {
    job.logs.set(params.name, { chunks: [raw], size: raw.length, kind: request.headers['x-ms-blob-type'], sealed: false });
  }
  return { status: 201 };
}

export function logText(job, name) {
  const blob = job.logs.get(name);
  return blob ? Buffer.concat(blob.chunks).toString('utf8') : null;
}

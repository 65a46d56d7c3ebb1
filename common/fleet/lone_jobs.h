/*
 * Jobs that a peer refuses although it serves others. Whatever the refusal says, its reason must be
 * the job's own data then; without this rule it would wait without end.
 *
 * A refusal becomes the job's when the same one has met it LONE_ROUNDS times, and each time since
 * the last, other launches have worked where it was refused: in its runner group or repository and
 * with its class's labels there, or at its class's provider. In an outage nothing works, so nothing
 * becomes the job's. A peer that is flapping answers differently, or refuses others too: a different
 * failure begins anew, and others' failures must be outweighed three to one.
 *
 * Counted by each process; at most LONE_JOBS_MAX jobs. Any thread.
 */
#ifndef MAYFLY_FLEET_LONE_JOBS_H
#define MAYFLY_FLEET_LONE_JOBS_H

#include "common/fleet/verdict.h"

#define LONE_ROUNDS 3
#define LONE_JOBS_MAX 256

struct lone_jobs;

struct lone_jobs *lone_jobs_new(void);
void lone_jobs_free(struct lone_jobs *l);

/* A launch has shown that these of its subjects work. */
void lone_jobs_worked(struct lone_jobs *l, const struct subjects *s, unsigned subjects);
/* The launch of that job failed so. Returns whether it is the job's own trouble. */
bool lone_jobs_failed(struct lone_jobs *l, const struct subjects *s, const struct verdict *v,
                      int64_t job_id, const struct err *why);

#endif

/*
 * A job event: the content of one `workflow_job` delivery, on the lane "events".
 *
 * A plain value of bounded, terminated strings. The ingress builds it from a verified body
 * (common/github/webhook.h), and the worker decodes it. Encoded as record.h describes. Pure
 * functions, any thread.
 */
#ifndef MAYFLY_JOB_EVENT_H
#define MAYFLY_JOB_EVENT_H

#include "common/job/job.h"
#include "common/job/record.h"

#define JOB_LABELS_MAX 100

enum job_action {
    JOB_ACTION_QUEUED,
    JOB_ACTION_WAITING,
    JOB_ACTION_IN_PROGRESS,
    JOB_ACTION_COMPLETED
};

struct job_event {
    enum job_action action;
    struct job job;
    int64_t runner_id;               /* 0: none */
    int64_t received_ms;             /* when the ingress had verified it, wall clock */
    char delivery[DELIVERY_ID_SIZE]; /* X-GitHub-Delivery */
    char status[JOB_STATUS_SIZE];    /* workflow_job.status */
};

const char *job_action_name(enum job_action a);
MUST_CHECK bool job_action_parse(struct slice word, enum job_action *out);

void job_event_encode(const struct job_event *ev, int64_t format, struct buf *out);
/* As record_decode; *out untouched on failure. */
MUST_CHECK int job_event_decode(struct slice record, struct job_event *out, struct err *e);

/* Whether the job needs a runner now: queued, and not held back by an environment's protection. */
bool job_event_wants_runner(const struct job_event *ev);

/* Joins labels with commas. One that holds a comma stands in double quotes: it is not several. Where
 * not all fit, the last is JOB_LABELS_CUT, which no class has: a part would match other classes. */
#define JOB_LABELS_CUT "\xe2\x80\xa6"
void job_labels_join(const struct slice *labels, size_t n, char out[JOB_LABELS_SIZE]);
/* The reverse; the labels are slices of `joined`, with their quotes. Returns how many. */
size_t job_labels_split(const char *joined, struct slice out[JOB_LABELS_MAX]);

#endif

/*
 * Publishing: what a delivery or a launch request becomes on the queue.
 *
 * A job_message is made once, and put by job_publish, or by whoever batches puts (the ingress). It
 * is a plain value but for its body.
 */
#ifndef MAYFLY_JOB_PUBLISH_H
#define MAYFLY_JOB_PUBLISH_H

#include "common/job/lane.h"
#include "common/job/launch_request.h"
#include "common/queue/queue.h"

struct job_message {
    char lane[LAUNCH_LANE_SIZE];
    char key[24];                /* the job's id in decimal; "" without a job */
    char group[REPOSITORY_SIZE]; /* the repository; without a job the scope */
    struct buf body;
};

/* Each fills *out, which job_message_fini releases, with a record of that format. */
void job_message_of_event(const struct job_event *ev, int64_t format, struct job_message *out);
void job_message_of_launch(const struct launch_request *r, int64_t format, struct job_message *out);
/* What a delivery that webhook_parse has routed becomes: a launch request, or an event. */
void job_message_of_delivery(const struct job_event *ev, bool launch, int64_t format,
                             struct job_message *out);
void job_message_fini(struct job_message *m);

/* One put of it; borrows from *m. */
struct queue_item job_message_item(const struct job_message *m);
/* Durable on success, as queue_put. */
MUST_CHECK int job_publish(struct queue *q, const struct job_message *m, struct err *e);

#endif

/*
 * Publishing: turns a job event, a launch request or a recorded VM into a message for the queue.
 *
 * A job_message is put by job_publish, or in a batch by the ingress. It is a plain value except for
 * its body, which it owns.
 */
#ifndef MAYFLY_JOB_PUBLISH_H
#define MAYFLY_JOB_PUBLISH_H

#include "common/job/lane.h"
#include "common/job/launch_request.h"
#include "common/job/vm_recorded.h"
#include "common/queue/queue.h"

struct job_message {
    char lane[LAUNCH_LANE_SIZE];
    char key[24];                /* the job's id in decimal; "" without a job */
    char group[REPOSITORY_SIZE]; /* the repository; without a job the scope or the VM */
    struct buf body;
};

/* Each sets *out to a record of that format; release it with job_message_fini. */
void job_message_of_event(const struct job_event *ev, int64_t format, struct job_message *out);
void job_message_of_launch(const struct launch_request *r, int64_t format, struct job_message *out);
void job_message_of_vm_recorded(const struct vm_recorded *r, int64_t format,
                                struct job_message *out);
/* The message of a delivery routed by webhook_parse: a launch request if `launch`, else an event.
 * */
void job_message_of_delivery(const struct job_event *ev, bool launch, int64_t format,
                             struct job_message *out);
void job_message_fini(struct job_message *m);

/* The queue item for a put; borrows from *m. */
struct queue_item job_message_item(const struct job_message *m);
/* Durable on success, as queue_put. */
MUST_CHECK int job_publish(struct queue *q, const struct job_message *m, struct err *e);

#endif

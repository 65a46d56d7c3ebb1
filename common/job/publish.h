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
    char key[SLICE_INT64_SIZE];  /* the job's id in decimal; "" without a job */
    char group[REPOSITORY_SIZE]; /* the repository; without a job the scope or the VM */
    struct buf body;
};

/* Each sets *out to a record of that format; release it with job_message_fini. */
void job_message_of_event(const struct job_event *ev, int64_t format, struct job_message *out);
void job_message_of_launch(const struct launch_request *r, int64_t format, struct job_message *out);
void job_message_of_vm_recorded(const struct vm_recorded *r, int64_t format,
                                struct job_message *out);
void job_message_fini(struct job_message *m);

/* What one delivery puts on the queue, all of it in one put: the event, and before it, if the job
 * needs a runner, a launch request. The event lets the ledger know the job at once, however long the
 * request waits in its lane. */
#define JOB_DELIVERY_MESSAGES_MAX 2
struct job_messages {
    struct job_message list[JOB_DELIVERY_MESSAGES_MAX];
    size_t count;
};
/* The messages of a delivery routed by webhook_parse; `launch`: it was WEBHOOK_LAUNCH. Release them
 * with job_messages_fini. */
void job_messages_of_delivery(const struct job_event *ev, bool launch, int64_t format,
                              struct job_messages *out);
void job_messages_fini(struct job_messages *m);
/* Sets out[0..m->count) to the items for a put, and returns their number; they borrow from *m. */
size_t job_messages_items(const struct job_messages *m, struct queue_item *out);

/* The queue item for a put; borrows from *m. */
struct queue_item job_message_item(const struct job_message *m);
/* Durable on success, as queue_put. */
MUST_CHECK int job_publish(struct queue *q, const struct job_message *m, struct err *e);
MUST_CHECK int job_publish_all(struct queue *q, const struct job_messages *m, struct err *e);

#endif

/*
 * The intake: from verified deliveries to durable messages, many at a time.
 *
 * The event loops submit deliveries; a commit thread receives all that have gathered, up to a batch,
 * enqueues their messages with one durable call, and returns the results to the loops' mailboxes. The
 * busier, the larger the batch. One thread works while it keeps up with a queue that is near; the
 * others help when a whole batch waits, or when the queue takes long. Deliveries in flight are bounded: at the bound intake_reserve
 * returns false, and the caller answers 503. Without a spool, a delivery past its deadline is not
 * enqueued any more, and one whose enqueue fails returns as failed; with a spool, both go to the
 * spool. The intake enqueues nothing twice, and each delivery returns exactly once.
 *
 *     loop: reserve - submit --> waiting --batch--> enqueue --> mailbox --> loop: answer - release
 */
#ifndef MAYFLY_INGRESS_INTAKE_H
#define MAYFLY_INGRESS_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/job/publish.h"
#include "common/queue/queue.h"
#include "ingress/dedupe.h"
#include "ingress/mailbox.h"
#include "ingress/spool.h"

enum delivery_result {
    DELIVERY_QUEUED,  /* durable on the queue */
    DELIVERY_SPOOLED, /* durable in the spool */
    DELIVERY_FAILED,  /* the queue refused or failed, and there is no spool */
    DELIVERY_REFUSED, /* the spool had no space either */
    DELIVERY_LATE,    /* past its deadline, not enqueued; not with a spool */
};

/* One delivery in flight. The submitter sets the members before `result`; between submit and the
 * mailbox it belongs to the intake. */
struct delivery {
    struct delivery *next;
    struct mailbox *home;
    struct job_messages messages; /* owned by the submitter */
    char guid[DELIVERY_ID_SIZE];
    int64_t submitted_us;
    enum delivery_result result;
};

struct intake;

#define INTAKE_BATCH_MAX (QUEUE_BATCH_MAX / JOB_DELIVERY_MESSAGES_MAX)

struct intake_options {
    struct queue *queue;   /* borrowed; NULL with a spool, which has its own */
    struct spool *spool;   /* borrowed; NULL: none */
    struct dedupe *dedupe; /* borrowed */
    int64_t commit_threads;
    int64_t batch; /* 1..INTAKE_BATCH_MAX */
    int64_t max_in_flight;
    int64_t enqueue_timeout_ms;
};

MUST_CHECK int intake_start(const struct intake_options *o, struct intake **out, struct err *e);

/* Commits what was submitted, then stops the threads. NULL is fine. */
void intake_stop(struct intake *in);

/* Reserves a place for one delivery in flight; false when none is free. Any thread. */
MUST_CHECK bool intake_reserve(struct intake *in);
/* Releases a place, once the delivery is answered (or was never submitted). Any thread. */
void intake_release(struct intake *in);
int64_t intake_in_flight(const struct intake *in);
/* Whether the last commits failed, on the queue and in the spool (common/base/streak.h); then *e is
 * the last error. Any thread. */
bool intake_is_failing(struct intake *in, struct err *e);

/* From time to time: a thread helps where deliveries wait behind a commit that takes long. Any
 * thread. */
void intake_tick(struct intake *in);

/* Submits a list linked by `next`, each with a reserved place. Any thread. */
void intake_submit(struct intake *in, struct delivery *list);

#endif

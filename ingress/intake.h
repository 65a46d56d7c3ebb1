/*
 * The intake: from verified deliveries to durable messages, many at a time.
 *
 * The event loops hand deliveries over; committer threads each take whatever has gathered, up to a
 * batch, put it on the queue with one durable call, and send the answers back to the loops'
 * mailboxes. The busier, the larger the batch. What is in flight is bounded: intake_reserve says no
 * at the bound, and the caller answers 503. Without a spool, a delivery that waited past the
 * deadline is not put any more, and one whose put fails comes back as failed; with one, both go to
 * the spool. Nothing is queued twice by the intake, and a
 * delivery comes back exactly once.
 *
 *     loop: reserve ─ submit ──> waiting ──take──> put ──> mailbox ──> loop: answer ─ release
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
    DELIVERY_REFUSED, /* the spool had no room either */
    DELIVERY_LATE,    /* waited too long, never put; not with a spool */
};

/* One delivery on its way. The submitter fills what stands above `result`; between submit and the
 * mailbox it belongs to the intake. */
struct delivery {
    struct delivery *next;
    struct mailbox *home;
    struct job_message message; /* owned by the submitter */
    char guid[DELIVERY_ID_SIZE];
    int64_t submitted_us;
    enum delivery_result result;
};

struct intake;

struct intake_options {
    struct queue *queue;   /* borrowed; NULL with a spool, which has its own */
    struct spool *spool;   /* borrowed; NULL: none */
    struct dedupe *dedupe; /* borrowed */
    int64_t commit_threads;
    int64_t batch; /* 1..QUEUE_BATCH_MAX */
    int64_t max_in_flight;
    int64_t enqueue_timeout_ms;
};

MUST_CHECK int intake_start(const struct intake_options *o, struct intake **out, struct err *e);

/* Finishes what was submitted, then ends the threads. NULL is fine. */
void intake_stop(struct intake *in);

/* A place for one delivery in flight; false when all are taken. Any thread. */
MUST_CHECK bool intake_reserve(struct intake *in);
/* Gives a place back, once the delivery is answered (or was never submitted). Any thread. */
void intake_release(struct intake *in);
int64_t intake_in_flight(const struct intake *in);

/* Hands over a list linked by `next`, each with a reserved place. Any thread. */
void intake_submit(struct intake *in, struct delivery *list);

#endif

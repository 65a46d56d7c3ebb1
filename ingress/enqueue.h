/*
 * Enqueues with a deadline: a blocking queue_put that its caller may abandon.
 *
 * A put that has begun cannot be cancelled. So each one runs on a thread of this module, on a copy
 * of its messages; when its limits are reached the caller continues without it. An abandoned put may
 * still succeed. Its caller gets a ticket to ask later what became of it, so as not to put the same
 * messages twice. Meanwhile its thread accepts no other put, and every backend bounds its duration.
 *
 *     idle --put--> assigned --thread--> running --returned--> finished --read--> idle
 *                      `-deadline-> idle    `--deadline--> abandoned --returned--> idle
 *
 * enqueue_with_deadline is safe from any thread; it fails with the error of queue_put, or ERR_RETRY
 * when the deadline came first or no thread is free.
 */
#ifndef MAYFLY_INGRESS_ENQUEUE_H
#define MAYFLY_INGRESS_ENQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/queue/queue.h"

struct enqueue_pool;

/* When a put is abandoned, on the monotonic clock. */
struct enqueue_limits {
    int64_t deadline_us;
    /* From crowded_us on also as soon as is_crowded returns true: others wait for this put's caller.
     * NULL: never. Called with the pool's lock held. */
    int64_t crowded_us;
    bool (*is_crowded)(void *arg);
    void *arg;
};

/* What became of an abandoned put. */
enum enqueue_outcome {
    ENQUEUE_PENDING,   /* it has not returned */
    ENQUEUE_CONFIRMED, /* its messages are on the queue */
    ENQUEUE_UNKNOWN,   /* it failed, or the ticket is 0 or of another process: put them again */
};

/* count: concurrent puts, 1 to 64. */
MUST_CHECK int enqueue_pool_new(size_t count, struct enqueue_pool **out, struct err *e);

/* Waits for the abandoned puts. No enqueue_with_deadline may be running. NULL is fine. */
void enqueue_pool_free(struct enqueue_pool *p);

/* queue_put, abandoned at its limits. Borrows all. On failure *ticket is that of the abandoned put,
 * or 0 if none was left running. */
MUST_CHECK int enqueue_with_deadline(struct enqueue_pool *p, struct queue *q,
                                     const struct queue_item *items, size_t n,
                                     const struct enqueue_limits *limits, uint64_t *ticket,
                                     struct err *e);

/* A put that succeeds after it was abandoned is remembered until its thread puts again. */
enum enqueue_outcome enqueue_outcome(struct enqueue_pool *p, uint64_t ticket);

#endif

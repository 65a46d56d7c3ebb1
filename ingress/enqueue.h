/*
 * Enqueues with a deadline: a blocking queue_put that its caller may abandon.
 *
 * A put that has begun cannot be cancelled. So each one runs on a thread of this module, on a copy
 * of its messages; at its deadline the caller continues without it. An abandoned put may still
 * succeed: its messages are then on the queue as well as wherever the caller stored them, which is
 * harmless (at least once). Meanwhile its thread accepts no other put, and every backend bounds its
 * duration.
 *
 *     idle --put--> assigned --thread--> running --returned--> finished --read--> idle
 *                      `-deadline-> idle    `--deadline--> abandoned --returned--> idle
 *
 * enqueue_with_deadline is safe from any thread; it fails with the error of queue_put, or ERR_RETRY
 * when the deadline came first or no thread is free.
 */
#ifndef MAYFLY_INGRESS_ENQUEUE_H
#define MAYFLY_INGRESS_ENQUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/queue/queue.h"

struct enqueue_pool;

/* count: concurrent puts, 1 to 64. */
MUST_CHECK int enqueue_pool_new(size_t count, struct enqueue_pool **out, struct err *e);

/* Waits for the abandoned puts. No enqueue_with_deadline may be running. NULL is fine. */
void enqueue_pool_free(struct enqueue_pool *p);

/* queue_put, abandoned at deadline_us (monotonic clock). Borrows q and items. */
MUST_CHECK int enqueue_with_deadline(struct enqueue_pool *p, struct queue *q,
                                     const struct queue_item *items, size_t n, int64_t deadline_us,
                                     struct err *e);

#endif

/*
 * Puts with a deadline: a blocking queue_put that its caller may leave behind.
 *
 * A put that has begun cannot be called off. Each one therefore runs on a thread of this module, on
 * a copy of its messages; a caller whose time is over goes on without it. What was left behind may
 * still succeed: its messages are then on the queue as well as wherever the caller brought them,
 * which is harmless (at least once). While it lasts its thread takes no other put, and every
 * backend bounds it.
 *
 *     idle ──put──> given ──thread──> putting ──returned──> finished ──seen──> idle
 *                     └─deadline─> idle  └──deadline──> left ──returned──> idle
 *
 * putters_put is safe from any thread; it fails with what queue_put said, or ERR_RETRY when the
 * deadline came first or no thread is free.
 */
#ifndef MAYFLY_INGRESS_ENQUEUE_H
#define MAYFLY_INGRESS_ENQUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/queue/queue.h"

struct putters;

/* count: puts at one time, 1 to 64. */
MUST_CHECK int putters_new(size_t count, struct putters **out, struct err *e);

/* Waits for the puts that were left behind. No putters_put may be under way. NULL is fine. */
void putters_free(struct putters *p);

/* queue_put, given up at deadline_us on the monotonic clock. Borrows q and items. */
MUST_CHECK int putters_put(struct putters *p, struct queue *q, const struct queue_item *items,
                           size_t n, int64_t deadline_us, struct err *e);

#endif

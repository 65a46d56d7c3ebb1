/*
 * The content of the spool's file, and how one batch of it gets to the queue. For spool.c only.
 *
 * The file has one lane, so that the order of all deliveries is kept. Each message is an envelope,
 * "<lane>\n<group>\n<ticket>\n<body>", with the delivery's key. The ticket, in hexadecimal, is that
 * of the put that was handed over to the spool while it was stuck (enqueue.h), or 0: such a message is
 * not put again before its put has returned, nor if that succeeded. The file has one consumer, which receives
 * with a lease of a millisecond: no other process can use it, so a message that was received and
 * not yet deleted still belongs to the consumer, and after a crash or a failed put it is ready
 * again at once, in its old place.
 */
#ifndef MAYFLY_INGRESS_SPOOL_DRAIN_H
#define MAYFLY_INGRESS_SPOOL_DRAIN_H

#include "common/base/buf.h"
#include "common/queue/queue.h"
#include "ingress/enqueue.h"

#define SPOOL_LANE "spool"

void spool_wrap(const struct queue_item *item, uint64_t ticket, struct buf *out);

/* The number of messages in the file, without dead letters. */
MUST_CHECK int spool_count(struct queue *file, int64_t *out, struct err *e);
/* When the oldest was enqueued (wall clock); the current time if that is unknown. */
int64_t spool_oldest_ms(struct queue *file);

struct spool_moved {
    size_t received;
    size_t count;      /* moved to the queue, found there, or dead-lettered */
    int64_t oldest_ms; /* when the first received one was enqueued */
    int64_t put_us;    /* duration of the queue's response */
};

/* Moves up to max messages (1..QUEUE_BATCH_MAX), oldest first, up to the first one whose put in
 * `puts` has not returned; with an empty file it only pings the queue. *out is set on failure too. A
 * message that the queue permanently refuses, while it accepts others of the batch, is dead-lettered
 * in the file with the reason. */
MUST_CHECK int spool_move(struct queue *file, struct queue *to, struct enqueue_pool *puts,
                          size_t max, struct spool_moved *out, struct err *e);

#endif

/*
 * What lies in the spool's file, and how one batch of it gets to the queue. For spool.c alone.
 *
 * The file has one lane, so that the order of all deliveries is kept, and each message there is an
 * envelope: "<lane>\n<group>\n<body>", its key the delivery's own. The file has one consumer. It
 * takes with a lease of a millisecond, which nobody else can use: a message taken and not yet
 * deleted is still its own, and after a crash or a failed put it is ready again at once, at its old
 * place.
 */
#ifndef MAYFLY_INGRESS_SPOOL_DRAIN_H
#define MAYFLY_INGRESS_SPOOL_DRAIN_H

#include "common/base/buf.h"
#include "common/queue/queue.h"

#define SPOOL_LANE "spool"

void spool_wrap(const struct queue_item *item, struct buf *out);

/* How many messages the file holds, without the buried. */
MUST_CHECK int spool_count(struct queue *file, int64_t *out, struct err *e);
/* When the oldest came, by the wall clock; now if that cannot be told. */
int64_t spool_oldest_ms(struct queue *file);

struct spool_moved {
    size_t taken;
    size_t count;      /* gone from the file: on the queue, or buried */
    int64_t oldest_ms; /* of those taken: when the first came */
    int64_t put_us;    /* how long the queue took to answer */
};

/* Moves up to max messages (1..QUEUE_BATCH_MAX), oldest first; an empty file asks the queue whether
 * it is there. *out is filled on failure too. A message that the queue refuses for good, while it
 * takes others of the batch, is buried in the file with the reason. */
MUST_CHECK int spool_move(struct queue *file, struct queue *to, size_t max, struct spool_moved *out,
                          struct err *e);

#endif

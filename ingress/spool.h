/*
 * The spool: where deliveries wait, durable on local disk, while the queue is away or slow.
 *
 * It stands before the queue and owns both. In the state `direct` a batch is put on the queue; a
 * put that is refused, or takes longer than its deadline, opens the circuit: that batch and all
 * that come after it go to the spool's file (an embedded queue), behind what is there already, so
 * order holds. A drainer thread moves them on, oldest first and batch-wise, with full-jitter
 * back-off, and deletes them only once the queue has confirmed them (at least once). It closes the
 * circuit when the spool is empty and the queue has answered in time.
 *
 *     direct ──put refused or late──> spooling ──spool empty, queue in time──> direct
 *
 * What an earlier process left is drained first: with anything in the file it starts in `spooling`,
 * as it does when the queue cannot be opened yet. Bounds: at most max_messages; and nothing new
 * while the oldest is older than max_age_ms (what is old is still moved on, never dropped). Past
 * either, and when the disk is full, spool_commit fails with ERR_CAPACITY. One process a file,
 * which a lock sees to (spool_lock.h): two would pass the bounds and break the order.
 */
#ifndef MAYFLY_INGRESS_SPOOL_H
#define MAYFLY_INGRESS_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/queue/queue.h"

struct spool;

struct spool_options {
    const char *path;      /* of the spool's file; absolute */
    const char *queue_url; /* borrowed for the spool's life */
    int64_t max_messages;
    int64_t max_age_ms;
    int64_t batch;              /* moved on at a time, 1..QUEUE_BATCH_MAX */
    int64_t retry_ms;           /* the ceiling of the back-off */
    int64_t enqueue_timeout_ms; /* the queue is back only if it answers within it */
    int64_t commit_threads;     /* threads that call spool_commit */
    /* Once, when the queue is open: here or in the drainer's thread. NULL is fine. */
    void (*opened)(struct queue *q);
};

/* Opens the file, and the queue if it is there. A queue that is away (ERR_RETRY, ERR_THROTTLED,
 * ERR_CAPACITY) is opened by the drainer later; any other error of its is an error here.
 * ERR_CONFLICT: another has the file open. */
MUST_CHECK int spool_open(const struct spool_options *o, struct spool **out, struct err *e);

/* Ends the drainer after its present batch; what is left waits for the next process. No
 * spool_commit may be under way. NULL is fine. */
void spool_close(struct spool *s);

/* Makes a batch durable, on the queue until deadline_us (monotonic) or else in the spool; *spooled
 * says which. ERR_CAPACITY: not taken, no room. ERR_PERMANENT: a message that no queue takes, or a
 * queue that will never work. Any thread. */
MUST_CHECK int spool_commit(struct spool *s, const struct queue_item *items, size_t n,
                            int64_t deadline_us, bool *spooled, struct err *e);

struct spool_view {
    bool direct;
    int64_t messages;
    int64_t max_messages;
    int64_t oldest_age_ms; /* 0: none */
    bool over_age;
};
void spool_look(struct spool *s, struct spool_view *out);

#endif

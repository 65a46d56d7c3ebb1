/*
 * The spool: durable storage on local disk for deliveries while the queue is unavailable or slow.
 *
 * It wraps the queue and owns both. In state `direct` a batch is put on the queue; a put that
 * fails, or is stuck, switches to `spooling`: that batch and all later ones go to the
 * spool's file (an embedded queue), behind the earlier ones, so order is kept. A drainer thread
 * moves them to the queue, oldest first and in batches, with full-jitter backoff, and deletes them
 * only once the queue has confirmed them (at least once). It switches back when the spool is empty
 * and the queue responds in time.
 *
 *     direct --put failed or stuck--> spooling --spool empty, queue in time--> direct
 *
 * A put is stuck after after_ms, or already after a tenth of it while the caller is crowded. What was
 * handed over is not put a second time: the drainer waits for the stuck put to return and, if it
 * succeeded, only deletes its messages. (A put that failed may have succeeded all the same, and after
 * a restart nobody knows of it: at least once.)
 *
 * Deliveries of an earlier process are drained first: with a non-empty file it starts in
 * `spooling`, and also if the queue cannot be opened yet. Bounds: at most max_messages; and nothing
 * new while the oldest is older than max_age_ms (old ones are still moved, never dropped). Beyond
 * either, and on a full disk, spool_commit fails with ERR_CAPACITY. A lock allows one process per
 * file (spool_lock.h): two would exceed the bounds and break the order.
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
    const char *queue_url; /* borrowed until spool_close */
    int64_t max_messages;
    int64_t max_age_ms;
    int64_t batch;          /* moved at a time, 1..QUEUE_BATCH_MAX */
    int64_t retry_ms;       /* maximum of the backoff */
    int64_t after_ms;       /* a put is stuck then; the queue counts as available only if faster */
    int64_t commit_threads; /* threads that call spool_commit */
    /* Called once when the queue is open: by spool_open or by the drainer. NULL is fine. */
    void (*opened)(struct queue *q);
};

/* Opens the file, and the queue if it is available. An unavailable queue (ERR_RETRY, ERR_THROTTLED,
 * ERR_CAPACITY) is opened later by the drainer; its other errors are errors here. ERR_CONFLICT:
 * another process has the file open. */
MUST_CHECK int spool_open(const struct spool_options *o, struct spool **out, struct err *e);

/* Stops the drainer after its current batch; the rest waits for the next process. No spool_commit
 * may be running. NULL is fine. */
void spool_close(struct spool *s);

/* Whoever waits for a batch. */
struct spool_caller {
    int64_t deadline_us;           /* monotonic */
    bool (*is_crowded)(void *arg); /* others wait behind it; any thread. NULL: never */
    void *arg;
};

/* Makes a batch durable, on the queue unless that is stuck or the deadline passes, else in the spool;
 * *spooled says which. ERR_CAPACITY: no space, not stored. ERR_PERMANENT: a message that no queue
 * accepts, or a queue that will never work. Any thread. */
MUST_CHECK int spool_commit(struct spool *s, const struct queue_item *items, size_t n,
                            const struct spool_caller *caller, bool *spooled, struct err *e);

struct spool_view {
    bool direct;
    int64_t messages;
    int64_t max_messages;
    int64_t oldest_age_ms; /* 0: none */
    bool over_age;
};
void spool_read_state(struct spool *s, struct spool_view *out);

#endif

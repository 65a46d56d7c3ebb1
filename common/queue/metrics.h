/*
 * The queue's metrics: messages by lane, and calls.
 *
 * For the front (queue.c) alone. Lanes come from the configuration; the last of the
 * QUEUE_METRIC_LANES entries is lane="other", shared by all further lanes, so that the number of
 * metrics is bounded. Any thread.
 */
#ifndef MAYFLY_QUEUE_METRICS_H
#define MAYFLY_QUEUE_METRICS_H

#include <pthread.h>

#include "common/base/metrics.h"
#include "common/queue/queue.h"

#define QUEUE_METRIC_LANES 64

enum queue_count {
    QUEUE_COUNT_PUT,
    QUEUE_COUNT_RECEIVED,
    QUEUE_COUNT_ACK,
    QUEUE_COUNT_NACKED,
    QUEUE_COUNT_DEAD_LETTERED,
    QUEUE_COUNT_LEASE_LOST,
    QUEUE_COUNTS
};

enum queue_call {
    QUEUE_CALL_PUT,
    QUEUE_CALL_RECEIVE,
    QUEUE_CALL_EXTEND,
    QUEUE_CALL_ACK,
    QUEUE_CALL_NACK,
    QUEUE_CALL_DEAD_LETTER,
    QUEUE_CALLS
};

struct queue_lane_metrics {
    char lane[QUEUE_LANE_MAX + 1];
    struct metric *counts[QUEUE_COUNTS];
};

struct queue_metrics {
    pthread_mutex_t lock;
    struct queue_lane_metrics lanes[QUEUE_METRIC_LANES]; /* under lock */
    size_t lane_count;
    bool over_aws;
};

/* over_aws: see queue_ops. */
void queue_metrics_init(struct queue_metrics *m, bool over_aws);
void queue_metrics_fini(struct queue_metrics *m);

void queue_metrics_count(struct queue_metrics *m, const char *lane, enum queue_count what,
                         int64_t n);

/* Observes a call and how it ended (mayfly_call_seconds); returns rc. */
int queue_metrics_call(struct queue_metrics *m, enum queue_call call, int64_t began_us, int rc,
                       const struct err *e);

#endif

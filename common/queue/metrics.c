#include "common/queue/metrics.h"

#include <string.h>

#include "common/base/calls.h"

static const char *const counts[QUEUE_COUNTS] = {
    [QUEUE_COUNT_PUT] = "mayfly_queue_put_total",
    [QUEUE_COUNT_RECEIVED] = "mayfly_queue_received_total",
    [QUEUE_COUNT_ACK] = "mayfly_queue_acked_total",
    [QUEUE_COUNT_NACKED] = "mayfly_queue_nacked_total",
    [QUEUE_COUNT_DEAD_LETTERED] = "mayfly_queue_dead_lettered_total",
    [QUEUE_COUNT_LEASE_LOST] = "mayfly_queue_lease_lost_total",
};

static const char *const calls[QUEUE_CALLS] = {
    [QUEUE_CALL_PUT] = "put",       [QUEUE_CALL_RECEIVE] = "receive",
    [QUEUE_CALL_EXTEND] = "extend", [QUEUE_CALL_ACK] = "ack",
    [QUEUE_CALL_NACK] = "nack",     [QUEUE_CALL_DEAD_LETTER] = "dead_letter",
};

void queue_metrics_init(struct queue_metrics *m, bool over_aws)
{
    pthread_mutex_init(&m->lock, NULL);
    m->lane_count = 0;
    m->over_aws = over_aws;
}

void queue_metrics_fini(struct queue_metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

static struct queue_lane_metrics *add_lane_metrics(struct queue_metrics *m, const char *lane)
{
    struct queue_lane_metrics *l = &m->lanes[m->lane_count];
    *l = (struct queue_lane_metrics){.lane = ""};
    ASSERT(slice_to_cstr(slice_of(lane), l->lane, sizeof l->lane));
    m->lane_count++;
    return l;
}

static struct queue_lane_metrics *find_or_add_lane_metrics(struct queue_metrics *m,
                                                           const char *lane)
{
    for (size_t i = 0; i < m->lane_count; i++) {
        if (strcmp(m->lanes[i].lane, lane) == 0) {
            return &m->lanes[i];
        }
    }
    if (m->lane_count < QUEUE_METRIC_LANES - 1) {
        return add_lane_metrics(m, lane);
    }
    /* The last entry is shared by all further lanes. */
    return m->lane_count < QUEUE_METRIC_LANES ? add_lane_metrics(m, "other")
                                              : &m->lanes[QUEUE_METRIC_LANES - 1];
}

/* An ingress, or a reaper, only puts. One that receives shows from the start what has not happened yet. */
static void open_counters(struct queue_lane_metrics *l, bool puts)
{
    struct buf label;
    buf_init(&label, 256);
    metrics_label(&label, "lane", l->lane);
    for (size_t i = 0; i < QUEUE_COUNTS; i++) {
        if ((i == QUEUE_COUNT_PUT) == puts) {
            l->counts[i] = metrics_counter(counts[i], label.data);
        }
    }
    buf_fini(&label);
}

void queue_metrics_count(struct queue_metrics *m, const char *lane, enum queue_count what,
                         int64_t n)
{
    pthread_mutex_lock(&m->lock);
    struct queue_lane_metrics *l = find_or_add_lane_metrics(m, lane);
    if (l->counts[what] == NULL) {
        open_counters(l, what == QUEUE_COUNT_PUT);
    }
    struct metric *metric = l->counts[what];
    pthread_mutex_unlock(&m->lock);
    metric_add(metric, n);
}

int queue_metrics_call(struct queue_metrics *m, enum queue_call call, int64_t began_us, int rc,
                       const struct err *e)
{
    return m->over_aws ? rc : calls_ended("queue", calls[call], began_us, rc, e);
}

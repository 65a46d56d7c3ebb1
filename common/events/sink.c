#include "common/events/sink.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/log.h"
#include "common/base/thread.h"

#define RETRY_MS 1000
#define COMPLAIN_MS 60000 /* between two log lines about a sink that fails */

struct sink {
    const struct sink_ops *ops;
    void *state;
    struct threads thread;
    struct metric *written;
    struct metric *buffered;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    struct sink_record *ring; /* each with memory of its own, which begins at key.ptr */
    size_t size;
    size_t first;
    size_t count;
    int64_t stop_at_us; /* of cond_deadline_us; 0: not stopping */

    /* Of the thread: */
    bool complained;       /* since the last success */
    int64_t complained_ms; /* 0: never */
};

/* --- counting --- */
static struct metric *metric_of_sink(const struct sink_ops *ops, const char *reason)
{
    struct buf labels;
    buf_init(&labels, 128);
    metrics_label(&labels, "sink", ops->name);
    struct metric *m;
    if (reason != NULL) {
        metrics_label(&labels, "reason", reason);
        m = metrics_counter("mayfly_events_dropped_total", labels.data);
    } else {
        m = metrics_counter("mayfly_events_written_total", labels.data);
    }
    buf_fini(&labels);
    return m;
}

static struct metric *gauge_of_sink(const struct sink_ops *ops)
{
    struct buf labels;
    buf_init(&labels, 128);
    metrics_label(&labels, "sink", ops->name);
    struct metric *m = metrics_gauge("mayfly_events_buffered", labels.data);
    buf_fini(&labels);
    return m;
}

void sink_count_dropped(struct sink *s, const char *reason, int64_t n)
{
    metric_add(metric_of_sink(s->ops, reason), n);
}

/* --- the buffer --- */
static struct sink_record copy_record(struct slice key, struct slice json)
{
    char *memory = malloc(key.len + json.len + 1);
    ASSERT(memory != NULL);
    memcpy(memory, key.ptr, key.len);
    memcpy(memory + key.len, json.ptr, json.len);
    return (struct sink_record){{memory, key.len}, {memory + key.len, json.len}};
}

static void free_record(struct sink_record *r)
{
    /* The memory is this file's: the slice only views it as constant. */
    union {
        const char *view;
        void *memory;
    } owned = {.view = r->key.ptr};
    free(owned.memory);
    *r = (struct sink_record){{NULL, 0}, {NULL, 0}};
}

void sink_put(struct sink *s, struct slice key, struct slice json)
{
    struct sink_record r = copy_record(key, json);
    pthread_mutex_lock(&s->lock);
    bool full = s->count == s->size;
    if (!full) {
        s->ring[(s->first + s->count++) % s->size] = r;
        metric_set(s->buffered, (int64_t)s->count);
    }
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (full) {
        free_record(&r);
        sink_count_dropped(s, "buffer_full", 1);
    }
}

/* Waits for a record, the end, or SINK_IDLE_MS. Copies the first records' views, which stay in the
 * buffer. Returns how many. */
static size_t wait_for_records(struct sink *s, struct sink_record *out, int64_t *stop_at_us)
{
    int64_t until_us = cond_deadline_us(SINK_IDLE_MS);
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    while (s->count == 0 && s->stop_at_us == 0 &&
           cond_wait_until(&s->changed, &s->lock, until_us)) {
    }
    while (n < s->count && n < SINK_BATCH_MAX) {
        out[n] = s->ring[(s->first + n) % s->size];
        n++;
    }
    *stop_at_us = s->stop_at_us;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void remove_first(struct sink *s, size_t n)
{
    struct sink_record gone[SINK_BATCH_MAX];
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        gone[i] = s->ring[s->first];
        s->first = (s->first + 1) % s->size;
    }
    s->count -= n;
    metric_set(s->buffered, (int64_t)s->count);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        free_record(&gone[i]);
    }
}

/* --- the thread --- */
void sink_report_failure(struct sink *s, const struct err *e, const char *action)
{
    int64_t now_ms = clock_mono_ms();
    if (s->complained_ms == 0 || now_ms - s->complained_ms >= COMPLAIN_MS) {
        s->complained_ms = now_ms;
        s->complained = true;
        log_warn("events_write_failed", LOG_STR("sink", s->ops->name), LOG_ERR(e),
                 LOG_STR("action", action));
    }
}

static void report_success(struct sink *s)
{
    if (s->complained) {
        log_info("events_write_resumed", LOG_STR("sink", s->ops->name));
    }
    s->complained = false;
}

void sink_count_written(struct sink *s, int64_t n)
{
    metric_add(s->written, n);
    report_success(s);
}

/* New records do not shorten the wait; the end does. */
static void wait_before_retry(struct sink *s)
{
    int64_t until_us = cond_deadline_us(RETRY_MS);
    pthread_mutex_lock(&s->lock);
    while (s->stop_at_us == 0 && cond_wait_until(&s->changed, &s->lock, until_us)) {
    }
    pthread_mutex_unlock(&s->lock);
}

/* Returns whether all were written. */
static bool write_records(struct sink *s, const struct sink_record *records, size_t n)
{
    struct err e = {0};
    size_t done = s->ops->write(s->state, records, n, &e);
    if (done > 0) {
        remove_first(s, done);
        if (!s->ops->counts_itself) {
            metric_add(s->written, (int64_t)done);
        }
    }
    if (done < n) {
        sink_report_failure(s, &e, "retried every second; records beyond the buffer are dropped");
    } else if (!s->ops->counts_itself) {
        report_success(s);
    }
    return done == n;
}

static int64_t left_ms(int64_t stop_at_us)
{
    int64_t left = (stop_at_us - cond_deadline_us(0)) / 1000;
    return left > 0 ? left : 0;
}

static void end_sink(struct sink *s, int64_t stop_at_us)
{
    int64_t lost = s->ops->flush(s->state, left_ms(stop_at_us));
    pthread_mutex_lock(&s->lock);
    lost += (int64_t)s->count;
    pthread_mutex_unlock(&s->lock);
    if (lost > 0) {
        sink_count_dropped(s, "shutdown", lost);
        log_warn("events_dropped_at_exit", LOG_STR("sink", s->ops->name), LOG_INT("records", lost));
    }
}

static void *empty_until_stopped(void *arg)
{
    struct sink *s = arg;
    struct sink_record records[SINK_BATCH_MAX];
    int64_t stop_at_us = 0;
    for (;;) {
        size_t n = wait_for_records(s, records, &stop_at_us);
        if (stop_at_us != 0 && (n == 0 || left_ms(stop_at_us) == 0)) {
            break;
        }
        bool written = n == 0 || write_records(s, records, n);
        s->ops->idle(s->state);
        if (!written && stop_at_us != 0) {
            break;
        }
        if (!written) {
            wait_before_retry(s);
        }
    }
    end_sink(s, stop_at_us);
    return NULL;
}

/* --- opening --- */
static void free_sink(struct sink *s)
{
    if (s->state != NULL) {
        s->ops->close(s->state);
    }
    while (s->count > 0) {
        remove_first(s, 1);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}

int sink_open(const struct sink_ops *ops, const struct sink_target *target, struct sink **out,
              struct err *e)
{
    struct sink *s = calloc(1, sizeof *s);
    ASSERT(s != NULL && pthread_mutex_init(&s->lock, NULL) == 0);
    cond_init(&s->changed);
    s->ops = ops;
    s->size = (size_t)target->buffer;
    s->ring = calloc(s->size, sizeof *s->ring);
    ASSERT(s->ring != NULL);
    s->written = metric_of_sink(ops, NULL);
    s->buffered = gauge_of_sink(ops);
    sink_count_dropped(s, "buffer_full", 0);
    if (ops->open(target, s, &s->state, e) != 0 ||
        threads_start(&s->thread, 1, "the thread that writes events", empty_until_stopped, s, e) !=
            0) {
        free_sink(s);
        return -1;
    }
    *out = s;
    return 0;
}

void sink_close(struct sink *s, int64_t timeout_ms)
{
    if (s == NULL) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->stop_at_us = cond_deadline_us(timeout_ms);
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    threads_join(&s->thread);
    free_sink(s);
}

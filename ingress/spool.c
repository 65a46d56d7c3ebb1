#include "ingress/spool.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/base/wakeup.h"
#include "ingress/enqueue.h"
#include "ingress/spool_drain.h"
#include "ingress/spool_lock.h"
#include "ingress/stats.h"

/* A put is stuck after this share of after_ms already while the caller is crowded: a burst that a
 * healthy queue takes is not handed over. */
#define CROWDED_SHARE 10
#define RETRY_BASE_MS 100
/* The drainer's lease lasts 1 ms (spool_drain.c); two receives are at least this far apart. */
#define PAUSE_MIN_MS 10
#define IDLE_MS 60000
#define ENVELOPE_MAX_BYTES QUEUE_BODY_MAX_BYTES

struct spool {
    struct spool_options o;
    int lock_fd; /* -1: not held */
    struct queue *file;
    struct queue *queue; /* atomic: NULL until it could be opened */
    struct enqueue_pool *enqueue_pool;
    struct wakeup stop;
    pthread_t drainer;
    bool drainer_started; /* the thread runs; for the opening thread */
    pthread_mutex_t lock;
    bool direct;       /* under lock, as the rest */
    int64_t messages;  /* in the file, and being written */
    int64_t writing;   /* calls that are writing to the file */
    int64_t oldest_ms; /* wall clock of the oldest; 0 none */
};

static struct queue *queue_of(struct spool *s)
{
    return __atomic_load_n(&s->queue, __ATOMIC_ACQUIRE);
}

/* --- the state; under lock --- */
static void set_direct(struct spool *s, bool direct)
{
    if (s->direct != direct) {
        s->direct = direct;
        stats_spool_active(!direct);
    }
}

static int64_t oldest_age_ms(const struct spool *s)
{
    int64_t now = clock_wall_ms();
    return s->oldest_ms > 0 && now > s->oldest_ms ? now - s->oldest_ms : 0;
}

/* --- storing --- */

/* Reserves space for n in the file. From here on the drainer has work, whatever the state was. */
static int reserve_space(struct spool *s, size_t n, struct err *e)
{
    int result = 0;
    pthread_mutex_lock(&s->lock);
    set_direct(s, false);
    if (s->messages + (int64_t)n > s->o.max_messages) {
        result = err_set(e, ERR_CAPACITY, 0, "the spool is full: it holds %lld of %lld messages",
                         (long long)s->messages, (long long)s->o.max_messages);
    } else if (oldest_age_ms(s) > s->o.max_age_ms) {
        result =
            err_set(e, ERR_CAPACITY, 0,
                    "the spool accepts no more: its oldest message has waited for %lld s of %lld "
                    "allowed",
                    (long long)(oldest_age_ms(s) / 1000), (long long)(s->o.max_age_ms / 1000));
    } else {
        s->messages += (int64_t)n;
        s->writing++;
        s->oldest_ms = s->oldest_ms > 0 ? s->oldest_ms : clock_wall_ms();
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

static void finish_write(struct spool *s, size_t n, bool success)
{
    pthread_mutex_lock(&s->lock);
    s->writing--;
    if (!success) {
        s->messages -= (int64_t)n;
        s->oldest_ms = s->messages > 0 ? s->oldest_ms : 0;
    }
    pthread_mutex_unlock(&s->lock);
    wakeup_signal(&s->stop);
}

static int write_envelopes(struct spool *s, const struct queue_item *items, size_t n,
                           uint64_t ticket, struct err *e)
{
    struct buf *envelopes = calloc(n, sizeof *envelopes);
    struct queue_item *wrapped = calloc(n, sizeof *wrapped);
    ASSERT(envelopes != NULL && wrapped != NULL);
    for (size_t i = 0; i < n; i++) {
        buf_init(&envelopes[i], ENVELOPE_MAX_BYTES + 1024);
        spool_wrap(&items[i], ticket, &envelopes[i]);
        wrapped[i] = (struct queue_item){
            .lane = SPOOL_LANE, .body = buf_slice(&envelopes[i]), .key = items[i].key};
    }
    int result = queue_put(s->file, wrapped, n, e);
    for (size_t i = 0; i < n; i++) {
        buf_fini(&envelopes[i]);
    }
    free(envelopes);
    free(wrapped);
    return result;
}

/* ticket: of the put that was handed over, or 0. */
static int commit_to_spool(struct spool *s, const struct queue_item *items, size_t n,
                           uint64_t ticket, struct err *e)
{
    int result = reserve_space(s, n, e);
    if (result == 0) {
        result = write_envelopes(s, items, n, ticket, e);
        finish_write(s, n, result == 0);
        if (result != 0) {
            (void)err_wrap(e, "spool");
            /* Whatever the disk's error is, the peer must try again. */
            e->class = ERR_CAPACITY;
        }
    } else {
        wakeup_signal(&s->stop);
    }
    if (result == 0) {
        stats_spooled((int64_t)n);
    } else {
        stats_spool_refused((int64_t)n);
    }
    return result;
}

static struct enqueue_limits limits_of(const struct spool *s, const struct spool_caller *caller)
{
    int64_t now_us = clock_mono_us();
    int64_t stuck_us = now_us + s->o.after_ms * 1000;
    return (struct enqueue_limits){
        .deadline_us = stuck_us < caller->deadline_us ? stuck_us : caller->deadline_us,
        .crowded_us = now_us + s->o.after_ms * 1000 / CROWDED_SHARE,
        .is_crowded = caller->is_crowded,
        .arg = caller->arg,
    };
}

int spool_commit(struct spool *s, const struct queue_item *items, size_t n,
                 const struct spool_caller *caller, bool *spooled, struct err *e)
{
    struct err put = {0};
    uint64_t ticket = 0;
    pthread_mutex_lock(&s->lock);
    bool direct = s->direct;
    pthread_mutex_unlock(&s->lock);
    if (direct) {
        const struct enqueue_limits limits = limits_of(s, caller);
        if (enqueue_with_deadline(s->enqueue_pool, queue_of(s), items, n, &limits, &ticket, &put) ==
            0) {
            *spooled = false;
            return 0;
        }
        stats_enqueue_failed();
        if (put.class == ERR_PERMANENT) {
            *e = put;
            return -1;
        }
        log_warn("spool_opened", LOG_ERR(&put),
                 LOG_STR("action",
                         "deliveries go to the local spool until the queue is available again"));
    }
    if (commit_to_spool(s, items, n, ticket, e) != 0) {
        return -1;
    }
    *spooled = true;
    return 0;
}

/* --- draining --- */
static bool queue_is_open(struct spool *s, struct err *e)
{
    struct queue *q;
    if (s->queue != NULL) {
        return true;
    }
    if (queue_open(s->o.queue_url, &q, e) != 0) {
        return false;
    }
    if (s->o.opened != NULL) {
        s->o.opened(q);
    }
    __atomic_store_n(&s->queue, q, __ATOMIC_RELEASE);
    return true;
}

/* The file has nothing to receive: correct the count, unless a write is in progress. */
static int recount(struct spool *s, struct err *e)
{
    int64_t held = 0;
    pthread_mutex_lock(&s->lock);
    int result = s->writing == 0 ? spool_count(s->file, &held, e) : 0;
    if (result == 0 && s->writing == 0) {
        s->messages = held;
        s->oldest_ms = held > 0 ? s->oldest_ms : 0;
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* Switches to direct if nothing is left; returns whether it did. */
static bool close_circuit(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    bool empty = s->messages == 0;
    if (empty) {
        s->oldest_ms = 0;
        set_direct(s, true);
    }
    pthread_mutex_unlock(&s->lock);
    if (empty) {
        log_info("spool_drained", LOG_STR("action", "deliveries go to the queue again"));
    }
    return empty;
}

static bool is_direct(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    bool direct = s->direct;
    pthread_mutex_unlock(&s->lock);
    return direct;
}

/* Moves one batch, or checks an empty spool. */
static int drain_batch(struct spool *s, struct spool_moved *moved, struct err *e)
{
    *moved = (struct spool_moved){0};
    if (!queue_is_open(s, e)) {
        return -1;
    }
    int result = spool_move(s->file, queue_of(s), s->enqueue_pool, (size_t)s->o.batch, moved, e);
    pthread_mutex_lock(&s->lock);
    s->messages -= (int64_t)moved->count;
    s->oldest_ms = moved->received > 0 ? moved->oldest_ms : s->oldest_ms;
    pthread_mutex_unlock(&s->lock);
    if (result == 0 && moved->received == 0) {
        result = recount(s, e);
    }
    return result;
}

static void *drain_until_stopped(void *arg)
{
    struct spool *s = arg;
    int failures = 0;
    while (!wakeup_raised(&s->stop)) {
        struct err e = {0};
        struct spool_moved moved;
        uint64_t seen = wakeup_count(&s->stop);
        if (is_direct(s)) {
            (void)wakeup_wait(&s->stop, seen, IDLE_MS);
            continue;
        }
        int result = drain_batch(s, &moved, &e);
        if (result != 0) {
            failures++;
            log_warn("spool_retry", LOG_ERR(&e), LOG_INT("failures", failures),
                     LOG_STR("action", "the spool retries with exponential backoff"));
            (void)wakeup_sleep(&s->stop,
                               PAUSE_MIN_MS +
                                   backoff_full_jitter_ms(RETRY_BASE_MS, s->o.retry_ms, failures));
            continue;
        }
        failures = 0;
        bool in_time = moved.put_us <= s->o.after_ms * 1000;
        if (!in_time || !close_circuit(s)) {
            /* The next batch follows at once. If nothing was found, because a writer has not
             * committed yet or a lease is still active, or not all was moved, because a put that was
             * handed over has not returned, the drainer tries again soon. */
            bool all = moved.received > 0 && moved.count == moved.received;
            (void)wakeup_sleep(&s->stop, all ? 1 : PAUSE_MIN_MS);
        }
    }
    return NULL;
}

/* --- lifetime --- */
static int open_file(struct spool *s, struct err *e)
{
    char url[PATH_MAX + 16];
    int n = snprintf(url, sizeof url, "sqlite://%s", s->o.path);
    if (n < 0 || (size_t)n >= sizeof url) {
        return err_set(e, ERR_PERMANENT, 0, "the spool's path is too long");
    }
    if (spool_lock_acquire(s->o.path, &s->lock_fd, e) != 0) {
        return -1;
    }
    if (queue_open(url, &s->file, e) != 0 || spool_count(s->file, &s->messages, e) != 0) {
        return err_wrap(e, "spool");
    }
    s->oldest_ms = s->messages > 0 ? spool_oldest_ms(s->file) : 0;
    return 0;
}

static int try_open_queue(struct spool *s, struct err *e)
{
    struct err unavailable = {0};
    if (queue_is_open(s, &unavailable)) {
        return 0;
    }
    if (unavailable.class != ERR_RETRY && unavailable.class != ERR_THROTTLED &&
        unavailable.class != ERR_CAPACITY) {
        *e = unavailable;
        return -1;
    }
    log_warn(
        "queue_unavailable", LOG_ERR(&unavailable),
        LOG_STR("action", "deliveries go to the local spool until the queue is available again"));
    return 0;
}

int spool_open(const struct spool_options *o, struct spool **out, struct err *e)
{
    struct spool *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    ASSERT(o->batch >= 1 && o->batch <= QUEUE_BATCH_MAX);
    s->o = *o;
    s->lock_fd = -1;
    wakeup_init(&s->stop);
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    if (open_file(s, e) != 0 || try_open_queue(s, e) != 0 ||
        enqueue_pool_new((size_t)o->commit_threads, &s->enqueue_pool, e) != 0) {
        spool_close(s);
        return -1;
    }
    s->direct = s->queue != NULL && s->messages == 0;
    stats_spool_active(!s->direct);
    if (s->messages > 0) {
        log_info("spool_found", LOG_INT("messages", s->messages),
                 LOG_STR("action", "they are moved to the queue before new deliveries"));
    }
    if (thread_start(&s->drainer, "the spool drainer", drain_until_stopped, s, e) != 0) {
        spool_close(s);
        return -1;
    }
    s->drainer_started = true;
    *out = s;
    return 0;
}

void spool_close(struct spool *s)
{
    if (s == NULL) {
        return;
    }
    wakeup_raise(&s->stop);
    if (s->drainer_started) {
        pthread_join(s->drainer, NULL);
    }
    enqueue_pool_free(s->enqueue_pool);
    if (s->messages > 0) {
        log_warn("spool_not_drained", LOG_INT("messages", s->messages),
                 LOG_STR("action", "the next start moves them to the queue"));
    }
    queue_close(s->queue);
    queue_close(s->file);
    spool_lock_release(s->lock_fd);
    pthread_mutex_destroy(&s->lock);
    wakeup_fini(&s->stop);
    free(s);
}

void spool_read_state(struct spool *s, struct spool_view *out)
{
    pthread_mutex_lock(&s->lock);
    *out = (struct spool_view){.direct = s->direct,
                               .messages = s->messages,
                               .max_messages = s->o.max_messages,
                               .oldest_age_ms = oldest_age_ms(s),
                               .over_age = oldest_age_ms(s) > s->o.max_age_ms};
    pthread_mutex_unlock(&s->lock);
}

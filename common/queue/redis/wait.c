#include "common/queue/redis/wait.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/thread.h"
#include "common/queue/queue.h"

/* A waiter polls this often regardless of announcements: one may have been lost, and another
 * process's lease may have expired. */
#define POLL_MS 1000
#define POLL_UNSUBSCRIBED_MS 100 /* the same while the subscription is down */
#define SUBSCRIPTION_TIMEOUT_MS 60000

struct lane_state {
    char lane[QUEUE_LANE_MAX + 1];
    int64_t announced; /* announcements so far */
    int64_t emptied;   /* `announced` before the latest receive that emptied the lane */
    int64_t due;       /* monotonic ms when the next message is due; INT64_MAX unknown or never */
};

struct queue_redis_waiters {
    struct redis_subscription *subscription;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct lane_state *lanes; /* those that this process receives from; bounded by configuration */
    size_t lane_count;
    bool subscribed;
    bool listening; /* the thread was started */
    bool interrupted;
    pthread_t listener;
};

struct queue_redis_waiters *queue_redis_waiters_new(struct redis_store *store)
{
    struct queue_redis_waiters *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->subscription = redis_subscription_open(store, ":q:wake");
    ASSERT(pthread_mutex_init(&w->lock, NULL) == 0);
    cond_init(&w->changed);
    return w;
}

void queue_redis_waiters_free(struct queue_redis_waiters *w)
{
    if (w == NULL) {
        return;
    }
    redis_subscription_end(w->subscription);
    if (w->listening) {
        (void)pthread_join(w->listener, NULL);
    }
    redis_subscription_close(w->subscription);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w->lanes);
    free(w);
}

/* --- the state of a lane; under the lock --- */
static struct lane_state *find_lane(struct queue_redis_waiters *w, struct slice lane)
{
    for (size_t i = 0; i < w->lane_count; i++) {
        if (slice_eq_cstr(lane, w->lanes[i].lane)) {
            return &w->lanes[i];
        }
    }
    return NULL;
}

static struct lane_state *find_or_add_lane(struct queue_redis_waiters *w, const char *lane)
{
    struct lane_state *known = find_lane(w, slice_of(lane));
    if (known != NULL) {
        return known;
    }
    w->lanes = realloc(w->lanes, (w->lane_count + 1) * sizeof *w->lanes);
    ASSERT(w->lanes != NULL);
    known = &w->lanes[w->lane_count++];
    *known = (struct lane_state){.announced = 1, .due = INT64_MAX};
    ASSERT(slice_to_cstr(slice_of(lane), known->lane, sizeof known->lane));
    return known;
}

int64_t queue_redis_announced(struct queue_redis_waiters *w, const char *lane)
{
    pthread_mutex_lock(&w->lock);
    int64_t announced = find_or_add_lane(w, lane)->announced;
    pthread_mutex_unlock(&w->lock);
    return announced;
}

void queue_redis_emptied(struct queue_redis_waiters *w, const char *lane, int64_t announced,
                         int64_t due_in_ms)
{
    int64_t now = clock_mono_ms();
    int64_t due = due_in_ms < 0 || due_in_ms > INT64_MAX - now ? INT64_MAX : now + due_in_ms;
    pthread_mutex_lock(&w->lock);
    struct lane_state *n = find_or_add_lane(w, lane);
    n->emptied = announced > n->emptied ? announced : n->emptied;
    /* A message announced since then may be due earlier than what the receive saw. */
    n->due = n->announced == announced || due < n->due ? due : n->due;
    pthread_mutex_unlock(&w->lock);
}

/* --- listening --- */
static void apply_announcement(struct queue_redis_waiters *w, struct slice payload)
{
    struct slice lane;
    struct slice rest;
    struct slice left;
    struct slice right;
    int64_t ready;
    int64_t delay_ms;
    if (!slice_cut(payload, ' ', &lane, &rest) || !slice_cut(rest, ' ', &left, &right) ||
        !slice_to_int64(left, &ready) || !slice_to_int64(right, &delay_ms)) {
        return;
    }
    int64_t now = clock_mono_ms();
    struct lane_state *n = find_lane(w, lane);
    if (n == NULL) {
        return;
    }
    n->announced++;
    if (ready <= 0) {
        /* Nothing is ready yet: a lane that was empty still is. */
        n->emptied = n->emptied == n->announced - 1 ? n->announced : n->emptied;
    }
    if (delay_ms >= 0 && delay_ms < INT64_MAX - now && now + delay_ms < n->due) {
        n->due = now + delay_ms;
    }
}

static void apply_notification(struct queue_redis_waiters *w, enum redis_event note,
                               struct slice payload)
{
    pthread_mutex_lock(&w->lock);
    if (note == REDIS_EVENT_MESSAGE) {
        apply_announcement(w, payload);
    } else {
        w->subscribed = note == REDIS_EVENT_SUBSCRIBED;
        for (size_t i = 0; i < w->lane_count; i++) {
            w->lanes[i].announced++;
        }
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void *run_listener(void *arg)
{
    struct queue_redis_waiters *w = arg;
    for (;;) {
        struct slice payload;
        enum redis_event note =
            redis_subscription_next(w->subscription, SUBSCRIPTION_TIMEOUT_MS, &payload);
        if (note == REDIS_EVENT_ENDED) {
            return NULL;
        }
        if (note != REDIS_EVENT_TIMEOUT) {
            apply_notification(w, note, payload);
        }
    }
}

/* --- waiting --- */
void queue_redis_wait(struct queue_redis_waiters *w, const char *lane, int64_t timeout_ms)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&w->lock);
    if (!w->listening && !w->interrupted) {
        /* Without the thread a waiter polls more often, and the next wait tries again. */
        struct err e;
        w->listening =
            thread_start(&w->listener, "the Redis subscription's thread", run_listener, w, &e) == 0;
    }
    int64_t began = now;
    while (!w->interrupted) {
        const struct lane_state *n = find_or_add_lane(w, lane);
        int64_t poll_at = began + (w->subscribed ? POLL_MS : POLL_UNSUBSCRIBED_MS);
        int64_t until = timeout_ms < poll_at - began ? began + timeout_ms : poll_at;
        until = n->due < until ? n->due : until;
        if (n->announced > n->emptied || now >= until) {
            break;
        }
        (void)cond_wait_until(&w->changed, &w->lock, cond_deadline_us(until - now));
        now = clock_mono_ms();
    }
    pthread_mutex_unlock(&w->lock);
}

void queue_redis_waiters_interrupt(struct queue_redis_waiters *w)
{
    pthread_mutex_lock(&w->lock);
    w->interrupted = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

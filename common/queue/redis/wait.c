#include "common/queue/redis/wait.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/thread.h"
#include "common/queue/queue.h"

/* A waiter looks for itself this often, whatever is announced: a note may have been lost, and a
 * lease that another process took may have run out. */
#define LOOK_MS 1000
#define LOOK_DEAF_MS 100 /* the same while nothing is heard */
#define LISTEN_MS 60000

struct lane_news {
    char lane[QUEUE_LANE_MAX + 1];
    int64_t heard;   /* announcements so far */
    int64_t emptied; /* `heard` as it was before the latest take that emptied the lane */
    int64_t due;     /* monotonic ms when more comes due; INT64_MAX unknown or never */
};

struct queue_redis_waiters {
    struct redis_subscription *subscription;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct lane_news *lanes; /* those that this process takes from; the configuration's number */
    size_t lane_count;
    bool hears;     /* the subscription stands */
    bool listening; /* the thread was started */
    bool ended;
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

/* --- what is known of a lane; under the lock --- */
static struct lane_news *find_lane(struct queue_redis_waiters *w, struct slice lane)
{
    for (size_t i = 0; i < w->lane_count; i++) {
        if (slice_eq_cstr(lane, w->lanes[i].lane)) {
            return &w->lanes[i];
        }
    }
    return NULL;
}

static struct lane_news *lane_of(struct queue_redis_waiters *w, const char *lane)
{
    struct lane_news *known = find_lane(w, slice_of(lane));
    if (known != NULL) {
        return known;
    }
    w->lanes = realloc(w->lanes, (w->lane_count + 1) * sizeof *w->lanes);
    ASSERT(w->lanes != NULL);
    known = &w->lanes[w->lane_count++];
    *known = (struct lane_news){.heard = 1, .due = INT64_MAX};
    ASSERT(slice_to_cstr(slice_of(lane), known->lane, sizeof known->lane));
    return known;
}

int64_t queue_redis_mark(struct queue_redis_waiters *w, const char *lane)
{
    pthread_mutex_lock(&w->lock);
    int64_t mark = lane_of(w, lane)->heard;
    pthread_mutex_unlock(&w->lock);
    return mark;
}

void queue_redis_emptied(struct queue_redis_waiters *w, const char *lane, int64_t mark,
                         int64_t due_in_ms)
{
    int64_t now = clock_mono_ms();
    int64_t due = due_in_ms < 0 || due_in_ms > INT64_MAX - now ? INT64_MAX : now + due_in_ms;
    pthread_mutex_lock(&w->lock);
    struct lane_news *n = lane_of(w, lane);
    n->emptied = mark > n->emptied ? mark : n->emptied;
    /* What was announced since the mark may come due earlier than what the take saw. */
    n->due = n->heard == mark || due < n->due ? due : n->due;
    pthread_mutex_unlock(&w->lock);
}

/* --- listening --- */
static void hear_message(struct queue_redis_waiters *w, struct slice payload)
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
    struct lane_news *n = find_lane(w, lane);
    if (n == NULL) {
        return;
    }
    n->heard++;
    if (ready <= 0) {
        /* Nothing to take yet: whoever had seen the lane empty still has. */
        n->emptied = n->emptied == n->heard - 1 ? n->heard : n->emptied;
    }
    if (delay_ms >= 0 && delay_ms < INT64_MAX - now && now + delay_ms < n->due) {
        n->due = now + delay_ms;
    }
}

static void hear(struct queue_redis_waiters *w, enum redis_note note, struct slice payload)
{
    pthread_mutex_lock(&w->lock);
    if (note == REDIS_NOTE_MESSAGE) {
        hear_message(w, payload);
    } else {
        w->hears = note == REDIS_NOTE_FRESH;
        for (size_t i = 0; i < w->lane_count; i++) {
            w->lanes[i].heard++;
        }
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void *listen_to_notes(void *arg)
{
    struct queue_redis_waiters *w = arg;
    for (;;) {
        struct slice payload;
        enum redis_note note = redis_subscription_next(w->subscription, LISTEN_MS, &payload);
        if (note == REDIS_NOTE_ENDED) {
            return NULL;
        }
        if (note != REDIS_NOTE_TIMEOUT) {
            hear(w, note, payload);
        }
    }
}

/* --- waiting --- */
void queue_redis_wait(struct queue_redis_waiters *w, const char *lane, int64_t timeout_ms)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&w->lock);
    if (!w->listening && !w->ended) {
        /* Unheard, a waiter looks for itself more often, and the next wait tries this again. */
        struct err e;
        w->listening = thread_start(&w->listener, "the thread that hears of Redis messages",
                                    listen_to_notes, w, &e) == 0;
    }
    int64_t began = now;
    while (!w->ended) {
        const struct lane_news *n = lane_of(w, lane);
        int64_t look = began + (w->hears ? LOOK_MS : LOOK_DEAF_MS);
        int64_t until = timeout_ms < look - began ? began + timeout_ms : look;
        until = n->due < until ? n->due : until;
        if (n->heard > n->emptied || now >= until) {
            break;
        }
        (void)cond_wait_until(&w->changed, &w->lock, cond_deadline_us(until - now));
        now = clock_mono_ms();
    }
    pthread_mutex_unlock(&w->lock);
}

void queue_redis_waiters_end(struct queue_redis_waiters *w)
{
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

#include "ingress/enqueue.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/random.h"
#include "common/base/thread.h"

/* Between two looks of a stuck put's caller at whether it has become crowded. */
#define CROWD_POLL_US 10000

enum enqueuer_state {
    ENQUEUER_IDLE,
    ENQUEUER_CLAIMED,
    ENQUEUER_ASSIGNED, /* its thread has not started it yet */
    ENQUEUER_RUNNING,
    ENQUEUER_FINISHED,
    ENQUEUER_ABANDONED
};

struct enqueuer {
    struct enqueue_pool *pool;
    pthread_t thread;
    pthread_cond_t changed;
    enum enqueuer_state state; /* under the home's lock */
    /* Owned by the caller while claimed or assigned, by the thread while running or abandoned, by
     * the caller again once finished. */
    struct queue *queue;
    struct queue_item items[QUEUE_BATCH_MAX];
    size_t n;
    char *bytes; /* the memory that the items point to */
    int result;
    struct err error;
    uint64_t ticket; /* of the put that was abandoned last; 0: none. Under the pool's lock */
};

struct enqueue_pool {
    pthread_mutex_t lock;
    bool stopping;        /* under lock */
    uint64_t last_ticket; /* under lock; from a random start, so that no other process's are ours */
    size_t count;
    struct enqueuer threads[];
};

/* --- a copy of the messages --- */
static size_t text_size(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static char *copy_text(const char **text, char *at)
{
    size_t size = text_size(*text);
    if (size > 0) {
        memcpy(at, *text, size);
        *text = at;
    }
    return at + size;
}

static void copy_items(struct enqueuer *w, const struct queue_item *items, size_t n)
{
    size_t size = 1;
    for (size_t i = 0; i < n; i++) {
        size += items[i].body.len + text_size(items[i].lane) + text_size(items[i].key) +
                text_size(items[i].group);
    }
    char *at = malloc(size);
    ASSERT(at != NULL);
    w->bytes = at;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        struct queue_item *copy = &w->items[i];
        *copy = items[i];
        at = copy_text(&copy->lane, at);
        at = copy_text(&copy->key, at);
        at = copy_text(&copy->group, at);
        if (copy->body.len > 0) {
            memcpy(at, items[i].body.ptr, copy->body.len);
        }
        copy->body.ptr = at;
        at += copy->body.len;
    }
}

static void free_items(struct enqueuer *w)
{
    free(w->bytes);
    w->bytes = NULL;
}

/* --- the thread --- */
static void *enqueue_until_stopped(void *arg)
{
    struct enqueuer *w = arg;
    struct enqueue_pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (w->state != ENQUEUER_ASSIGNED && !p->stopping) {
            pthread_cond_wait(&w->changed, &p->lock);
        }
        if (w->state != ENQUEUER_ASSIGNED) {
            break;
        }
        w->state = ENQUEUER_RUNNING;
        pthread_mutex_unlock(&p->lock);
        w->error = (struct err){0};
        w->result = queue_put(w->queue, w->items, w->n, &w->error);
        free_items(w);
        pthread_mutex_lock(&p->lock);
        w->state = w->state == ENQUEUER_ABANDONED ? ENQUEUER_IDLE : ENQUEUER_FINISHED;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- the caller --- */
static struct enqueuer *claim_enqueuer(struct enqueue_pool *p)
{
    struct enqueuer *found = NULL;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count && found == NULL; i++) {
        found = p->threads[i].state == ENQUEUER_IDLE ? &p->threads[i] : NULL;
    }
    if (found != NULL) {
        found->state = ENQUEUER_CLAIMED;
        found->ticket = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

/* Under the lock, at the limits: an enqueue that has not begun is withdrawn, one that has is
 * abandoned. Returns its ticket. */
static uint64_t abandon_enqueue(struct enqueuer *w, const struct enqueue_limits *limits,
                                struct err *e)
{
    if (w->state == ENQUEUER_ASSIGNED) {
        free_items(w);
        w->state = ENQUEUER_IDLE;
        (void)err_set(e, ERR_RETRY, ETIMEDOUT, "this host is too slow: the enqueue did not begin");
        return 0;
    }
    w->state = ENQUEUER_ABANDONED;
    w->ticket = ++w->pool->last_ticket;
    (void)err_set(e, ERR_RETRY, ETIMEDOUT, "the queue is too slow: the enqueue %s",
                  clock_mono_us() >= limits->deadline_us
                      ? "exceeded its deadline"
                      : "was stuck when half of the places in flight were taken");
    return w->ticket;
}

static bool limits_reached(const struct enqueue_limits *l, int64_t now_us)
{
    return now_us >= l->deadline_us ||
           (l->is_crowded != NULL && now_us >= l->crowded_us && l->is_crowded(l->arg));
}

/* Under the lock: waits until the enqueue has finished or its limits are reached. */
static void wait_for_enqueue(struct enqueuer *w, const struct enqueue_limits *l)
{
    int64_t now_us = clock_mono_us();
    while (w->state != ENQUEUER_FINISHED && !limits_reached(l, now_us)) {
        int64_t until_us = l->deadline_us;
        if (l->is_crowded != NULL) {
            int64_t look_us = now_us < l->crowded_us ? l->crowded_us : now_us + CROWD_POLL_US;
            until_us = look_us < until_us ? look_us : until_us;
        }
        (void)cond_wait_until(&w->changed, &w->pool->lock, until_us);
        now_us = clock_mono_us();
    }
}

int enqueue_with_deadline(struct enqueue_pool *p, struct queue *q, const struct queue_item *items,
                          size_t n, const struct enqueue_limits *limits, uint64_t *ticket,
                          struct err *e)
{
    struct enqueuer *w = limits->deadline_us > clock_mono_us() ? claim_enqueuer(p) : NULL;
    int result = -1;
    *ticket = 0;
    if (w == NULL) {
        return err_set(e, ERR_RETRY, 0,
                       "the queue is too slow: earlier enqueues are still in progress");
    }
    w->queue = q;
    copy_items(w, items, n);
    pthread_mutex_lock(&p->lock);
    w->state = ENQUEUER_ASSIGNED;
    pthread_cond_broadcast(&w->changed);
    wait_for_enqueue(w, limits);
    if (w->state == ENQUEUER_FINISHED) {
        result = w->result;
        if (result != 0) {
            *e = w->error;
        }
        w->state = ENQUEUER_IDLE;
    } else {
        *ticket = abandon_enqueue(w, limits, e);
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

enum enqueue_outcome enqueue_outcome(struct enqueue_pool *p, uint64_t ticket)
{
    enum enqueue_outcome outcome = ENQUEUE_UNKNOWN;
    if (ticket == 0) {
        return outcome;
    }
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        const struct enqueuer *w = &p->threads[i];
        if (w->ticket == ticket) {
            outcome = w->state == ENQUEUER_ABANDONED ? ENQUEUE_PENDING
                      : w->result == 0               ? ENQUEUE_CONFIRMED
                                                     : ENQUEUE_UNKNOWN;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return outcome;
}

/* --- lifetime --- */
int enqueue_pool_new(size_t count, struct enqueue_pool **out, struct err *e)
{
    struct enqueue_pool *p = calloc(1, sizeof *p + count * sizeof p->threads[0]);
    ASSERT(p != NULL && count >= 1 && count <= 64);
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0);
    random_bytes(&p->last_ticket, sizeof p->last_ticket);
    for (; p->count < count; p->count++) {
        struct enqueuer *w = &p->threads[p->count];
        w->pool = p;
        cond_init(&w->changed);
        if (thread_start(&w->thread, "an enqueue thread", enqueue_until_stopped, w, e) != 0) {
            pthread_cond_destroy(&w->changed);
            enqueue_pool_free(p);
            return -1;
        }
    }
    *out = p;
    return 0;
}

void enqueue_pool_free(struct enqueue_pool *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    for (size_t i = 0; i < p->count; i++) {
        pthread_cond_broadcast(&p->threads[i].changed);
    }
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        pthread_join(p->threads[i].thread, NULL);
        pthread_cond_destroy(&p->threads[i].changed);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

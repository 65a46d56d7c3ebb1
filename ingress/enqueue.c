#include "ingress/enqueue.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/thread.h"

enum putter_state {
    PUTTER_IDLE,
    PUTTER_CLAIMED,
    PUTTER_GIVEN, /* its thread has not seen it yet */
    PUTTER_PUTTING,
    PUTTER_FINISHED,
    PUTTER_LEFT
};

struct putter {
    struct putters *home;
    pthread_t thread;
    pthread_cond_t changed;
    enum putter_state state; /* under the home's lock */
    /* The caller's while claimed or given, the thread's while putting or left, the caller's once
     * finished. */
    struct queue *queue;
    struct queue_item items[QUEUE_BATCH_MAX];
    size_t n;
    char *bytes; /* what the items point to */
    int result;
    struct err error;
};

struct putters {
    pthread_mutex_t lock;
    bool stopping; /* under lock */
    size_t count;
    struct putter each[];
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

static void copy_items(struct putter *w, const struct queue_item *items, size_t n)
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

static void forget_items(struct putter *w)
{
    free(w->bytes);
    w->bytes = NULL;
}

/* --- the thread --- */
static void *putter_main(void *arg)
{
    struct putter *w = arg;
    struct putters *p = w->home;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (w->state != PUTTER_GIVEN && !p->stopping) {
            pthread_cond_wait(&w->changed, &p->lock);
        }
        if (w->state != PUTTER_GIVEN) {
            break;
        }
        w->state = PUTTER_PUTTING;
        pthread_mutex_unlock(&p->lock);
        w->error = (struct err){0};
        w->result = queue_put(w->queue, w->items, w->n, &w->error);
        forget_items(w);
        pthread_mutex_lock(&p->lock);
        w->state = w->state == PUTTER_LEFT ? PUTTER_IDLE : PUTTER_FINISHED;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- the caller --- */
static struct putter *claim(struct putters *p)
{
    struct putter *found = NULL;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count && found == NULL; i++) {
        found = p->each[i].state == PUTTER_IDLE ? &p->each[i] : NULL;
    }
    if (found != NULL) {
        found->state = PUTTER_CLAIMED;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

/* With the lock, when the time is over: what has not begun is taken back, what has is left. */
static void give_up(struct putter *w, struct err *e)
{
    if (w->state == PUTTER_GIVEN) {
        forget_items(w);
        w->state = PUTTER_IDLE;
        (void)err_set(e, ERR_RETRY, ETIMEDOUT, "this machine is too slow: the put was not begun");
        return;
    }
    w->state = PUTTER_LEFT;
    (void)err_set(e, ERR_RETRY, ETIMEDOUT, "the queue is too slow: the put outlived its time");
}

int putters_put(struct putters *p, struct queue *q, const struct queue_item *items, size_t n,
                int64_t deadline_us, struct err *e)
{
    struct putter *w = deadline_us > clock_mono_us() ? claim(p) : NULL;
    int result = -1;
    bool in_time = true;
    if (w == NULL) {
        return err_set(e, ERR_RETRY, 0, "the queue is too slow: earlier puts are still under way");
    }
    w->queue = q;
    copy_items(w, items, n);
    pthread_mutex_lock(&p->lock);
    w->state = PUTTER_GIVEN;
    pthread_cond_broadcast(&w->changed);
    while (w->state != PUTTER_FINISHED && in_time) {
        in_time = cond_wait_until(&w->changed, &p->lock, deadline_us);
    }
    if (w->state == PUTTER_FINISHED) {
        result = w->result;
        if (result != 0) {
            *e = w->error;
        }
        w->state = PUTTER_IDLE;
    } else {
        give_up(w, e);
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

/* --- life --- */
int putters_new(size_t count, struct putters **out, struct err *e)
{
    struct putters *p = calloc(1, sizeof *p + count * sizeof p->each[0]);
    ASSERT(p != NULL && count >= 1 && count <= 64);
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0);
    for (; p->count < count; p->count++) {
        struct putter *w = &p->each[p->count];
        w->home = p;
        cond_init(&w->changed);
        if (thread_start(&w->thread, "a thread for puts", putter_main, w, e) != 0) {
            pthread_cond_destroy(&w->changed);
            putters_free(p);
            return -1;
        }
    }
    *out = p;
    return 0;
}

void putters_free(struct putters *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    for (size_t i = 0; i < p->count; i++) {
        pthread_cond_broadcast(&p->each[i].changed);
    }
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        pthread_join(p->each[i].thread, NULL);
        pthread_cond_destroy(&p->each[i].changed);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

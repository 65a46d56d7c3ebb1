#include "common/queue/sqs/thread_pool.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/base/thread.h"

struct task {
    sqs_part_fn *work;
    void *arg;
    size_t parts;
    size_t next;    /* the first part that nobody has */
    size_t running; /* on the crew's threads */
    struct task *after;
};

struct sqs_thread_pool {
    pthread_mutex_t lock; /* of all below, and of the tasks' numbers */
    pthread_cond_t arrived;
    pthread_cond_t finished;
    struct task *first; /* tasks with parts that nobody has */
    bool stopping;
    size_t count;
    size_t max;
    pthread_t threads[];
};

struct sqs_thread_pool *sqs_pool_new(size_t threads_max)
{
    struct sqs_thread_pool *c = calloc(1, sizeof *c + threads_max * sizeof c->threads[0]);
    ASSERT(c != NULL);
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&c->arrived, NULL) == 0 && pthread_cond_init(&c->finished, NULL) == 0);
    c->max = threads_max;
    return c;
}

void sqs_pool_free(struct sqs_thread_pool *c)
{
    if (c == NULL) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->arrived);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        pthread_join(c->threads[i], NULL);
    }
    pthread_cond_destroy(&c->arrived);
    pthread_cond_destroy(&c->finished);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* Takes the next part, and the task out of the list with its last one. Under the lock. */
static size_t take_part(struct sqs_thread_pool *c, struct task *t)
{
    size_t part = t->next++;
    if (t->next == t->parts) {
        struct task **at = &c->first;
        while (*at != t) {
            at = &(*at)->after;
        }
        *at = t->after;
    }
    return part;
}

static void *serve(void *arg)
{
    struct sqs_thread_pool *c = arg;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        struct task *t = c->first;
        if (t == NULL && c->stopping) {
            break;
        }
        if (t == NULL) {
            pthread_cond_wait(&c->arrived, &c->lock);
            continue;
        }
        size_t part = take_part(c, t);
        t->running++;
        pthread_mutex_unlock(&c->lock);
        t->work(t->arg, part);
        pthread_mutex_lock(&c->lock);
        t->running--;
        if (t->running == 0) {
            pthread_cond_broadcast(&c->finished);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Under the lock. Without a thread the caller and the others do the work. */
static void start_threads(struct sqs_thread_pool *c, size_t wanted)
{
    struct err e;
    while (c->count < wanted && c->count < c->max &&
           thread_start(&c->threads[c->count], "a thread of the SQS crew", serve, c, &e) == 0) {
        c->count++;
    }
}

void sqs_pool_run(struct sqs_thread_pool *c, sqs_part_fn *work, void *arg, size_t parts)
{
    struct task task = {.work = work, .arg = arg, .parts = parts};
    if (parts == 0) {
        return;
    }
    if (parts == 1) {
        work(arg, 0);
        return;
    }
    pthread_mutex_lock(&c->lock);
    start_threads(c, parts - 1);
    struct task **last = &c->first;
    while (*last != NULL) {
        last = &(*last)->after;
    }
    *last = &task;
    pthread_cond_broadcast(&c->arrived);
    while (task.next < task.parts) {
        size_t part = take_part(c, &task);
        pthread_mutex_unlock(&c->lock);
        work(arg, part);
        pthread_mutex_lock(&c->lock);
    }
    while (task.running > 0) {
        pthread_cond_wait(&c->finished, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
}

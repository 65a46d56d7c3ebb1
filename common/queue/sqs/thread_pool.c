#include "common/queue/sqs/thread_pool.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/base/thread.h"

struct task {
    sqs_part_fn *work;
    void *arg;
    size_t parts;
    size_t next;    /* the first part that no thread has */
    size_t running; /* parts on the pool's threads */
    struct task *after;
};

struct sqs_thread_pool {
    pthread_mutex_t lock; /* of all below, and of the tasks' numbers */
    pthread_cond_t arrived;
    pthread_cond_t finished;
    struct task *first; /* tasks with parts that no thread has */
    bool stopping;
    size_t count;
    size_t max;
    pthread_t threads[];
};

struct sqs_thread_pool *sqs_pool_new(size_t threads_max)
{
    struct sqs_thread_pool *p = calloc(1, sizeof *p + threads_max * sizeof p->threads[0]);
    ASSERT(p != NULL);
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&p->arrived, NULL) == 0 && pthread_cond_init(&p->finished, NULL) == 0);
    p->max = threads_max;
    return p;
}

void sqs_pool_free(struct sqs_thread_pool *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->arrived);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        pthread_join(p->threads[i], NULL);
    }
    pthread_cond_destroy(&p->arrived);
    pthread_cond_destroy(&p->finished);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* Returns the next part; removes the task from the list with its last part. Under the lock. */
static size_t next_part(struct sqs_thread_pool *p, struct task *t)
{
    size_t part = t->next++;
    if (t->next == t->parts) {
        struct task **at = &p->first;
        while (*at != t) {
            at = &(*at)->after;
        }
        *at = t->after;
    }
    return part;
}

static void *run_pool_thread(void *arg)
{
    struct sqs_thread_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct task *t = p->first;
        if (t == NULL && p->stopping) {
            break;
        }
        if (t == NULL) {
            pthread_cond_wait(&p->arrived, &p->lock);
            continue;
        }
        size_t part = next_part(p, t);
        t->running++;
        pthread_mutex_unlock(&p->lock);
        t->work(t->arg, part);
        pthread_mutex_lock(&p->lock);
        t->running--;
        if (t->running == 0) {
            pthread_cond_broadcast(&p->finished);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Under the lock. If a thread cannot be started, the caller and the other threads do the work. */
static void start_threads(struct sqs_thread_pool *p, size_t wanted)
{
    struct err e;
    while (p->count < wanted && p->count < p->max &&
           thread_start(&p->threads[p->count], "a thread of the SQS thread pool", run_pool_thread,
                        p, &e) == 0) {
        p->count++;
    }
}

void sqs_pool_run(struct sqs_thread_pool *p, sqs_part_fn *work, void *arg, size_t parts)
{
    struct task task = {.work = work, .arg = arg, .parts = parts};
    if (parts == 0) {
        return;
    }
    if (parts == 1) {
        work(arg, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    start_threads(p, parts - 1);
    struct task **last = &p->first;
    while (*last != NULL) {
        last = &(*last)->after;
    }
    *last = &task;
    pthread_cond_broadcast(&p->arrived);
    while (task.next < task.parts) {
        size_t part = next_part(p, &task);
        pthread_mutex_unlock(&p->lock);
        work(arg, part);
        pthread_mutex_lock(&p->lock);
    }
    while (task.running > 0) {
        pthread_cond_wait(&p->finished, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

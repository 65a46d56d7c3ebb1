/*
 * Starts threads, which can fail: at a limit on processes, a cgroup's limit, or when memory is
 * exhausted.
 *
 * The error is ERR_CAPACITY and names the limit that was probably reached and what to do. No other
 * file calls pthread_create. Safe from any thread; a struct threads belongs to its owner.
 */
#ifndef MAYFLY_BASE_THREAD_H
#define MAYFLY_BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"

typedef void *thread_fn(void *arg);

/* `what` names the thread in the error: "the thread that renews AWS credentials". */
MUST_CHECK int thread_start(pthread_t *out, const char *what, thread_fn *run, void *arg,
                            struct err *e);

/* A number of threads that run the same function. Zero it before threads_start. */
struct threads {
    pthread_t *each;
    size_t count;
};

/* After a failure the threads started so far keep running: make them end, then call
 * threads_join. */
MUST_CHECK int threads_start(struct threads *t, size_t count, const char *what, thread_fn *run,
                             void *arg, struct err *e);
/* Waits for all of them to end and frees the list. Safe on a zeroed struct. */
void threads_join(struct threads *t);

#endif

/*
 * Starting threads, which may fail: a limit of processes, a cgroup's or memory is used up.
 *
 * The error is ERR_CAPACITY and names the limit that is likely to be reached and what to do.
 * pthread_create itself is called nowhere else. Threading: any thread; a struct threads belongs to
 * its owner.
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

/* A number of threads that do the same. Zero it before the start. */
struct threads {
    pthread_t *each;
    size_t count;
};

/* After a failure the threads started so far run on: make them end, then threads_join. */
MUST_CHECK int threads_start(struct threads *t, size_t count, const char *what, thread_fn *run,
                             void *arg, struct err *e);
/* Waits for all of them to end and frees the list. Fine for a zeroed struct. */
void threads_join(struct threads *t);

#endif

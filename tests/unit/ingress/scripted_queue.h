/*
 * A queue that does what the test says, in the place of the one behind the spool (--wrap at link
 * time). The spool's own file stays a real queue. Its URL is "fake://"; `fake` may be read without
 * the lock while no thread of the spool works.
 */
#ifndef MAYFLY_TESTS_UNIT_INGRESS_SCRIPTED_QUEUE_H
#define MAYFLY_TESTS_UNIT_INGRESS_SCRIPTED_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/queue/queue.h"

#define SCRIPTED_MAX 256

struct scripted_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum err_class refusal;     /* of puts and pings; ERR_NONE: they succeed */
    enum err_class closed;      /* of opening it */
    bool blocked;               /* puts wait until it is false */
    bool disk_full;             /* of the spool's file */
    const char *poisoned;       /* a put with this key can never succeed */
    char keys[SCRIPTED_MAX][8]; /* what arrived, in order */
    char groups[SCRIPTED_MAX][32];
    char bodies[SCRIPTED_MAX][32];
    size_t arrived;
    size_t puts; /* begun */
    size_t refused;
    size_t opens; /* tried */
    size_t told;  /* calls of scripted_opened */
};
extern struct scripted_queue fake;

void scripted_reset(void);
/* For spool_options. */
void scripted_opened(struct queue *q);

void scripted_refuse(enum err_class refusal);
void scripted_poison(const char *key);
/* Sets a flag of `fake`. */
void scripted_set(bool *flag, bool value);
/* Reads a count of `fake`, or waits until it is above a number. */
size_t scripted_count(const size_t *count);
void scripted_wait_above(const size_t *count, size_t above);

#endif

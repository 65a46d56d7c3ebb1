/*
 * Jobs led through their whole way in a ledger, for benches: reserved, registered, launched, in
 * progress, completed, gone. Any thread; an error ends the program.
 */
#ifndef MAYFLY_TESTS_BENCH_LEDGER_WAYS_H
#define MAYFLY_TESTS_BENCH_LEDGER_WAYS_H

#include <pthread.h>

#include "common/ledger/ledger.h"

#define WAYS_THREADS_MAX 32

enum part { RESERVE, REGISTER, LAUNCH, START, COMPLETE, GO, PARTS };

/* One thread's part. */
struct ways {
    struct ledger *l;
    int64_t first_id;
    int64_t count;
    int64_t us[PARTS]; /* sums */
    pthread_t thread;
};

/* Microseconds since *since, which becomes now. */
int64_t ways_lap(int64_t *since);

/* Ends the program with the error, if there is one. */
void must(int rc, const struct err *e);

struct job_event ways_event_of(int64_t id, enum job_action action, const char *runner);

/* arg: a struct ways. Returns NULL. */
void *ways_go(void *arg);

/* Jobs first_id and up, `each` by each of so many threads. Returns microseconds. */
int64_t ways_go_many(struct ledger *l, int threads, int64_t each, int64_t first_id);

#endif

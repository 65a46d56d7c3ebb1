/*
 * Failures in a row, for a /readyz that says what the last attempts met.
 *
 * A store whose ping succeeds may still refuse every write: a read-only file, a full disk, another
 * process's lock. After STREAK_FAILURES failures in a row, with no success in between, the streak
 * lasts until the next success. It also ends STREAK_FORGET_MS after its last failure: a program that
 * is not ready gets no work, and without work it could not find out that the trouble is over.
 * Safe from any thread.
 */
#ifndef MAYFLY_BASE_STREAK_H
#define MAYFLY_BASE_STREAK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define STREAK_FAILURES 3
#define STREAK_FORGET_MS ((int64_t)30 * 1000)

struct streak {
    pthread_mutex_t lock;
    int64_t failures;
    int64_t last_ms; /* monotonic, of the last failure */
    struct err last;
};

void streak_init(struct streak *s);
void streak_fini(struct streak *s);
void streak_success(struct streak *s);
void streak_failure(struct streak *s, const struct err *e);
/* Whether it lasts; then *e is the last failure. */
bool streak_lasts(struct streak *s, struct err *e);

#endif

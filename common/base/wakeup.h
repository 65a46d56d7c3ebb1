/*
 * A stop: the one thing that every thread of a program can wait on, and be woken from.
 *
 * A waiting thread sleeps until the stop is raised, somebody wakes it, or its time is over. Raising
 * is for ever; a wake is for those who wait now or, if none does, for the next. All functions are
 * safe from any thread; none may be called from a signal handler (see signals_wait for those).
 */
#ifndef MAYFLY_BASE_WAKEUP_H
#define MAYFLY_BASE_WAKEUP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct wakeup {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t wakes;
    bool raised;
};

void wakeup_init(struct wakeup *s);
void wakeup_fini(struct wakeup *s);

/* From now on every wait returns at once. */
void wakeup_raise(struct wakeup *s);
bool wakeup_raised(struct wakeup *s);

/* Wakes all that wait. */
void wakeup_signal(struct wakeup *s);

/* The number of wakes so far: read it before looking at the state that a wake announces, then wait
 * with it, so that no wake between the look and the wait is missed. */
uint64_t wakeup_count(struct wakeup *s);

/* Waits until raised, until wakes differ from `seen`, or for timeout_ms (>= 0). Returns whether the
 * stop is raised. */
bool wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms);

/* Waits until raised or for timeout_ms; wakes do not end it. Returns whether the stop is raised. */
bool wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

/* Blocks SIGTERM, SIGINT, SIGHUP (and ignores SIGPIPE) in the calling thread and all it starts
 * later: call first in main(). */
void signals_block(void);

/* Waits for one of those signals, at most timeout_ms. Returns its number, or 0. */
int signals_wait(int64_t timeout_ms);

#endif

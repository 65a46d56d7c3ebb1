/*
 * A wakeup: an object that all threads of a program wait on, with a stop flag.
 *
 * A thread waits until the stop flag is raised, a signal arrives, or its timeout expires. The flag
 * is never lowered; a signal wakes the threads that wait now or, if none does, the next one. All
 * functions are safe from any thread; none may be called from a signal handler (see signals_wait).
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

/* Wakes all waiting threads. */
void wakeup_signal(struct wakeup *s);

/* The number of signals so far. Read it before the state that a signal announces, then pass it to
 * wakeup_wait, so that no signal in between is missed. */
uint64_t wakeup_count(struct wakeup *s);

/* Waits until raised, until the count differs from `seen`, or for timeout_ms (>= 0). Returns
 * whether the stop flag is raised. */
bool wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms);

/* Waits until raised or for timeout_ms; signals do not end it. Returns whether the stop flag is
 * raised. */
bool wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

/* Blocks SIGTERM, SIGINT, SIGHUP (and ignores SIGPIPE and SIGXFSZ: writes fail instead) in the calling thread and all it starts
 * later: call first in main(). */
void signals_block(void);

/* Waits for one of those signals, at most timeout_ms. Returns its number, or 0. */
int signals_wait(int64_t timeout_ms);
/* Whether SIGTERM or SIGINT is pending, for signals_wait. */
bool signals_stop_pending(void);

#endif

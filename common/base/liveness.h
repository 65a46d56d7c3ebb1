/*
 * Distinguishes a program that cannot go on from one that waits: the loops that must not block
 * record that they make progress, and /healthz fails when one has not for its limit.
 *
 * A loop's thread enters with a limit, beats at each turn and leaves at its end. Between two beats it
 * may call whatever has a deadline below the limit. Waits of common/base (wakeup_wait, cond_wait_until,
 * clock_sleep_until) rest by themselves: a thread that waits for work or for a time is not stuck,
 * however long it waits, and neither is one whose store, GitHub or AWS is away: its calls end.
 *
 * Beat and rest concern the calling thread, and do nothing in one that has not entered. All functions
 * are safe from any thread.
 */
#ifndef MAYFLY_BASE_LIVENESS_H
#define MAYFLY_BASE_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

/* More than any chain of calls between two beats may take: each call has a deadline of minutes at
 * most. */
#define LIVENESS_LIMIT_MS ((int64_t)10 * 60 * 1000)

/* `name`: static text, "the sweep thread". It is judged from now on. */
void liveness_enter(const char *name, int64_t limit_ms);
/* Before the thread ends. */
void liveness_leave(void);

void liveness_beat(void);
/* Waits on purpose: not judged until its next beat. */
void liveness_rest(void);

/* True unless a loop is stuck; then appends which ones, and since when, to `why`. The first time that
 * a loop is found stuck is logged. */
bool liveness_check(struct buf *why);

#endif

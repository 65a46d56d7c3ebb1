/*
 * Waiting for a message of an SQLite queue, also for one that another process puts.
 *
 * A put of this process notifies the waiters of its lane directly. For other processes, one thread
 * watches the write-ahead log with inotify. A write to the log precedes its visible commit, so
 * after each write the thread polls the file's version at short, growing intervals; when the
 * version changed, it checks the lanes that have waiters. Without inotify it polls every 5 ms; in
 * any case ten times a second. The thread starts with the first wait and sleeps while nobody waits.
 * Threading: any thread; queue_sqlite_waiters_free only when no wait is in progress.
 */
#ifndef MAYFLY_QUEUE_SQLITE_WAIT_H
#define MAYFLY_QUEUE_SQLITE_WAIT_H

#include "common/sqlite/store.h"

struct queue_sqlite_waiters;

struct queue_sqlite_outlook { /* of a lane */
    int64_t ready;            /* messages to receive now, counted up to the caller's limit */
    int64_t due_ms; /* wall clock when the next leased or delayed one is due; INT64_MAX none */
};
/* Reads only; receives nothing. */
MUST_CHECK int queue_sqlite_peek(struct sqlite_store *store, const char *lane, int64_t limit,
                                 struct queue_sqlite_outlook *out, struct err *e);

/* store: borrowed for the object's life. */
struct queue_sqlite_waiters *queue_sqlite_waiters_new(struct sqlite_store *store);
void queue_sqlite_waiters_free(struct queue_sqlite_waiters *w); /* NULL is fine */

/* Returns when a receive from the lane may find a message, after timeout_ms, or early. */
void queue_sqlite_waiters_wait(struct queue_sqlite_waiters *w, const char *lane,
                               int64_t timeout_ms);

/* Call when `ready` messages became ready in the lane, or when one is due at due_ms (INT64_MAX:
 * none). */
void queue_sqlite_waiters_notify(struct queue_sqlite_waiters *w, const char *lane, int64_t ready,
                                 int64_t due_ms);

/* Makes all present and later waits return. */
void queue_sqlite_waiters_interrupt(struct queue_sqlite_waiters *w);

#endif

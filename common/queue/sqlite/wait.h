/*
 * Waiting for a message of an SQLite queue, also for one that another process puts.
 *
 * A put of this process tells the waiters of its lane at once. For other processes one thread
 * watches the write-ahead log with inotify; a write to the log comes before its commit is to be
 * seen, so after each one the thread asks for the file's version at short, growing intervals, and
 * when it moved, looks into the lanes that are waited for. Without inotify it asks every 5 ms; in
 * any case ten times a second. The thread starts with the first wait and sleeps while nobody waits.
 * Threading: any thread; queue_waiters_free when no wait is under way.
 */
#ifndef MAYFLY_QUEUE_SQLITE_WAIT_H
#define MAYFLY_QUEUE_SQLITE_WAIT_H

#include "common/sqlite/store.h"

struct queue_waiters;

struct queue_prospect { /* what a lane has to take */
    int64_t ready;      /* takeable now; counted up to the limit asked for */
    int64_t due_ms; /* wall clock when the next leased or delayed one comes due; INT64_MAX none */
};
/* Looks without taking. */
MUST_CHECK int queue_sqlite_look(struct sqlite_store *store, const char *lane, int64_t limit,
                                 struct queue_prospect *out, struct err *e);

/* store: borrowed for the object's life. */
struct queue_waiters *queue_waiters_new(struct sqlite_store *store);
void queue_waiters_free(struct queue_waiters *w); /* NULL is fine */

/* Returns when a take of the lane may find something, after timeout_ms, or early. */
void queue_waiters_wait(struct queue_waiters *w, const char *lane, int64_t timeout_ms);

/* Tells that `ready` messages became takeable in the lane, or that one comes due at due_ms
 * (INT64_MAX: none). */
void queue_waiters_tell(struct queue_waiters *w, const char *lane, int64_t ready, int64_t due_ms);

/* Ends all present and later waits. */
void queue_waiters_end(struct queue_waiters *w);

#endif

/*
 * Shared by the files of the SQLite queue: its state and reading a row.
 *
 * For common/queue/sqlite/ alone. One table holds all lanes. Each place of a message has a partial
 * index of its own, so that a receive costs O(log n) in its lane's ready messages, and dead letters
 * cost it nothing.
 */
#ifndef MAYFLY_QUEUE_SQLITE_INTERNAL_H
#define MAYFLY_QUEUE_SQLITE_INTERNAL_H

#include "common/queue/queue_backend.h"
#include "common/queue/sqlite/wait.h"
#include "common/sqlite/store.h"

struct queue_sqlite {
    struct sqlite_store *store;
    struct queue_sqlite_waiters *waiters;
    int64_t offset_ms; /* atomic: the wall clock's from the monotonic one, at the last receive */
};

/* SQL: a message's place in its lane's order, and the one after all that were put so far. */
#define QUEUE_SQLITE_TURN "coalesce(turn, id)"
#define QUEUE_SQLITE_LAST_TURN "(SELECT seq + 1 FROM sqlite_sequence WHERE name = 'messages')"

queue_depths_fn queue_sqlite_depths;
extern const struct queue_admin_ops queue_sqlite_admin;

/* Moves the columns id, lane, key, attempts, enqueued_ms, body (0 to 5) into m. */
void queue_sqlite_message(struct sqlite_rows *r, struct queue_message *m);

/* A message's id is the row's id in decimal; ERR_NOT_FOUND for anything else. */
MUST_CHECK int queue_sqlite_id(const char *id, int64_t *out, struct err *e);

#endif

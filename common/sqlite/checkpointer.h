/*
 * Moves a store's log (WAL) into its file while commits go on.
 *
 * For store.c alone. The thread starts with the first move and has a connection of its own. What is
 * committed meanwhile stays in the log, so that the store still has to move that rest, which is short,
 * while nothing is committed: only then the log begins anew.
 *
 * One thread at a time calls these: the leader of a batch of writes.
 */
#ifndef MAYFLY_SQLITE_CHECKPOINTER_H
#define MAYFLY_SQLITE_CHECKPOINTER_H

#include <stdbool.h>

struct checkpointer;

/* Both are borrowed: what the store is called, and its file. */
struct checkpointer *checkpointer_new(const char *what, const char *path);
/* Waits for a move that goes on: milliseconds. NULL is fine. */
void checkpointer_free(struct checkpointer *c);

enum checkpointer_state {
    CHECKPOINTER_IDLE,
    CHECKPOINTER_MOVES,
    CHECKPOINTER_MOVED, /* returned once: a move has ended, whether or not it succeeded */
};
enum checkpointer_state checkpointer_poll(struct checkpointer *c);

/* Begins to move what the log holds now. False if it cannot: there is no thread or descriptor. */
bool checkpointer_begin(struct checkpointer *c);

#endif

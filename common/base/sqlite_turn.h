/*
 * Whose turn it is to write to an SQLite file next, among processes.
 *
 * SQLite's own lock queues nobody: who finds it taken sleeps and asks again, and a process that
 * writes without a pause takes it again within microseconds, while the others sleep; they may wait
 * for dozens of its transactions. So whoever wants to begin one first takes the turn, an advisory
 * lock on a file beside the database ("<file>-turn"), and gives it back once its transaction has
 * begun. As long as one process holds the turn, the one that writes cannot begin its next
 * transaction, so that the holder is the next. A turn is for fairness alone: what keeps the file
 * sound is SQLite's lock, and without a turn (a file that cannot be made, a holder that is frozen)
 * a write begins as if there were none.
 *
 * For sqlite_store.c alone; a turn belongs to the store's writing connection. The kernel gives it
 * back when its process ends.
 */
#ifndef MAYFLY_BASE_SQLITE_TURN_H
#define MAYFLY_BASE_SQLITE_TURN_H

#include <stdbool.h>
#include <stdint.h>

/* Returns a descriptor, or -1: there are no turns. */
int sqlite_turn_open(const char *path);
void sqlite_turn_close(int fd); /* -1 is fine */

/* Waits for a bounded time. False: it has to be done without. */
bool sqlite_turn_take(int fd);
void sqlite_turn_give(int fd);

#endif

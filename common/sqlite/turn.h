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
 * Whoever waits sleeps on a bell in that file's memory and is woken when what it waits for is free.
 * A bell is a hint: the locks say what holds, and a sleeper looks again within milliseconds anyway.
 *
 * For store.c and its busy handler alone; a turn belongs to the store's writing connection.
 * The kernel gives it back when its process ends.
 */
#ifndef MAYFLY_SQLITE_TURN_H
#define MAYFLY_SQLITE_TURN_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite_turn;

/* NULL: there are no turns. */
struct sqlite_turn *sqlite_turn_open(const char *path);
void sqlite_turn_close(struct sqlite_turn *t); /* NULL is fine */

/* Waits for a bounded time. False: it has to be done without, as it has with NULL. */
bool sqlite_turn_take(struct sqlite_turn *t);
void sqlite_turn_give(struct sqlite_turn *t);

/* The holder waits for the end of the transaction that is under way: it asks for the number, then
 * tries to begin, and if that fails, sleeps until the number is another, or for a short while. */
uint32_t sqlite_turn_ends(const struct sqlite_turn *t);
void sqlite_turn_await_end(struct sqlite_turn *t, uint32_t seen);

/* A transaction of ours has ended. NULL is fine. */
void sqlite_turn_tell_end(struct sqlite_turn *t);

#endif

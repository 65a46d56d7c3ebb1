/*
 * Fairness between processes that write to one SQLite file.
 *
 * SQLite's own lock has no queue: a process that finds it held sleeps and polls, while a process
 * that writes without a pause acquires it again within microseconds. The others may wait for dozens
 * of its transactions. So a process that wants to begin a transaction first takes the turn, an
 * advisory lock on a file beside the database ("<file>-turn"), and releases it once its transaction
 * has begun. While one process holds the turn, the present writer cannot begin its next
 * transaction, so the holder is next. A turn provides fairness only; SQLite's lock protects the
 * file. Without a turn (the file cannot be created, or the holder is frozen) a write begins without
 * one.
 *
 * A waiter sleeps on a futex ("bell") in the shared memory of that file, and is woken when the lock
 * that it waits for is released. A bell is a hint: only the locks count, and a waiter polls within
 * milliseconds anyway.
 *
 * For store.c and its busy handler alone; a turn belongs to the store's writing connection. The
 * kernel releases it when its process ends.
 */
#ifndef MAYFLY_SQLITE_TURN_H
#define MAYFLY_SQLITE_TURN_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite_turn;

/* NULL: turns are not available. */
struct sqlite_turn *sqlite_turn_open(const char *path);
/* Makes no file: NULL if there is none. */
struct sqlite_turn *sqlite_turn_open_existing(const char *path);
void sqlite_turn_close(struct sqlite_turn *t); /* NULL is fine */

/* Waits for a bounded time. False: begin without a turn; also if t is NULL. */
bool sqlite_turn_take(struct sqlite_turn *t);
void sqlite_turn_give(struct sqlite_turn *t);

/* The holder waits for the end of the present transaction: it reads the number of ended
 * transactions, tries to begin, and if that fails, sleeps until the number changes or a short time
 * passed. */
uint32_t sqlite_turn_ends(const struct sqlite_turn *t);
void sqlite_turn_await_end(struct sqlite_turn *t, uint32_t seen);

/* Call when a transaction of this process ended. NULL is fine. */
void sqlite_turn_notify_end(struct sqlite_turn *t);

#endif

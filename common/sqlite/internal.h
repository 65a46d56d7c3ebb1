/*
 * Shared by the files of common/sqlite: the connection and the mapping of SQLite's errors.
 *
 * The only header that includes sqlite3.h. A sqlite_db belongs to one thread at a time: the leader
 * of a batch of writes, or the holder of the read lock.
 */
#ifndef MAYFLY_SQLITE_INTERNAL_H
#define MAYFLY_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "common/sqlite/store.h"
#include "common/sqlite/turn.h"

#define SQLITE_STATEMENTS_MAX 256 /* distinct statements of one connection */

struct sqlite_rows {
    struct sqlite_db *db;
    const char *sql; /* static: its address identifies the statement */
    sqlite3_stmt *statement;
    struct err error; /* of the start; returned by the first sqlite_next */
    bool running;
};

struct sqlite_db {
    sqlite3 *handle;
    const char *what;
    const char *path;              /* or memory://NAME */
    int64_t busy_until_us;         /* monotonic: the deadline of the wait for other processes */
    struct sqlite_turn *turn_held; /* while it waits to begin a transaction */
    uint32_t ends_seen;            /* sqlite_turn_ends before its last attempt to begin */
    int log_tried_pages;           /* the log's length at the last checkpoint */
    struct sqlite_rows *rows[SQLITE_STATEMENTS_MAX];
    size_t row_count;
};

/* Fills *e from the connection's last error. rc: what the failed call returned. Returns -1. */
int sqlite_db_error(struct sqlite_db *db, int rc, const char *doing, struct err *e);

/* Ends all running statements. */
void sqlite_db_end_all(struct sqlite_db *db);

/* Finalises all statements and closes the connection; fine on one that never opened. */
void sqlite_db_close(struct sqlite_db *db);

#endif

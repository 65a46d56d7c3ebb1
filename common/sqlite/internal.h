/*
 * What store.c and rows.c share: the connection and the mapping of SQLite's errors.
 *
 * For these two files alone; it is the only header of the house that knows sqlite3.h. A sqlite_db
 * belongs to one thread at a time: the combiner's leader, or the holder of the read lock.
 */
#ifndef MAYFLY_SQLITE_INTERNAL_H
#define MAYFLY_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "common/sqlite/store.h"
#include "common/sqlite/turn.h"

#define SQLITE_STATEMENTS_MAX                                                                      \
    256 /* distinct statements of one connection; the code's own number                            \
         */

struct sqlite_rows {
    struct sqlite_db *db;
    const char *sql; /* static: its address finds the statement again */
    sqlite3_stmt *statement;
    struct err error; /* of starting; told by the first sqlite_next */
    bool running;
};

struct sqlite_db {
    sqlite3 *handle;
    const char *what;
    const char *path;              /* or memory://NAME */
    int64_t busy_until_us;         /* monotonic; the deadline of the wait for other processes */
    struct sqlite_turn *turn_held; /* while it waits to begin: nobody does so before it */
    uint32_t ends_seen;            /* sqlite_turn_ends before it last tried */
    int log_tried_pages;           /* the log's length when it was last to be moved into the file */
    struct sqlite_rows *rows[SQLITE_STATEMENTS_MAX];
    size_t row_count;
};

/* Fills *e from the connection's last error. rc: what the failed call returned. Returns -1. */
int sqlite_db_error(struct sqlite_db *db, int rc, const char *doing, struct err *e);

/* Ends all running statements. */
void sqlite_db_settle(struct sqlite_db *db);

/* Finalises all statements and closes the connection; fine on one that never opened. */
void sqlite_db_close(struct sqlite_db *db);

#endif

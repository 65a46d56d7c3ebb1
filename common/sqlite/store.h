/*
 * One SQLite file as a durable store: opening, migrating, transactions, statements, errors.
 *
 * For backends alone, which own the tables. WAL with synchronous=FULL: a write that returned 0 is
 * on disk. One connection writes and one reads, so a reader never waits for an fsync. Concurrent
 * writes of several threads are combined: the first thread executes all that are queued, each in a
 * savepoint of its own, in one transaction with one fsync. Any number of processes may use one file
 * and write to it in turn; a write waits for other processes up to a deadline.
 *
 * memory://NAME, for tests, is a store in this process's memory (SQLite's VFS "memdb"): all handles
 * of one name and schema share it until the last one closes. It has no log: a commit waits for the
 * readers, and a reader for the writer.
 *
 * Threading: any thread may call sqlite_store_*; a sqlite_db and its rows belong to the work
 * function that received them, until it returns. A handle does not survive fork(). Failures: busy
 * and I/O ERR_RETRY; full disk ERR_CAPACITY; a file that is unreadable, read-only, corrupt or
 * removed ERR_AUTH; at the open, a newer or foreign file ERR_PERMANENT; a violated UNIQUE or CHECK
 * ERR_CONFLICT; a value that is too large ERR_PERMANENT. The code is SQLite's extended result.
 */
#ifndef MAYFLY_SQLITE_STORE_H
#define MAYFLY_SQLITE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

struct sqlite_store; /* one open file */
struct sqlite_db;    /* one connection inside a transaction */
struct sqlite_rows;  /* a running statement */

/* --- opening --- */
struct sqlite_schema {
    const char *what;        /* for messages and metrics: "queue"; static */
    uint32_t application_id; /* stored in the file; a file with another one is rejected */
    /* steps[i] is the SQL (several statements) that migrates version i to i + 1. A released step
     * never changes; new ones are appended. PRAGMA user_version holds the version: step_count when
     * open. */
    const char *const *steps;
    int step_count;
};

#define SQLITE_STORE_BUSY_MS 5000 /* how long a write waits for other processes */

/* The absolute path of "sqlite:///path"; "memory://NAME" stays as it is. ERR_PERMANENT for anything
 * else: the URL takes no options. */
MUST_CHECK int sqlite_store_path(const char *url, char *out, size_t size, struct err *e);

/* Creates the file (mode 0660, less the umask unless its directory is setgid and writable for its
 * group: then programs of several users share it) and its directory if needed, and migrates an older
 * file in one transaction. schema is borrowed for the handle's life. */
MUST_CHECK int sqlite_store_open(const char *path, const struct sqlite_schema *schema,
                                 struct sqlite_store **out, struct err *e);
/* The same, for a program that only looks, or repairs: creates and migrates nothing. ERR_NOT_FOUND
 * if there is no file. */
MUST_CHECK int sqlite_store_open_existing(const char *path, const struct sqlite_schema *schema,
                                          struct sqlite_store **out, struct err *e);
void sqlite_store_close(struct sqlite_store *s); /* NULL is fine; no call may be in progress */

/* The path that it was opened with; valid until close. */
const char *sqlite_store_file(const struct sqlite_store *s);

/* --- transactions --- */
/* Returns 0 to commit, or -1 with *e to roll back its own changes. May run more than once for one
 * call, after its earlier changes were rolled back: so it sets all its outputs each time. It must
 * not block, and not call sqlite_store_*. */
typedef int sqlite_work_fn(struct sqlite_db *db, void *arg, struct err *e);

/* BEGIN IMMEDIATE, work, COMMIT; combined with other threads' writes. Durable on success. */
MUST_CHECK int sqlite_store_write(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                                  struct err *e);

/* The same on the reading connection: one consistent snapshot, read-only. */
MUST_CHECK int sqlite_store_read(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                                 struct err *e);

/* A number that changes with every commit to the file by any process; cheap to poll (microseconds).
 */
MUST_CHECK int sqlite_store_version(struct sqlite_store *s, int64_t *out, struct err *e);

/* Checks that the file still exists at its path and is readable. It also fails while this handle's
 * writes do (a read-only file, a full disk, another process's lock): see common/base/streak.h. */
MUST_CHECK int sqlite_store_ping(struct sqlite_store *s, struct err *e);

/* --- statements --- */
enum sqlite_type {
    SQL_END = 0,
    SQL_TYPE_NULL,
    SQL_TYPE_INT,
    SQL_TYPE_REAL,
    SQL_TYPE_TEXT,
    SQL_TYPE_BLOB
};
struct sqlite_value {
    enum sqlite_type type;
    int64_t num;
    double real;
    struct slice bytes;
};
static inline struct sqlite_value SQL_INT(int64_t v) {
    return (struct sqlite_value){.type = SQL_TYPE_INT, .num = v};
}

static inline struct sqlite_value
SQL_REAL(double v) {
    return (struct sqlite_value){.type = SQL_TYPE_REAL, .real = v};
}

static inline struct sqlite_value
SQL_TEXT(const char *v) {
    return (struct sqlite_value){.type = SQL_TYPE_TEXT, .bytes = slice_of(v)};
}

static inline struct sqlite_value
SQL_BLOB(struct slice v) {
    return (struct sqlite_value){.type = SQL_TYPE_BLOB, .bytes = v};
}

static inline struct sqlite_value
SQL_NULL(void) {
    return (struct sqlite_value){.type = SQL_TYPE_NULL};
}

/* Starts a statement: sqlite_query(db, "SELECT … WHERE id = ?1 AND x = ?2", SQL_INT(id), …). sql: a
 * string of static storage, prepared once per connection. Bytes are borrowed until the rows end. An
 * error is returned by the first sqlite_next. Never NULL. The rows end after the last one, at
 * sqlite_rows_end, and when the work function returns. */
#define sqlite_query(...) sqlite_query_values(__VA_ARGS__, (struct sqlite_value){0})
struct sqlite_rows *
sqlite_query_values(struct sqlite_db *db, const char *sql, ...);

/* Steps to the next row. *row: whether there is one. */
MUST_CHECK int sqlite_next(struct sqlite_rows *r, bool *row, struct err *e);
void sqlite_rows_end(struct sqlite_rows *r);

/* Reads one row; it neither steps nor ends the rows. */
typedef void sqlite_row_fn(struct sqlite_rows *r, void *arg);
/* Passes every remaining row to `each` and ends the rows. On failure some rows were passed already.
 * */
MUST_CHECK int sqlite_each(struct sqlite_rows *r, sqlite_row_fn *each, void *arg, struct err *e);

/* Columns of the present row, from 0. NULL reads as 0 and "". */
int64_t sqlite_int(struct sqlite_rows *r, int column);
double sqlite_real(struct sqlite_rows *r, int column);
/* Valid until the next sqlite_next of these rows. */
struct slice sqlite_bytes(struct sqlite_rows *r, int column);
/* Copies and terminates; cut at size - 1. */
void sqlite_text(struct sqlite_rows *r, int column, char *out, size_t size);

/* Runs a statement to its end: sqlite_exec(db, e, "UPDATE …", SQL_INT(id), …). */
#define sqlite_exec(...) sqlite_exec_values(__VA_ARGS__, (struct sqlite_value){0})
MUST_CHECK int sqlite_exec_values(struct sqlite_db *db, struct err *e, const char *sql, ...);
/* The same with the values in an array. */
MUST_CHECK int sqlite_exec_list(struct sqlite_db *db, struct err *e, const char *sql,
                                const struct sqlite_value *values, size_t n);

/* One row with one number: *out is the first column, or `otherwise` if there is no row. */
#define sqlite_number(...) sqlite_number_values(__VA_ARGS__, (struct sqlite_value){0})
MUST_CHECK int sqlite_number_values(struct sqlite_db *db, int64_t *out, int64_t otherwise,
                                    struct err *e, const char *sql, ...);

/* Rows the last INSERT, UPDATE or DELETE changed. */
int64_t sqlite_changes(struct sqlite_db *db);

#endif

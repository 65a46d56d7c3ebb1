#include "common/sqlite/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct meaning {
    int primary;
    enum err_class class;
    const char *advice;
};

/* SQLite's primary results; any other is unknown and hence worth a retry. Only TOOBIG is about what
 * was written; the rest is about the file or the host. */
static const struct meaning meanings[] = {
    {SQLITE_BUSY, ERR_RETRY, "another process holds it; the call is retried"},
    {SQLITE_LOCKED, ERR_RETRY, "another connection holds it; the call is retried"},
    {SQLITE_IOERR, ERR_RETRY, "check the disk and the system's log"},
    {SQLITE_NOMEM, ERR_RETRY, "the host is short of memory"},
    {SQLITE_INTERRUPT, ERR_RETRY, "the call is retried"},
    {SQLITE_FULL, ERR_CAPACITY, "free space on its disk"},
    {SQLITE_CONSTRAINT, ERR_CONFLICT, "the row exists or violates a constraint"},
    {SQLITE_CORRUPT, ERR_AUTH, "the file is damaged: stop the programs and restore or remove it"},
    {SQLITE_NOTADB, ERR_AUTH, "the file is not an SQLite database: use another or remove it"},
    {SQLITE_CANTOPEN, ERR_AUTH, "check that the directory exists and is writable"},
    {SQLITE_READONLY, ERR_AUTH, "check the permissions of the file and of its directory"},
    {SQLITE_PERM, ERR_AUTH, "check the permissions of the file and of its directory"},
    {SQLITE_AUTH, ERR_AUTH, "check the permissions of the file and of its directory"},
    {SQLITE_TOOBIG, ERR_PERMANENT, "the value is too large"},
    {SQLITE_MISUSE, ERR_AUTH, "this is a bug"},
    {SQLITE_RANGE, ERR_AUTH, "this is a bug"},
    {SQLITE_MISMATCH, ERR_AUTH, "this is a bug"},
    {SQLITE_ERROR, ERR_AUTH, "this is a bug, or the file was changed by hand"},
};

static const struct meaning *meaning_of(int rc, int errnum)
{
    static const struct meaning unknown = {0, ERR_RETRY, "the call is retried"};
    int primary = rc & 0xff;
    /* A full disk is an I/O error when SQLite grows the index of its log. */
    if (primary == SQLITE_IOERR && (errnum == ENOSPC || errnum == EDQUOT)) {
        primary = SQLITE_FULL;
    }
    for (size_t i = 0; i < COUNT_OF(meanings); i++) {
        if (meanings[i].primary == primary) {
            return &meanings[i];
        }
    }
    return &unknown;
}

int sqlite_db_error(struct sqlite_db *db, int rc, const char *doing, struct err *e)
{
    int errnum = db->handle != NULL ? sqlite3_system_errno(db->handle) : 0;
    const char *said = db->handle != NULL ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
    const struct meaning *m = meaning_of(rc, errnum);
    bool system = errnum != 0 && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN ||
                                  (rc & 0xff) == SQLITE_FULL);
    return err_set(e, m->class, rc, "cannot %s the %s file %s: %s%s%s; %s", doing, db->what,
                   db->path, said, system ? ": " : "", system ? strerror(errnum) : "", m->advice);
}

/* An idle statement of that text, or a new one: two that run at once (a query inside the loop over
 * the same query) get a statement each. */
static struct sqlite_rows *find_or_add_statement(struct sqlite_db *db, const char *sql)
{
    for (size_t i = 0; i < db->row_count; i++) {
        if (db->rows[i]->sql == sql && !db->rows[i]->running) {
            return db->rows[i];
        }
    }
    ASSERT(db->row_count < SQLITE_STATEMENTS_MAX);
    struct sqlite_rows *r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    r->db = db;
    r->sql = sql;
    db->rows[db->row_count++] = r;
    return r;
}

static int bind_by_type(struct sqlite_rows *r, int index, const struct sqlite_value *v)
{
    const char *bytes = v->bytes.ptr != NULL ? v->bytes.ptr : "";
    switch (v->type) {
    case SQL_TYPE_INT:
        return sqlite3_bind_int64(r->statement, index, v->num);
    case SQL_TYPE_REAL:
        return sqlite3_bind_double(r->statement, index, v->real);
    case SQL_TYPE_TEXT:
        return sqlite3_bind_text64(r->statement, index, bytes, v->bytes.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case SQL_TYPE_BLOB:
        return sqlite3_bind_blob64(r->statement, index, bytes, v->bytes.len, SQLITE_STATIC);
    case SQL_TYPE_NULL:
    case SQL_END:
        break;
    }
    return sqlite3_bind_null(r->statement, index);
}

/* The first sqlite_next returns the error. */
static void keep_first_error(struct sqlite_rows *r, int rc)
{
    if (rc != SQLITE_OK && r->error.class == ERR_NONE) {
        (void)sqlite_db_error(r->db, rc, "query", &r->error);
    }
}

static struct sqlite_rows *start_statement(struct sqlite_db *db, const char *sql)
{
    struct sqlite_rows *r = find_or_add_statement(db, sql);
    r->running = true;
    r->error = (struct err){0};
    if (r->statement == NULL) {
        keep_first_error(r, sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                               &r->statement, NULL));
    }
    return r;
}

static void bind_value(struct sqlite_rows *r, int index, const struct sqlite_value *v)
{
    if (r->error.class == ERR_NONE) {
        keep_first_error(r, bind_by_type(r, index, v));
    }
}

static struct sqlite_rows *query_va(struct sqlite_db *db, const char *sql, va_list values)
{
    struct sqlite_rows *r = start_statement(db, sql);
    for (int index = 1;; index++) {
        struct sqlite_value v = va_arg(values, struct sqlite_value);
        if (v.type == SQL_END) {
            return r;
        }
        bind_value(r, index, &v);
    }
}

struct sqlite_rows *sqlite_query_values(struct sqlite_db *db, const char *sql, ...)
{
    va_list values;
    va_start(values, sql);
    struct sqlite_rows *r = query_va(db, sql, values);
    va_end(values);
    return r;
}

void sqlite_rows_end(struct sqlite_rows *r)
{
    if (r->statement != NULL) {
        (void)sqlite3_reset(r->statement);
        (void)sqlite3_clear_bindings(r->statement);
    }
    r->running = false;
}

int sqlite_next(struct sqlite_rows *r, bool *row, struct err *e)
{
    ASSERT(r->running);
    if (r->error.class != ERR_NONE) {
        *e = r->error;
        sqlite_rows_end(r);
        return -1;
    }
    int rc = sqlite3_step(r->statement);
    if (rc == SQLITE_ROW) {
        *row = true;
        return 0;
    }
    if (rc == SQLITE_DONE) {
        *row = false;
        sqlite_rows_end(r);
        return 0;
    }
    (void)sqlite_db_error(r->db, rc, sqlite3_stmt_readonly(r->statement) ? "read" : "write to", e);
    sqlite_rows_end(r);
    return -1;
}

int sqlite_each(struct sqlite_rows *r, sqlite_row_fn *each, void *arg, struct err *e)
{
    for (;;) {
        bool row;
        if (sqlite_next(r, &row, e) != 0) {
            return -1;
        }
        if (!row) {
            return 0;
        }
        each(r, arg);
    }
}

int64_t sqlite_int(struct sqlite_rows *r, int column)
{
    return sqlite3_column_int64(r->statement, column);
}

double sqlite_real(struct sqlite_rows *r, int column)
{
    return sqlite3_column_double(r->statement, column);
}

struct slice sqlite_bytes(struct sqlite_rows *r, int column)
{
    /* The pointer first: fetching it may convert the value and so change its length. */
    const char *ptr = sqlite3_column_blob(r->statement, column);
    return (struct slice){ptr, (size_t)sqlite3_column_bytes(r->statement, column)};
}

void sqlite_text(struct sqlite_rows *r, int column, char *out, size_t size)
{
    struct slice s = sqlite_bytes(r, column);
    size_t len = s.len < size ? s.len : size - 1;
    if (len > 0) {
        memcpy(out, s.ptr, len);
    }
    out[len] = '\0';
}

static int run_to_end(struct sqlite_rows *r, struct err *e)
{
    bool row = true;
    while (row) {
        if (sqlite_next(r, &row, e) != 0) {
            return -1;
        }
    }
    return 0;
}

int sqlite_exec_values(struct sqlite_db *db, struct err *e, const char *sql, ...)
{
    va_list values;
    va_start(values, sql);
    struct sqlite_rows *r = query_va(db, sql, values);
    va_end(values);
    return run_to_end(r, e);
}

int sqlite_exec_list(struct sqlite_db *db, struct err *e, const char *sql,
                     const struct sqlite_value *values, size_t n)
{
    struct sqlite_rows *r = start_statement(db, sql);
    for (size_t i = 0; i < n; i++) {
        bind_value(r, (int)i + 1, &values[i]);
    }
    return run_to_end(r, e);
}

int sqlite_number_values(struct sqlite_db *db, int64_t *out, int64_t otherwise, struct err *e,
                         const char *sql, ...)
{
    va_list values;
    va_start(values, sql);
    struct sqlite_rows *r = query_va(db, sql, values);
    va_end(values);
    bool row = false;
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    *out = otherwise;
    if (row) {
        *out = sqlite_int(r, 0);
        sqlite_rows_end(r);
    }
    return 0;
}

int64_t sqlite_changes(struct sqlite_db *db)
{
    return sqlite3_changes64(db->handle);
}

void sqlite_db_end_all(struct sqlite_db *db)
{
    for (size_t i = 0; i < db->row_count; i++) {
        if (db->rows[i]->running) {
            sqlite_rows_end(db->rows[i]);
        }
    }
}

void sqlite_db_close(struct sqlite_db *db)
{
    for (size_t i = 0; i < db->row_count; i++) {
        (void)sqlite3_finalize(db->rows[i]->statement);
        free(db->rows[i]);
    }
    db->row_count = 0;
    (void)sqlite3_close(db->handle);
    db->handle = NULL;
}

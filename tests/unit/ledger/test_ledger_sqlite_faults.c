/*
 * Every step of the SQLite ledger while one of its statements fails: see ledger_faults.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/base/buf.h"
#include "common/base/fs.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_faults.h"

#define DUMP_MAX ((size_t)16 * 1024 * 1024)

/* --- the statement that fails --- */
static int fails_at; /* counted from 1; 0: none does */
static int fails_with;
static struct faults_seen seen;

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);

/* A ROLLBACK ends the transaction whatever it returns. */
int __wrap_sqlite3_step(sqlite3_stmt *statement)
{
    if (strcmp(sqlite3_sql(statement), "ROLLBACK") != 0 && ++seen.all == fails_at) {
        return fails_with;
    }
    return __real_sqlite3_step(statement);
}

static struct faults_seen arm(int n)
{
    struct faults_seen before = seen;
    seen = (struct faults_seen){.all = 0};
    fails_at = n;
    return before;
}

/* --- files --- */
static char dir[64];
static sqlite3 *behind; /* the file, beside the ledger */

static struct ledger *open_new(void)
{
    char path[128];
    char url[160];
    struct ledger *l = NULL;
    struct err e;
    /* Thousands of commits: in memory, where there is such a directory. */
    const char *above = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(dir, sizeof dir, "%s/mayfly-ledger-XXXXXX", above);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/ledger.db", dir);
    (void)snprintf(url, sizeof url, "sqlite://%s", path);
    MUST(ledger_open(url, &l, &e));
    assert_int_equal(sqlite3_open(path, &behind), SQLITE_OK);
    return l;
}

static int remove_file(void **state)
{
    struct err e;
    (void)state;
    if (dir[0] != '\0') {
        MUST(fs_remove_tree(dir, &e));
        dir[0] = '\0';
    }
    return 0;
}

static void close_and_remove(struct ledger *l)
{
    assert_int_equal(sqlite3_close(behind), SQLITE_OK);
    ledger_close(l);
    (void)remove_file(NULL);
}

static void dump_rows(struct buf *out, const char *sql)
{
    sqlite3_stmt *rows = NULL;
    int rc;
    assert_int_equal(sqlite3_prepare_v2(behind, sql, -1, &rows, NULL), SQLITE_OK);
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(rows); i++) {
            buf_printf(out, "%s|", (const char *)sqlite3_column_text(rows, i));
        }
        buf_append_byte(out, '\n');
    }
    assert_int_equal(rc, SQLITE_DONE);
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
}

static char *dump(void)
{
    static const char *const tables[] = {
        "SELECT 'job', * FROM jobs",      "SELECT 'vm', * FROM vms",
        "SELECT 'tally', * FROM tally",   "SELECT 'scope', * FROM scopes",
        "SELECT 'line', * FROM timeline", "SELECT 'bucket', * FROM buckets",
        "SELECT 'cell', * FROM cells",
    };
    struct buf out;
    buf_init(&out, DUMP_MAX);
    /* Nobody holds the file's lock. */
    assert_int_equal(sqlite3_exec(behind, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        dump_rows(&out, tables[i]);
    }
    assert_int_equal(sqlite3_exec(behind, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    char *text = slice_dup(buf_slice(&out));
    buf_fini(&out);
    return text;
}

/* --- cases --- */
static void fail_with(int code, enum err_class class)
{
    const struct faults_store store = {
        .open = open_new, .close = close_and_remove, .dump = dump, .arm = arm, .fails = class};
    fails_with = code;
    faults_refuse(&store);
}

static void step_of_which_a_statement_meets_an_io_error_changes_nothing(void **state)
{
    (void)state;
    fail_with(SQLITE_IOERR_WRITE, ERR_RETRY);
}

static void step_of_which_a_statement_meets_a_full_disk_changes_nothing(void **state)
{
    (void)state;
    fail_with(SQLITE_FULL, ERR_CAPACITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(step_of_which_a_statement_meets_an_io_error_changes_nothing,
                                  remove_file),
        cmocka_unit_test_teardown(step_of_which_a_statement_meets_a_full_disk_changes_nothing,
                                  remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What each result of SQLite means. Of all that a file or a disk may refuse nothing is about one
 * job or message, so nothing but a value that is too large is permanent.
 */
#include <sqlite3.h>

#include "common/sqlite/internal.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

static void results_are_the_files_trouble_and_say_what_to_do(void **state)
{
    static const struct {
        int result;
        enum err_class class;
        const char *says;
    } cases[] = {
        {SQLITE_BUSY, ERR_RETRY, "another process holds it"},
        {SQLITE_BUSY_SNAPSHOT, ERR_RETRY, "another process holds it"},
        {SQLITE_LOCKED, ERR_RETRY, "another connection holds it"},
        {SQLITE_IOERR, ERR_RETRY, "check the disk"},
        {SQLITE_IOERR_FSYNC, ERR_RETRY, "check the disk"},
        {SQLITE_NOMEM, ERR_RETRY, "short of memory"},
        {SQLITE_INTERRUPT, ERR_RETRY, "retried"},
        {SQLITE_PROTOCOL, ERR_RETRY, "retried"},
        {SQLITE_FULL, ERR_CAPACITY, "free space on its disk"},
        {SQLITE_CONSTRAINT_UNIQUE, ERR_CONFLICT, "constraint"},
        {SQLITE_READONLY, ERR_AUTH, "check the permissions"},
        {SQLITE_READONLY_DIRECTORY, ERR_AUTH, "check the permissions"},
        {SQLITE_PERM, ERR_AUTH, "check the permissions"},
        {SQLITE_AUTH, ERR_AUTH, "check the permissions"},
        {SQLITE_CANTOPEN, ERR_AUTH, "check that the directory exists"},
        {SQLITE_CORRUPT, ERR_AUTH, "restore or remove it"},
        {SQLITE_NOTADB, ERR_AUTH, "not an SQLite database"},
        {SQLITE_ERROR, ERR_AUTH, "changed by hand"},
        {SQLITE_TOOBIG, ERR_PERMANENT, "the value is too large"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sqlite_db db = {.what = "ledger", .path = "/var/lib/mayfly/ledger.db"};
        struct err e;
        int rc = sqlite_db_error(&db, cases[i].result, "commit", &e);
        must_fail_saying(rc, &e, cases[i].class, cases[i].says);
        must_fail_saying(rc, &e, cases[i].class, "the ledger file /var/lib/mayfly/ledger.db");
        assert_int_equal(e.code, cases[i].result);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_files_trouble_and_say_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

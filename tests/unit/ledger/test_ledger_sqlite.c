/*
 * What only the SQLite ledger has: its file. Newer, older, foreign and corrupt ones, and the rules
 * that its triggers keep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/metrics.h"
#include "common/ledger/circuit.h"
#include "common/ledger/ledger.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_way.h"

struct file {
    char dir[64];
    char path[128];
    char url[160];
};

static int setup(void **state)
{
    struct file *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/mayfly-ledger-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/ledger.db", f->dir);
    (void)snprintf(f->url, sizeof f->url, "sqlite://%s", f->path);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct file *f = *state;
    struct err e;
    assert_int_equal(fs_remove_tree(f->dir, &e), 0);
    free(f);
    return 0;
}

static struct ledger *must_open(const struct file *f)
{
    struct ledger *l = NULL;
    struct err e;
    if (ledger_open(f->url, &l, &e) != 0) {
        fail_msg("%s", e.message);
    }
    return l;
}

/* As somebody who edits the file; returns SQLite's result. */
static int run_sql(const struct file *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return rc;
}

static int64_t ask_number(const struct file *f, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return n;
}

static struct ledger_vm reserve(struct ledger *l, int64_t job_id)
{
    struct job_event ev = {.job.id = job_id, .job.repository = "o/r", .job.class_name = "small"};
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "o",
                               .caps = {.fleet = 9, .class_max = 9},
                               .deployment = "test",
                               .provider = "qemu",
                               .host = ""};
    struct ledger_reservation out;
    struct err e;
    assert_int_equal(ledger_reserve(l, &r, &out, &e), 0);
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    return out.vm;
}

/* --- versions --- */
static void open_newer_file_is_refused_and_left_alone(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    struct err e;
    ledger_close(l);
    l = NULL;
    assert_int_equal(run_sql(f, "PRAGMA user_version = 99"), SQLITE_OK);
    assert_int_equal(ledger_open(f->url, &l, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "99"));
    assert_non_null(strstr(e.message, "newer"));
    assert_null(l);
    assert_int_equal(ask_number(f, "PRAGMA user_version"), 99);
}

/* Nobody could write or remove it, so nothing may fail for it. */
static void cell_without_a_name_is_passed_over(void **state)
{
    const struct file *f = *state;
    struct ledger_cell *cells = NULL;
    size_t n = 9;
    struct err e;
    struct ledger *l = must_open(f);
    assert_int_equal(run_sql(f, "INSERT INTO cells VALUES ('circuit', '', 1, 'x'), "
                                "('circuit', 'github:api', 1, 'x')"),
                     SQLITE_OK);
    assert_int_equal(ledger_cell_list(l, CIRCUIT_KIND, &cells, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(cells[0].name, "github:api");
    free(cells);
    assert_int_equal(circuits_tidy(l, clock_wall_ms(), &e), 0);
    ledger_close(l);
}

static void open_older_file_migrates_and_keeps_its_rows(void **state)
{
    const struct file *f = *state;
    struct err e;
    struct ledger_vm vm;
    struct ledger *l = must_open(f);
    vm = reserve(l, 1);
    ledger_close(l);
    /* As a file of version 2 was: without the tables of the third step, the trigger of the fourth and the
     * later index. */
    assert_int_equal(
        run_sql(
            f, "DROP TABLE timeline; DROP TABLE buckets;"
               "DROP TABLE cells; DROP TRIGGER vm_of_another; DROP INDEX jobs_running; "
               "ALTER TABLE vms DROP COLUMN image_version; ALTER TABLE vms DROP COLUMN image_part; "
               "ALTER TABLE vms DROP COLUMN hold_ms; "
               "DROP TRIGGER vm_of_target_added; DROP TRIGGER vm_of_target_gone; "
               "ALTER TABLE vms DROP COLUMN target; "
               "ALTER TABLE jobs DROP COLUMN workflow; "
               "PRAGMA user_version = 2"),
        SQLITE_OK);
    l = must_open(f);
    assert_int_equal(ask_number(f, "PRAGMA user_version"), 8);
    assert_int_equal(
        ask_number(f, "SELECT count(*) FROM sqlite_master WHERE name = 'jobs_running'"), 1);
    assert_int_equal(ledger_vm_get(l, vm.name, &vm, &e), 0);
    assert_int_equal(ledger_log_event(l, 1, "", "retry", "after the migration", &e), 0);
    ledger_close(l);
}

/* --- other files --- */
static void open_foreign_database_is_refused_and_left_alone(void **state)
{
    const struct file *f = *state;
    struct ledger *l = NULL;
    struct err e;
    assert_int_equal(run_sql(f, "CREATE TABLE cats (name TEXT)"), SQLITE_OK);
    assert_int_equal(ledger_open(f->url, &l, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(ask_number(f, "SELECT count(*) FROM sqlite_master"), 1);
}

static void open_corrupt_file_is_refused(void **state)
{
    const struct file *f = *state;
    struct ledger *l = NULL;
    struct err e;
    char noise[8192];
    memset(noise, 'n', sizeof noise);
    assert_int_equal(fs_write_atomic(f->path, (struct slice){noise, sizeof noise}, 0600, &e), 0);
    assert_int_equal(ledger_open(f->url, &l, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, f->path));
}

static void calls_on_a_file_damaged_meanwhile_fail_and_do_not_invent(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    struct ledger_count *counts = NULL;
    size_t n = 0;
    struct err e;
    (void)reserve(l, 1);
    ledger_close(l);
    assert_int_equal(run_sql(f, "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = "
                                "9999 WHERE name = 'tally'"),
                     SQLITE_OK);
    l = NULL;
    int rc = ledger_open(f->url, &l, &e);
    if (rc == 0) {
        rc = ledger_counts(l, &counts, &n, &e);
        ledger_close(l);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_null(counts);
}

static void lease_that_is_none_is_an_error(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    bool held = true;
    int64_t fence = 5;
    struct err e;
    assert_int_equal(run_sql(f, "INSERT INTO cells VALUES ('lease', 'sweep', 1, '9 rubbish')"),
                     SQLITE_OK);
    must_fail_saying(ledger_lease(l, "sweep", "one", 1000, &held, &fence, &e), &e, ERR_PERMANENT,
                     "sweep");
    must_fail(ledger_lease_release(l, "sweep", "one", &e), &e, ERR_PERMANENT);
    assert_true(held && fence == 5);
    ledger_close(l);
}

/* --- the triggers --- */
static void counts_below_zero_are_impossible(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    struct ledger_vm vm = reserve(l, 1);
    struct ledger_advance a = {.vm = vm.name, .to = VM_ENDING};
    struct err e;
    assert_int_equal(run_sql(f, "UPDATE tally SET n = 0 WHERE kind = 'supply'"), SQLITE_OK);
    assert_int_equal(ledger_vm_advance(l, &a, NULL, &e), -1); /* rather than a wrong count */
    assert_int_equal(ask_number(f, "SELECT state FROM vms"), VM_RESERVED);
    ledger_close(l);
}

static void vm_that_holds_a_slot_cannot_be_removed(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    (void)reserve(l, 1);
    assert_int_equal(run_sql(f, "DELETE FROM vms"), SQLITE_CONSTRAINT);
    assert_int_equal(ask_number(f, "SELECT count(*) FROM vms"), 1);
    ledger_close(l);
}

/* Counted anew, every count is the one that the triggers kept. */
static void tallies_equal_a_count_of_the_rows(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    struct err e;
    for (int64_t id = 1; id <= 5; id++) {
        struct ledger_vm vm =
            way_reserve_in(l, id, id == 2 || id == 5 ? "" : "east-1", way_caps()).vm;
        struct ledger_advance end = {.vm = vm.name, .to = VM_ENDING};
        struct ledger_advance gone = {.vm = vm.name, .to = VM_GONE};
        assert_int_equal(id > 2 ? 0 : ledger_vm_advance(l, &end, NULL, &e), 0);
        assert_int_equal(id > 1 ? 0 : ledger_vm_advance(l, &gone, NULL, &e), 0);
    }
    ledger_close(l);
    assert_int_equal(run_sql(f, "CREATE VIEW counted AS "
                                "SELECT 'job' k, class_name a, CAST(state AS TEXT) b, count(*) n "
                                "FROM jobs GROUP BY 2, 3 UNION ALL "
                                "SELECT 'vm', class_name, CAST(state AS TEXT), count(*) FROM vms "
                                "GROUP BY 2, 3 UNION ALL "
                                "SELECT 'demand', scope, class_name, count(*) FROM jobs "
                                "WHERE state = 1 GROUP BY 2, 3 UNION ALL "
                                "SELECT 'supply', scope, class_name, count(*) FROM vms "
                                "WHERE state < 3 GROUP BY 2, 3 UNION ALL "
                                "SELECT 'repository', repository, '', count(*) FROM vms "
                                "WHERE state < 5 GROUP BY 2 UNION ALL "
                                "SELECT 'target', target, '', count(*) FROM vms "
                                "WHERE state < 5 AND target <> '' GROUP BY 2 UNION ALL "
                                "SELECT 'freed', '', '', count(*) FROM vms WHERE state = 5"),
                     SQLITE_OK);
    assert_true(ask_number(f, "SELECT count(*) FROM counted") >= 7);
    assert_int_equal(ask_number(f, "SELECT count(*) FROM (SELECT * FROM counted EXCEPT "
                                   "SELECT * FROM tally)"),
                     0);
    assert_int_equal(ask_number(f, "SELECT count(*) FROM (SELECT * FROM tally WHERE n > 0 EXCEPT "
                                   "SELECT * FROM counted)"),
                     0);
}

/* --- columns of a newer version --- */
static void columns_of_a_newer_version_are_kept(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    struct ledger_vm vm = reserve(l, 1);
    struct job_event ev = {.action = JOB_ACTION_COMPLETED,
                           .job = {.id = 1, .repository = "o/r", .class_name = "small"}};
    struct ledger_effect effect;
    struct ledger_advance gone = {.vm = vm.name, .to = VM_GONE};
    struct err e;
    assert_int_equal(run_sql(f, "ALTER TABLE jobs ADD COLUMN future INTEGER;"
                                "ALTER TABLE vms ADD COLUMN future INTEGER;"
                                "UPDATE jobs SET future = 5; UPDATE vms SET future = 7"),
                     SQLITE_OK);
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", vm.name);
    assert_int_equal(ledger_apply_event(l, &ev, "o", &effect, &e), 0);
    assert_int_equal(ledger_vm_advance(l, &gone, NULL, &e), 0);
    assert_int_equal(ask_number(f, "SELECT future FROM jobs WHERE state = 3"), 5);
    assert_int_equal(ask_number(f, "SELECT future FROM vms WHERE state = 5"), 7);
    ledger_close(l);
}

/* --- a statement that fails --- */
/* Every write of a reservation is refused once: none of it may remain, and the same message gets
 * its VM afterwards. */
static void reservation_of_which_a_write_fails_leaves_nothing(void **state)
{
    static const char *const writes[] = {
        "INSERT ON jobs",
        "INSERT ON vms",
        "INSERT ON timeline WHEN NEW.what = 'queued'",
        "INSERT ON timeline WHEN NEW.what = 'reserved'",
        "INSERT ON buckets WHEN NEW.name = 'launch'",
        "INSERT ON buckets WHEN NEW.name = 'launch.small'",
    };
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    struct job_event ev = {.job = {.id = 1, .repository = "o/r", .class_name = "small"}};
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "o",
                               .caps = {.fleet = 9,
                                        .class_max = 9,
                                        .rate_per_second = 1,
                                        .rate_burst = 9,
                                        .class_rate_per_second = 1,
                                        .class_rate_burst = 9},
                               .deployment = "test",
                               .provider = "qemu",
                               .host = ""};
    struct ledger_reservation out = {.outcome = LEDGER_OBSOLETE};
    struct err e;
    for (size_t i = 0; i < COUNT_OF(writes); i++) {
        char sql[256];
        (void)snprintf(sql, sizeof sql,
                       "CREATE TRIGGER refuse BEFORE %s BEGIN SELECT RAISE(ABORT, 'no'); END",
                       writes[i]);
        assert_int_equal(run_sql(f, sql), SQLITE_OK);
        assert_int_equal(ledger_reserve(l, &r, &out, &e), -1);
        assert_int_equal(out.outcome, LEDGER_OBSOLETE);
        assert_int_equal(ask_number(f, "SELECT (SELECT count(*) FROM jobs) +"
                                       " (SELECT count(*) FROM vms) +"
                                       " (SELECT count(*) FROM timeline) +"
                                       " (SELECT count(*) FROM buckets) +"
                                       " (SELECT count(*) FROM tally WHERE n > 0)"),
                         0);
        assert_int_equal(run_sql(f, "DROP TRIGGER refuse"), SQLITE_OK);
    }
    assert_int_equal(ledger_reserve(l, &r, &out, &e), 0);
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    ledger_close(l);
}

/* --- a clock that is set back --- */
static int64_t wall_ms;

static int64_t wall_now(void)
{
    return wall_ms;
}

static void launch_rate_goes_on_after_the_clock_was_set_back(void **state)
{
    static const struct clock_source fixed = {.mono_us = wall_now, .wall_ms = wall_now};
    const struct file *f = *state;
    struct ledger_caps caps = way_caps();
    caps.rate_per_second = caps.class_rate_per_second = 1;
    caps.rate_burst = caps.class_rate_burst = 1;
    wall_ms = INT64_C(1800000000000);
    clock_set_source(&fixed);
    struct ledger *l = must_open(f);
    assert_int_equal(way_reserve(l, 1, caps).outcome, LEDGER_RESERVED);
    wall_ms -= 300000;
    assert_int_equal(way_reserve(l, 2, caps).outcome, LEDGER_RATE);
    wall_ms += 1000;
    assert_int_equal(way_reserve(l, 2, caps).outcome, LEDGER_RESERVED);
    ledger_close(l);
    clock_set_source(NULL);
}

/* --- transactions --- */
/* Writes so far of all ledgers of this process. */
static int64_t writes_made(void)
{
    static const char name[] = "mayfly_sqlite_write_ops_total{";
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_render(&text);
    const char *at = strstr(text.data, name);
    int64_t n = at != NULL ? strtoll(strchr(at, '}') + 1, NULL, 10) : 0;
    buf_fini(&text);
    return n;
}

static void launch_and_completed_are_few_transactions(void **state)
{
    const struct file *f = *state;
    struct ledger *l = must_open(f);
    int64_t before = writes_made();
    struct ledger_vm vm = way_launch(l, 1);
    assert_int_equal(writes_made() - before, 4); /* to look at the room is none */
    way_note(l, 1, JOB_ACTION_IN_PROGRESS, vm.name);
    before = writes_made();
    way_complete(l, 1, vm.name);
    assert_int_equal(writes_made() - before, 3);
    ledger_close(l);
}

#define FILE_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(open_newer_file_is_refused_and_left_alone),
        FILE_TEST(cell_without_a_name_is_passed_over),
        FILE_TEST(open_older_file_migrates_and_keeps_its_rows),
        FILE_TEST(open_foreign_database_is_refused_and_left_alone),
        FILE_TEST(open_corrupt_file_is_refused),
        FILE_TEST(calls_on_a_file_damaged_meanwhile_fail_and_do_not_invent),
        FILE_TEST(lease_that_is_none_is_an_error),
        FILE_TEST(counts_below_zero_are_impossible),
        FILE_TEST(vm_that_holds_a_slot_cannot_be_removed),
        FILE_TEST(launch_rate_goes_on_after_the_clock_was_set_back),
        FILE_TEST(launch_and_completed_are_few_transactions),
        FILE_TEST(columns_of_a_newer_version_are_kept),
        FILE_TEST(reservation_of_which_a_write_fails_leaves_nothing),
        FILE_TEST(tallies_equal_a_count_of_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

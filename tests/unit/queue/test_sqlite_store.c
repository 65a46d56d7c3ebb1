/*
 * The SQLite store: transactions, combining, statements.
 */
#include "tests/unit/queue/test_sqlite_store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/fs.h"
#include "common/base/metrics.h"

static const char *const steps[] = {
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE); CREATE TABLE other (n INTEGER)",
    "ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 7",
};
const struct sqlite_schema notes_v1 = {"notes", 0x4d667431, steps, 1};
const struct sqlite_schema notes_v2 = {"notes", 0x4d667431, steps, 2};

/* --- shared --- */
int store_fixture_setup(void **state)
{
    struct store_fixture *f = calloc(1, sizeof *f);
    const char *temp = getenv("TMPDIR");
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "%s/mayfly-store-XXXXXX", temp != NULL ? temp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/notes.db", f->dir);
    *state = f;
    return 0;
}

int store_fixture_teardown(void **state)
{
    struct store_fixture *f = *state;
    struct err e;
    assert_int_equal(fs_remove_tree(f->dir, &e), 0);
    free(f);
    return 0;
}

struct sqlite_store *must_open(const char *path, const struct sqlite_schema *schema)
{
    struct sqlite_store *s = NULL;
    struct err e;
    MUST(sqlite_store_open(path, schema, &s, &e));
    return s;
}

int insert_note(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_exec(db, e, "INSERT INTO notes (text) VALUES (?1)", SQL_TEXT(arg));
}

static int count_work(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, -1, e, "SELECT count(*) FROM notes");
}

int64_t count_notes(struct sqlite_store *s)
{
    int64_t n = -1;
    struct err e;
    MUST(sqlite_store_read(s, count_work, &n, &e));
    return n;
}

/* --- transactions --- */
static int insert_then_fail(struct sqlite_db *db, void *arg, struct err *e)
{
    if (insert_note(db, arg, e) != 0) {
        return -1;
    }
    return err_set(e, ERR_NOT_FOUND, 7, "changed its mind");
}

static void failed_work_leaves_nothing_and_tells_its_own_error(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct err e;
    char a[] = "a";
    must_fail_saying(sqlite_store_write(s, insert_then_fail, a, &e), &e, ERR_NOT_FOUND,
                     "changed its mind");
    assert_int_equal(count_notes(s), 0);
    MUST(sqlite_store_write(s, insert_note, a, &e));
    assert_int_equal(count_notes(s), 1);
    must_fail_saying(sqlite_store_write(s, insert_note, a, &e), &e, ERR_CONFLICT, "UNIQUE");
    sqlite_store_close(s);
}

static void reading_connection_cannot_write(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct err e;
    char a[] = "a";
    must_fail_saying(sqlite_store_read(s, insert_note, a, &e), &e, ERR_AUTH, "");
    assert_int_equal(count_notes(s), 0);
    sqlite_store_close(s);
}

static void version_moves_with_every_commit_only(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct sqlite_store *other = must_open(f->path, &notes_v1);
    int64_t v[4];
    struct err e;
    char a[] = "a";
    char b[] = "b";
    MUST(sqlite_store_version(s, &v[0], &e));
    MUST(sqlite_store_version(s, &v[1], &e));
    assert_int_equal(v[0], v[1]);
    MUST(sqlite_store_write(s, insert_note, a, &e));
    MUST(sqlite_store_version(s, &v[2], &e));
    assert_int_not_equal(v[1], v[2]);
    MUST(sqlite_store_write(other, insert_note, b, &e));
    MUST(sqlite_store_version(s, &v[3], &e));
    assert_int_not_equal(v[2], v[3]);
    sqlite_store_close(other);
    sqlite_store_close(s);
}

/* --- combining --- */
#define WRITERS 6
#define EACH 60

struct writer {
    struct sqlite_store *s;
    int number;
    int failed;  /* of the works that had to fail */
    int trouble; /* anything else */
    pthread_t thread;
};

/* Every third work fails after its insert; the others must not feel it. */
static void *write_notes(void *arg)
{
    struct writer *w = arg;
    for (int i = 0; i < EACH; i++) {
        char text[32];
        struct err e;
        (void)snprintf(text, sizeof text, "%d-%d", w->number, i);
        if (i % 3 == 0) {
            w->failed += sqlite_store_write(w->s, insert_then_fail, text, &e) == -1 && e.code == 7;
        } else {
            w->trouble += sqlite_store_write(w->s, insert_note, text, &e) != 0;
        }
    }
    return NULL;
}

static void combined_works_succeed_and_fail_each_for_itself(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct metric *commits = metrics_counter("mayfly_sqlite_commits_total", "store=\"notes\"");
    struct metric *works = metrics_counter("mayfly_sqlite_write_ops_total", "store=\"notes\"");
    int64_t commits_before = metric_value(commits);
    int64_t works_before = metric_value(works);
    int64_t notes = 0;
    /* Again until some were in fact combined. */
    for (int round = 0;
         notes == 0 || metric_value(works) - works_before == metric_value(commits) - commits_before;
         round++) {
        struct writer w[WRITERS];
        for (int i = 0; i < WRITERS; i++) {
            w[i] = (struct writer){s, round * WRITERS + i, 0, 0, 0};
            assert_int_equal(pthread_create(&w[i].thread, NULL, write_notes, &w[i]), 0);
        }
        for (int i = 0; i < WRITERS; i++) {
            assert_int_equal(pthread_join(w[i].thread, NULL), 0);
            assert_int_equal(w[i].failed, EACH / 3);
            assert_int_equal(w[i].trouble, 0);
        }
        notes += WRITERS * EACH * 2 / 3;
        assert_int_equal(count_notes(s), notes);
    }
    sqlite_store_close(s);
}

/* --- statements --- */
static int round_trip(struct sqlite_db *db, void *arg, struct err *e)
{
    bool row = false;
    char text[4];
    (void)arg;
    struct sqlite_rows *r =
        sqlite_query(db, "SELECT ?1, ?2, ?3, ?4, ?5, ?6", SQL_INT(INT64_MIN), SQL_REAL(0.25),
                     SQL_TEXT("four"), SQL_BLOB(SLICE("a\0b")), SQL_NULL(), SQL_TEXT(NULL));
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    assert_true(row);
    assert_true(sqlite_int(r, 0) == INT64_MIN);
    assert_true(sqlite_real(r, 1) == 0.25);
    sqlite_text(r, 2, text, sizeof text);
    assert_string_equal(text, "fou");
    assert_true(slice_eq(sqlite_bytes(r, 3), SLICE("a\0b")));
    sqlite_text(r, 4, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(sqlite_bytes(r, 5).len, 0);
    assert_int_equal(sqlite_next(r, &row, e), 0);
    assert_false(row);
    return 0;
}

static void values_come_back_as_bound(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct err e;
    MUST(sqlite_store_read(s, round_trip, NULL, &e));
    sqlite_store_close(s);
}

struct gathered {
    int64_t last; /* of the values that are asked for */
    int64_t values[8];
    size_t count;
};

static void gather(struct sqlite_rows *r, void *arg)
{
    struct gathered *g = arg;
    assert_true(g->count < COUNT_OF(g->values));
    g->values[g->count++] = sqlite_int(r, 0);
}

static int gather_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct gathered *g = arg;
    return sqlite_each(
        sqlite_query(db, "SELECT abs(column1) FROM (VALUES (-1), (2), (?1))", SQL_INT(g->last)),
        gather, g, e);
}

static void each_row_is_given_once_and_a_failure_behind_some_is_told(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct gathered all = {.last = -3};
    struct gathered some = {.last = INT64_MIN}; /* its absolute value is no integer */
    struct err e;
    MUST(sqlite_store_read(s, gather_work, &all, &e));
    assert_int_equal(all.count, 3);
    for (int64_t i = 0; i < 3; i++) {
        assert_int_equal(all.values[i], i + 1);
    }
    must_fail_saying(sqlite_store_read(s, gather_work, &some, &e), &e, ERR_AUTH, "overflow");
    assert_int_equal(some.count, 2);
    sqlite_store_close(s);
}

static int sum_pairs(struct sqlite_db *db, int64_t *sum, int depth, struct err *e)
{
    bool row = false;
    /* The same text inside its own loop must be a statement of its own. */
    struct sqlite_rows *r = sqlite_query(db, "SELECT id FROM notes ORDER BY id");
    for (;;) {
        if (sqlite_next(r, &row, e) != 0) {
            return -1;
        }
        if (!row) {
            return 0;
        }
        *sum += sqlite_int(r, 0);
        if (depth > 0 && sum_pairs(db, sum, depth - 1, e) != 0) {
            return -1;
        }
    }
}

static int nested_work(struct sqlite_db *db, void *arg, struct err *e)
{
    *(int64_t *)arg = 0;
    return sum_pairs(db, arg, 1, e);
}

static int leaves_rows_open(struct sqlite_db *db, void *arg, struct err *e)
{
    bool row = false;
    (void)arg;
    return sqlite_next(sqlite_query(db, "SELECT id FROM notes"), &row, e);
}

static int broken_sql(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    return sqlite_exec(db, e, "SELECT nonsense FROM nowhere");
}

static void statements_nest_and_end_with_their_work(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    int64_t sum;
    struct err e;
    char text[] = "a";
    for (int i = 0; i < 3; i++) {
        text[0] = (char)('a' + i);
        MUST(sqlite_store_write(s, insert_note, text, &e));
    }
    MUST(sqlite_store_write(s, nested_work, &sum, &e));
    assert_int_equal(sum, 6 + 3 * 6);
    MUST(sqlite_store_write(s, leaves_rows_open, NULL, &e));
    MUST(sqlite_store_read(s, leaves_rows_open, NULL, &e));
    must_fail_saying(sqlite_store_write(s, broken_sql, NULL, &e), &e, ERR_AUTH, "nowhere");
    text[0] = 'z';
    MUST(sqlite_store_write(s, insert_note, text, &e));
    assert_int_equal(count_notes(s), 4);
    sqlite_store_close(s);
}

static const struct CMUnitTest tests[] = {
    STORE_TEST(failed_work_leaves_nothing_and_tells_its_own_error),
    STORE_TEST(reading_connection_cannot_write),
    STORE_TEST(version_moves_with_every_commit_only),
    STORE_TEST(combined_works_succeed_and_fail_each_for_itself),
    STORE_TEST(values_come_back_as_bound),
    STORE_TEST(each_row_is_given_once_and_a_failure_behind_some_is_told),
    STORE_TEST(statements_nest_and_end_with_their_work),
};

int main(void)
{
    int failed = _cmocka_run_group_tests("sqlite store", tests, COUNT_OF(tests), NULL, NULL);
    failed += _cmocka_run_group_tests("sqlite store's file", store_file_tests,
                                      store_file_test_count, NULL, NULL);
    failed += _cmocka_run_group_tests("sqlite store in memory", store_memory_tests,
                                      store_memory_test_count, NULL, NULL);
    failed += _cmocka_run_group_tests("sqlite store's file, shared", store_shared_tests,
                                      store_shared_test_count, NULL, NULL);
    return failed == 0 ? 0 : 1;
}

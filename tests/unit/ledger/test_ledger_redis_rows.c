/*
 * Rows of the Redis ledger that others may have written: of a newer version, or none at all.
 */
#include "common/base/clock.h"
#include "tests/unit/ledger/test_ledger_redis.h"

/* --- rows that cannot be ours --- */
static void newer_format_is_refused(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger *l = NULL;
    struct err e;
    (void)redis_fixture_call(f, "HSET", "meta", "format", "2");
    assert_int_equal(ledger_open(f->url, &l, &e), -1);
    assert_string_equal(err_class_name(e.class), err_class_name(ERR_PERMANENT));
    assert_non_null(strstr(e.message, "format 2"));
}

static void row_that_is_none_is_an_error_and_not_a_crash(void **state)
{
    struct redis_fixture *f = *state;
    struct job_event ev = way_event(1, JOB_ACTION_COMPLETED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = way_caps(),
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box"};
    struct ledger_vm vm = way_reserve(f->l, 1, way_caps()).vm;
    struct ledger_reservation reservation = {.wait_ms = 5};
    struct ledger_effect effect;
    struct ledger_job job;
    struct ledger_job *jobs = NULL;
    struct ledger_vm *vms = NULL;
    struct ledger_cell cell;
    struct ledger_cell *cells = NULL;
    size_t n = 5;
    struct err e;
    (void)redis_fixture_call(f, "HSET", "jobs", "00000000000000000001", "rubbish");
    (void)redis_fixture_call(f, "HSET", "vms", vm.name, "rubbish");
    (void)redis_fixture_call(f, "HSET", "cells:circuit", "github", "rubbish");
    must_fail(ledger_job_get(f->l, 1, &job, &e), &e, ERR_PERMANENT);
    must_fail(ledger_apply_event(f->l, &ev, "octo", &effect, &e), &e, ERR_PERMANENT);
    must_fail(ledger_reserve(f->l, &r, &reservation, &e), &e, ERR_PERMANENT);
    assert_int_equal(reservation.wait_ms, 5);
    must_fail(ledger_jobs_waiting(f->l, "octo", "small", INT64_MAX / 2, 9, &jobs, &n, &e), &e,
              ERR_PERMANENT);
    must_fail(ledger_vm_get(f->l, vm.name, &vm, &e), &e, ERR_PERMANENT);
    must_fail(ledger_vm_list(f->l, ~0U, "", 9, &vms, &n, &e), &e, ERR_PERMANENT);
    must_fail(ledger_cell_get(f->l, "circuit", "github", &cell, &e), &e, ERR_PERMANENT);
    must_fail(ledger_cell_list(f->l, "circuit", &cells, &n, &e), &e, ERR_PERMANENT);
    must_fail(ledger_cell_put(f->l, "circuit", "github", "open", 0, NULL, &e), &e, ERR_PERMANENT);
    assert_int_equal(n, 5);
    assert_null(jobs);
    assert_null(vms);
    assert_null(cells);
}

static void tidy_stops_at_a_row_that_is_none(void **state)
{
    static const char *const indexes[][3] = {{"gone", "vms", "mf-test"},
                                             {"ended", "jobs", "00000000000000000007"}};
    struct redis_fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(indexes); i++) {
        int64_t removed = 5;
        struct err e;
        (void)redis_fixture_call(f, "HSET", indexes[i][1], indexes[i][2], "rubbish");
        (void)redis_fixture_call(f, "ZADD", indexes[i][0], "1", indexes[i][2]);
        must_fail(ledger_tidy(f->l, clock_wall_ms(), 9, &removed, &e), &e, ERR_PERMANENT);
        assert_int_equal(removed, 5);
        (void)redis_fixture_call(f, "ZREM", indexes[i][0], indexes[i][2], NULL);
    }
}

/* While a program has it open. */
static void emptied_ledger_is_known_again_with_its_first_write(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger *looking = NULL;
    struct err e;
    (void)redis_fixture_call(f, "FLUSHALL", NULL, NULL, NULL);
    assert_int_equal(ledger_open_existing(f->url, &looking, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    MUST(ledger_cell_put(f->l, "note", "a", "b", 0, NULL, &e));
    MUST(ledger_open_existing(f->url, &looking, &e));
    ledger_close(looking);
}

/* --- a newer version's rows --- */
static void must_call(struct redis_fixture *f, const char *command, const char *hash,
                      const char *field, struct slice value, struct redis_reply **out)
{
    struct redis_args a;
    char key[256];
    struct err e;
    (void)snprintf(key, sizeof key, "%s:l:%s", redis_store_root(f->store), hash);
    redis_args_init(&a);
    redis_arg_text(&a, command);
    redis_arg_text(&a, key);
    redis_arg_text(&a, field);
    if (value.len > 0) {
        redis_arg(&a, value);
    }
    MUST(redis_store_call(f->store, &a, out, &e));
    redis_args_fini(&a);
}

static const char more[] = "first\0second"; /* and a NUL: two columns */

static void add_columns(struct redis_fixture *f, const char *hash, const char *field)
{
    struct redis_reply *r = NULL;
    struct buf row;
    must_call(f, "HGET", hash, field, (struct slice){NULL, 0}, &r);
    buf_init(&row, 8192);
    buf_append(&row, redis_reply_bytes(r));
    buf_append(&row, (struct slice){more, sizeof more});
    redis_reply_free(r);
    must_call(f, "HSET", hash, field, buf_slice(&row), &r);
    redis_reply_free(r);
    buf_fini(&row);
}

static void assert_columns_are_kept(struct redis_fixture *f, const char *hash, const char *field)
{
    struct redis_reply *r = NULL;
    must_call(f, "HGET", hash, field, (struct slice){NULL, 0}, &r);
    struct slice row = redis_reply_bytes(r);
    assert_true(row.len > sizeof more);
    assert_memory_equal(row.ptr + row.len - sizeof more, more, sizeof more);
    redis_reply_free(r);
}

static void columns_of_a_newer_version_are_kept(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    static const char job[] = "00000000000000000001";
    add_columns(f, "jobs", job);
    add_columns(f, "vms", r.vm.name);
    way_bring(f->l, r.vm.name, VM_LAUNCHED);
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, r.vm.name);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, r.vm.name);
    way_end(f->l, r.vm.name, VM_GONE);
    assert_columns_are_kept(f, "jobs", job);
    assert_columns_are_kept(f, "vms", r.vm.name);
    struct ledger_job after;
    struct err e;
    MUST(ledger_job_get(f->l, 1, &after, &e));
    assert_int_equal(after.state, JOB_DONE);
}

/* As a version without the last column wrote it. */
static void column_that_an_older_version_did_not_write_is_unknown(void **state)
{
    struct redis_fixture *f = *state;
    static const char job[] = "00000000000000000001";
    struct redis_reply *r = NULL;
    struct redis_reply *set = NULL;
    struct ledger_job after;
    struct job_event ev = way_event(1, JOB_ACTION_COMPLETED, "");
    struct ledger_effect effect;
    struct err e;
    way_note(f->l, 1, JOB_ACTION_QUEUED, "");
    must_call(f, "HGET", "jobs", job, (struct slice){NULL, 0}, &r);
    struct slice row = redis_reply_bytes(r);
    assert_int_equal(row.ptr[row.len - 1], '\0'); /* its workflow, which has no name */
    assert_int_equal(row.ptr[row.len - 2], '\0');
    must_call(f, "HSET", "jobs", job, (struct slice){row.ptr, row.len - 1}, &set);
    redis_reply_free(set);
    redis_reply_free(r);
    struct ledger *l = NULL;
    MUST(ledger_open(f->url, &l, &e)); /* which has not cached the row */
    MUST(ledger_job_get(l, 1, &after, &e));
    assert_int_equal(after.state, JOB_WAITING);
    assert_string_equal(after.facts.workflow, "");
    (void)snprintf(ev.job.workflow, sizeof ev.job.workflow, "CI");
    MUST(ledger_apply_event(l, &ev, "octo", &effect, &e));
    MUST(ledger_job_get(l, 1, &after, &e));
    assert_string_equal(after.facts.workflow, "CI");
    ledger_close(l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        REDIS_TEST(newer_format_is_refused),
        REDIS_TEST(emptied_ledger_is_known_again_with_its_first_write),
        REDIS_TEST(row_that_is_none_is_an_error_and_not_a_crash),
        REDIS_TEST(tidy_stops_at_a_row_that_is_none),
        REDIS_TEST(columns_of_a_newer_version_are_kept),
        REDIS_TEST(column_that_an_older_version_did_not_write_is_unknown),
    };
    if (!redis_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on redis: rows", tests, NULL, NULL);
}

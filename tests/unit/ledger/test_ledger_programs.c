/* Reports of programs, and the record format that they agree on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/ledger/programs.h"

static int64_t now_ms;
static char dir[64];
static struct ledger *l;

static int64_t fixed_wall_ms(void)
{
    return now_ms;
}

static int64_t fixed_mono_us(void)
{
    return now_ms * 1000;
}

static int set_up(void **state)
{
    static const struct clock_source source = {.mono_us = fixed_mono_us, .wall_ms = fixed_wall_ms};
    struct err e;
    char url[128];
    (void)state;
    now_ms = 1800000000000;
    clock_set_source(&source);
    memcpy(dir, "/tmp/mayfly-ledger-XXXXXX", 26);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(url, sizeof url, "sqlite://%s/ledger.db", dir);
    assert_int_equal(ledger_open(url, &l, &e), 0);
    return 0;
}

static int tear_down(void **state)
{
    struct err e;
    (void)state;
    ledger_close(l);
    assert_int_equal(fs_remove_tree(dir, &e), 0);
    return 0;
}

static void report(const char *id, int64_t newest)
{
    struct err e;
    int64_t version = 0;
    struct ledger_program p = {.version = "0.2.0", .oldest_format = 1, .newest_format = newest};
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    assert_int_equal(ledger_program_beat(l, &p, &version, &e), 0);
}

/* The newest formats of those that have reported, added up, with ids of one letter. */
static int64_t sum_of_formats(size_t count)
{
    struct err e;
    struct ledger_program *list = NULL;
    size_t n = 0;
    int64_t sum = 0;
    assert_int_equal(ledger_program_list(l, &list, &n, &e), 0);
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(list[i].version, "0.2.0");
        assert_int_equal(list[i].oldest_format, 1);
        assert_int_equal(strlen(list[i].id), 1);
        sum += list[i].newest_format;
    }
    free(list);
    return sum;
}

static void reports_are_listed_renewed_and_withdrawn(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(sum_of_formats(0), 0);
    report("a", 1);
    report("b", 3);
    assert_int_equal(sum_of_formats(2), 4);
    report("a", 7);
    assert_int_equal(sum_of_formats(2), 10);
    assert_int_equal(ledger_program_leave(l, "a", &e), 0);
    assert_int_equal(ledger_program_leave(l, "a", &e), 0);
    assert_int_equal(sum_of_formats(1), 3);
}

static void report_of_a_program_that_died_is_void_after_a_while_and_then_removed(void **state)
{
    struct err e;
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    (void)state;
    report("a", 1);
    now_ms += LEDGER_HEARTBEAT_VALID_MS;
    report("b", 3);
    assert_int_equal(ledger_program_tidy(l, &e), 0);
    assert_int_equal(sum_of_formats(2), 4);
    now_ms += 1;
    assert_int_equal(sum_of_formats(1), 3);
    assert_int_equal(ledger_program_tidy(l, &e), 0);
    assert_int_equal(ledger_cell_list(l, "program", &cells, &n, &e), 0);
    assert_int_equal(n, 1);
    free(cells);
    now_ms -= 2 * LEDGER_HEARTBEAT_VALID_MS; /* a report from the future holds nobody up */
    assert_int_equal(sum_of_formats(0), 0);
}

static void heartbeat_says_who_beats_and_where(void **state)
{
    struct err e;
    struct ledger_program *list = NULL;
    size_t n = 0;
    int64_t version = 0;
    struct ledger_program p = {.id = "mayfly-worker/0123/aa",
                               .version = "0.2.0 (0123456789ab)",
                               .oldest_format = 1,
                               .newest_format = 2,
                               .interval_ms = 10000,
                               .is_host = true,
                               .host_name = "box-1",
                               .boot_id = "b",
                               .classes = "small,large"};
    (void)state;
    assert_int_equal(ledger_program_beat(l, &p, &version, &e), 0);
    int64_t first = version;
    now_ms += 10000;
    p.waiting = true;
    assert_int_equal(ledger_program_beat(l, &p, &version, &e), 0);
    assert_true(version > first);
    assert_int_equal(ledger_program_list(l, &list, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].program, "mayfly-worker");
    assert_string_equal(list[0].host, "0123");
    assert_string_equal(list[0].version, p.version);
    assert_int_equal(list[0].at_ms, now_ms);
    assert_int_equal(list[0].interval_ms, 10000);
    assert_true(list[0].is_host && list[0].waiting);
    assert_string_equal(list[0].host_name, "box-1");
    assert_string_equal(list[0].boot_id, "b");
    assert_string_equal(list[0].pid_namespace, "");
    assert_string_equal(list[0].classes, "small,large");
    free(list);
}

static void heartbeat_expires_after_thirty_of_its_intervals(void **state)
{
    struct err e;
    int64_t version = 0;
    struct ledger_program p = {
        .id = "a", .version = "0.2.0", .oldest_format = 1, .newest_format = 4, .interval_ms = 1000};
    (void)state;
    assert_int_equal(ledger_program_beat(l, &p, &version, &e), 0);
    now_ms += 30000;
    assert_int_equal(sum_of_formats(1), 4);
    now_ms += 1;
    assert_int_equal(sum_of_formats(0), 0);
}

static void heartbeat_whose_cell_was_removed_is_written_again(void **state)
{
    struct err e;
    int64_t version = 0;
    struct ledger_program p = {
        .id = "a", .version = "0.2.0", .oldest_format = 1, .newest_format = 4};
    (void)state;
    assert_int_equal(ledger_program_beat(l, &p, &version, &e), 0);
    assert_int_equal(ledger_program_leave(l, "a", &e), 0);
    assert_int_equal(ledger_program_beat(l, &p, &version, &e), 0);
    assert_int_equal(sum_of_formats(1), 4);
}

static void report_that_a_newer_version_wrote_is_read_and_garbage_is_not(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(
        ledger_cell_put(l, "program", "c", "1800000000000 1 9 0.2.0 more to come", 0, NULL, &e), 0);
    assert_int_equal(ledger_cell_put(l, "program", "bad", "1800000000000 x", 0, NULL, &e), 0);
    assert_int_equal(ledger_cell_put(l, "program", "empty", "", 0, NULL, &e), 0);
    assert_int_equal(sum_of_formats(1), 9);
}

static int64_t format(void)
{
    struct err e;
    int64_t out = -1;
    assert_int_equal(ledger_format_get(l, &out, &e), 0);
    return out;
}

static void format_begins_at_one_and_only_rises(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(format(), 1);
    assert_int_equal(ledger_format_raise(l, 1, &e), 0);
    assert_int_equal(format(), 1);
    assert_int_equal(ledger_format_raise(l, 3, &e), 0);
    assert_int_equal(format(), 3);
    assert_int_equal(ledger_format_raise(l, 2, &e), 0);
    assert_int_equal(format(), 3);
}

static void format_that_is_no_number_is_an_error_not_a_guess(void **state)
{
    struct err e;
    int64_t out = 77;
    (void)state;
    assert_int_equal(ledger_cell_put(l, "format", "record", "two", 0, NULL, &e), 0);
    assert_int_equal(ledger_format_get(l, &out, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(out, 77);
    assert_int_equal(ledger_format_raise(l, 2, &e), -1);
}

static void class_is_known_by_its_whole_name_or_where_the_list_is_cut(void **state)
{
    struct ledger_program p = {.classes = "small,large"};
    (void)state;
    assert_true(ledger_program_has_class(&p, "small"));
    assert_true(ledger_program_has_class(&p, "large"));
    assert_false(ledger_program_has_class(&p, "larg"));
    assert_false(ledger_program_has_class(&p, "other"));
    memcpy(p.classes, "small,...", 10);
    assert_true(ledger_program_has_class(&p, "other"));
    p.classes[0] = '\0';
    assert_false(ledger_program_has_class(&p, "small"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reports_are_listed_renewed_and_withdrawn),
        CASE(report_of_a_program_that_died_is_void_after_a_while_and_then_removed),
        CASE(heartbeat_says_who_beats_and_where),
        CASE(heartbeat_expires_after_thirty_of_its_intervals),
        CASE(heartbeat_whose_cell_was_removed_is_written_again),
        CASE(report_that_a_newer_version_wrote_is_read_and_garbage_is_not),
        CASE(format_begins_at_one_and_only_rises),
        CASE(format_that_is_no_number_is_an_error_not_a_guess),
        CASE(class_is_known_by_its_whole_name_or_where_the_list_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

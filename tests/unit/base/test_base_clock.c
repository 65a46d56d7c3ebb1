/* Clocks: replaced in tests, formatted, parsed as GitHub writes times. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/clock.h"
#include "tests/lib/cmocka.h"

static int64_t fake_mono_us(void)
{
    return 1234567;
}

static int64_t fake_wall_ms(void)
{
    return 1000;
}

static void source_can_be_replaced_and_restored(void **state)
{
    static const struct clock_source fake = {fake_mono_us, fake_wall_ms};
    clock_set_source(&fake);
    assert_int_equal(clock_mono_us(), 1234567);
    assert_int_equal(clock_mono_ms(), 1234);
    assert_int_equal(clock_wall_ms(), 1000);
    clock_set_source(NULL);
    assert_true(clock_wall_ms() > 1700000000000);
}

static void monotonic_time_does_not_go_back(void **state)
{
    int64_t before = clock_mono_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us();
        assert_true(now >= before);
        before = now;
    }
}

static void sleep_until_the_past_returns(void **state)
{
    clock_sleep_until(clock_mono_ms() - 1);
    int64_t until = clock_mono_ms() + 5;
    while (clock_mono_ms() < until) {
        clock_sleep_until(until);
    }
}

static void utc_is_formatted_with_milliseconds(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1794939123456, "2026-11-17T18:12:03.456Z"},
        {951782400007, "2000-02-29T00:00:00.007Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[32];
        clock_format_utc(cases[i].ms, out, sizeof out);
        assert_string_equal(out, cases[i].text);
        int64_t parsed = clock_parse_utc(out);
        bool possible = cases[i].ms >= 0 && cases[i].ms <= CLOCK_WALL_MAX_MS;
        assert_true(!possible || parsed == cases[i].ms);
    }
}

static void utc_is_parsed_with_fraction_and_offset(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"2026-11-17T18:12:03Z", 1794939123000},
        {"2026-11-17T18:12:03.4Z", 1794939123400},
        {"2026-11-17T18:12:03.456789Z", 1794939123456},
        {"2026-11-17T19:12:03+01:00", 1794939123000},
        {"2026-11-17T12:42:03.5-05:30", 1794939123500},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2000-02-29T23:59:59Z", 951868799000},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(clock_parse_utc(cases[i].text) == cases[i].ms);
    }
}

static void other_texts_are_no_time(void **state)
{
    static const char *const bad[] = {
        "",
        "now",
        "2026-11-17",
        "2026-11-17T18:12:03",
        "2026-11-17 18:12:03Z",
        " 2026-11-17T18:12:03Z",
        "2026-11-17T18:12:03Z ",
        "2026-11-17T18:12:03.Z",
        "2026-11-17T18:12:03+0100",
        "2026-11-17T18:12:03+-1:00",
        "2026-11-17T18:12:03+24:00",
        "2026-11-17T18:12:03+01:60",
        "2026-1-17T18:12:03Z",
        "2026-13-17T18:12:03Z",
        "2026-00-17T18:12:03Z",
        "2026-11-00T18:12:03Z",
        "1900-02-29T18:12:03Z",
        "2026-11-31T18:12:03Z",
        "2026-11-17T18:12:61Z",
        "2026-11-17T18:12:0",
        "2026-02-30T18:12:03Z",
        "2025-02-29T18:12:03Z",
        "2026-11-17T25:12:03Z",
        "2026-11-17T18:60:03Z",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (clock_parse_utc(bad[i]) != -1) {
            fail_msg("taken for a time: \"%s\"", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_can_be_replaced_and_restored),
        cmocka_unit_test(monotonic_time_does_not_go_back),
        cmocka_unit_test(sleep_until_the_past_returns),
        cmocka_unit_test(utc_is_formatted_with_milliseconds),
        cmocka_unit_test(utc_is_parsed_with_fraction_and_offset),
        cmocka_unit_test(other_texts_are_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

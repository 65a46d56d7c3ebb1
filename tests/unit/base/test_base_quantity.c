/* Durations and sizes: what is read from a text, what is said about a wrong one, and the text. */

#include "common/base/quantity.h"
#include "tests/lib/cmocka.h"

#define HOUR 3600000
#define DAY ((int64_t)24 * HOUR)
#define MIB ((int64_t)1 << 20)
#define TIB ((int64_t)1 << 40)
#define UNTOUCHED (-7)

static const struct quantity anything = {QUANTITY_DURATION, 0, INT64_MAX, "30s"};
static const struct quantity timeout = {QUANTITY_DURATION, 100, DAY, "30s"};
static const struct quantity any_size = {QUANTITY_SIZE, 0, INT64_MAX, "1MiB"};
static const struct quantity body = {QUANTITY_SIZE, 1024, 25 * MIB, NULL};

static void good_value_is_its_amount(void **state)
{
    static const struct {
        const struct quantity *q;
        const char *value;
        int64_t amount;
    } cases[] = {
        {&anything, "0ms", 0},
        {&anything, "0d", 0},
        {&anything, "1ms", 1},
        {&anything, "250ms", 250},
        {&anything, "90s", 90000},
        {&anything, "090s", 90000},
        {&anything, "20m", 1200000},
        {&anything, "6h", 6 * HOUR},
        {&anything, "7d", 7 * DAY},
        {&anything, "9223372036854775807ms", INT64_MAX},
        {&anything, "9223372036854775s", INT64_MAX - 807},
        {&anything, "106751991167d", 106751991167 * DAY},
        {&anything, "1h30m", 90 * 60000},
        {&anything, "1d12h30m15s250ms", DAY + 12 * HOUR + 30 * 60000 + 15250},
        {&anything, "3m05s", 185000},
        {&anything, "1.5h", 90 * 60000},
        {&anything, "0.25s", 250},
        {&anything, "1.500s", 1500},
        {&timeout, "0.1s", 100},
        {&timeout, "23h60m", DAY},
        {&timeout, "100ms", 100},
        {&timeout, "86400s", DAY},
        {&timeout, "1d", DAY},
        {&any_size, "0B", 0},
        {&any_size, "4096B", 4096},
        {&any_size, "64KiB", 65536},
        {&any_size, "512MiB", 512 * MIB},
        {&any_size, "2GiB", 2048 * MIB},
        {&any_size, "1TiB", TIB},
        {&any_size, "9223372036854775807B", INT64_MAX},
        {&any_size, "8388607TiB", 8388607 * TIB},
        {&any_size, "1.5GiB", 1536 * MIB},
        {&any_size, "1MiB512KiB", 1536 * 1024},
        {&body, "1KiB", 1024},
        {&body, "25MiB", 25 * MIB},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t amount = UNTOUCHED;
        struct buf why;
        buf_init(&why, 1024);
        if (!quantity_read(cases[i].q, slice_of(cases[i].value), &amount, &why)) {
            fail_msg("%s: %s", cases[i].value, why.data);
        }
        assert_int_equal(amount, cases[i].amount);
        assert_int_equal(why.len, 0);
        buf_fini(&why);
    }
}

static void assert_refused(const struct quantity *q, struct slice value, const char *sentence)
{
    int64_t amount = UNTOUCHED;
    struct buf why;
    buf_init(&why, 1024);
    if (quantity_read(q, value, &amount, &why)) {
        fail_msg("%.*s is read", SLICE_ARG(value));
    }
    assert_string_equal(why.data, sentence);
    assert_int_equal(amount, UNTOUCHED);
    buf_fini(&why);
}

#define DURATION_HELP                                                                              \
    ": write a number and its unit (ms, s, m, h or d), such as 30s, 1.5h or 1h30m, from 100ms to " \
    "1d"
#define SIZE_HELP                                                                                  \
    ": write a number and its unit (B, KiB, MiB, GiB or TiB), such as 25MiB or 1.5GiB, from 1KiB " \
    "to 25MiB"

static void bad_value_says_what_is_wrong_and_what_to_write(void **state)
{
    static const struct {
        const struct quantity *q;
        const char *value;
        const char *sentence;
    } cases[] = {
        {&timeout, "30", "has no unit" DURATION_HELP},
        {&timeout, "0", "has no unit" DURATION_HELP},
        {&timeout, "99999999999999999999", "has no unit" DURATION_HELP},
        {&timeout, "", "does not begin with a number" DURATION_HELP},
        {&timeout, "s", "does not begin with a number" DURATION_HELP},
        {&timeout, "soon", "does not begin with a number" DURATION_HELP},
        {&timeout, " 5s", "does not begin with a number" DURATION_HELP},
        {&timeout, "+5s", "does not begin with a number" DURATION_HELP},
        {&timeout, ".5s", "does not begin with a number" DURATION_HELP},
        {&timeout, "off", "does not begin with a number" DURATION_HELP},
        {&timeout, "-5s", "is negative" DURATION_HELP},
        {&timeout, "1.5", "has no unit" DURATION_HELP},
        {&timeout, "1.h", "has an unknown unit" DURATION_HELP},
        {&timeout, "1h30", "has no unit" DURATION_HELP},
        {&timeout, "30m1h", "has a larger unit after a smaller one" DURATION_HELP},
        {&timeout, "1h1h", "has a larger unit after a smaller one" DURATION_HELP},
        {&timeout, "1.5h30m", "has a fraction beside another unit" DURATION_HELP},
        {&timeout, "1h1.5m", "has a fraction beside another unit" DURATION_HELP},
        {&timeout, "1000.5ms", "has too fine a fraction" DURATION_HELP},
        {&timeout, "0.0000001h", "has too fine a fraction" DURATION_HELP},
        {&timeout, "2 days", "has an unknown unit" DURATION_HELP},
        {&timeout, "1h 30m", "has an unknown unit" DURATION_HELP},
        {&timeout, "5 s", "has an unknown unit" DURATION_HELP},
        {&timeout, "5s ", "has an unknown unit" DURATION_HELP},
        {&timeout, "5S", "has an unknown unit" DURATION_HELP},
        {&timeout, "5M", "has an unknown unit" DURATION_HELP},
        {&timeout, "5sec", "has an unknown unit" DURATION_HELP},
        {&timeout, "5min", "has an unknown unit" DURATION_HELP},
        {&timeout, "5us", "has an unknown unit" DURATION_HELP},
        {&timeout, "1w", "has an unknown unit" DURATION_HELP},
        {&timeout, "5MiB", "has an unknown unit" DURATION_HELP},
        {&timeout, "1e3s", "has an unknown unit" DURATION_HELP},
        {&timeout, "0s", "must be from 100ms to 1d"},
        {&timeout, "99ms", "must be from 100ms to 1d"},
        {&timeout, "86400001ms", "must be from 100ms to 1d"},
        {&timeout, "86401s", "must be from 100ms to 1d"},
        {&timeout, "2d", "must be from 100ms to 1d"},
        {&timeout, "1d1ms", "must be from 100ms to 1d"},
        {&timeout, "1.5d", "must be from 100ms to 1d"},
        {&timeout, "23h61m", "must be from 100ms to 1d"},
        {&anything, "9223372036854775807ms1ms",
         "has a larger unit after a smaller one: write a number and its unit (ms, s, m, h or d), "
         "such as 30s, 1.5h or 1h30m, from 0s to 9223372036854775807ms"},
        {&timeout, "9223372036854775807d", "must be from 100ms to 1d"},
        {&timeout, "9223372036854775808ms", "must be from 100ms to 1d"},
        {&timeout, "99999999999999999999s", "must be from 100ms to 1d"},
        {&anything, "106751991168d", "must be from 0s to 9223372036854775807ms"},
        {&body, "1048576", "has no unit" SIZE_HELP},
        {&body, "", "does not begin with a number" SIZE_HELP},
        {&body, "-1B", "is negative" SIZE_HELP},
        {&body, "1.5MB", "has an unknown unit" SIZE_HELP},
        {&body, "1M", "has an unknown unit" SIZE_HELP},
        {&body, "1MB", "has an unknown unit" SIZE_HELP},
        {&body, "1mib", "has an unknown unit" SIZE_HELP},
        {&body, "1b", "has an unknown unit" SIZE_HELP},
        {&body, "5s", "has an unknown unit" SIZE_HELP},
        {&body, "0B", "must be from 1KiB to 25MiB"},
        {&body, "1023B", "must be from 1KiB to 25MiB"},
        {&body, "26214401B", "must be from 1KiB to 25MiB"},
        {&body, "26MiB", "must be from 1KiB to 25MiB"},
        {&body, "9223372036854775807TiB", "must be from 1KiB to 25MiB"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_refused(cases[i].q, slice_of(cases[i].value), cases[i].sentence);
    }
    assert_refused(&timeout, (struct slice){NULL, 0}, "does not begin with a number" DURATION_HELP);
    assert_refused(&timeout, SLICE("5s\0"), "has an unknown unit" DURATION_HELP);
}

static void text_is_exact_in_the_largest_unit(void **state)
{
    static const struct {
        enum quantity_kind kind;
        int64_t amount;
        const char *text;
    } cases[] = {
        {QUANTITY_DURATION, 0, "0s"},
        {QUANTITY_DURATION, 1, "1ms"},
        {QUANTITY_DURATION, 1500, "1500ms"},
        {QUANTITY_DURATION, 65000, "65s"},
        {QUANTITY_DURATION, 60000, "1m"},
        {QUANTITY_DURATION, 90 * 60000, "90m"},
        {QUANTITY_DURATION, 8 * HOUR, "8h"},
        {QUANTITY_DURATION, 3 * DAY, "3d"},
        {QUANTITY_DURATION, -60000, "-1m"},
        {QUANTITY_DURATION, INT64_MIN, "-9223372036854775808ms"},
        {QUANTITY_SIZE, 0, "0B"},
        {QUANTITY_SIZE, 1023, "1023B"},
        {QUANTITY_SIZE, 1536, "1536B"},
        {QUANTITY_SIZE, 16384, "16KiB"},
        {QUANTITY_SIZE, 1536 * MIB, "1536MiB"},
        {QUANTITY_SIZE, 2048 * MIB, "2GiB"},
        {QUANTITY_SIZE, 16 * TIB, "16TiB"},
        {QUANTITY_SIZE, INT64_MAX, "9223372036854775807B"},
    };
    char out[QUANTITY_TEXT_SIZE];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_string_equal(quantity_text(cases[i].kind, cases[i].amount, out), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_value_is_its_amount),
        cmocka_unit_test(bad_value_says_what_is_wrong_and_what_to_write),
        cmocka_unit_test(text_is_exact_in_the_largest_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

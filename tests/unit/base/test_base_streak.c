/* Failures in a row: when they make a program not ready, and when that ends. */
#include "common/base/clock.h"
#include "common/base/streak.h"
#include "tests/lib/cmocka.h"

static int64_t now_us = 1000000;

static int64_t fake_mono_us(void)
{
    return now_us;
}

static int64_t fake_wall_ms(void)
{
    return 0;
}

static const struct clock_source fake_clock = {fake_mono_us, fake_wall_ms};

static void fail_times(struct streak *s, int times)
{
    for (int i = 0; i < times; i++) {
        struct err e;
        (void)err_set(&e, ERR_AUTH, 8, "failure %d", i);
        streak_failure(s, &e);
    }
}

static void only_failures_in_a_row_last(void **state)
{
    struct streak s;
    struct err e = {0};
    streak_init(&s);
    assert_false(streak_lasts(&s, &e));
    fail_times(&s, STREAK_FAILURES - 1);
    assert_false(streak_lasts(&s, &e));
    streak_success(&s);
    fail_times(&s, STREAK_FAILURES - 1);
    assert_false(streak_lasts(&s, &e));
    assert_string_equal(e.message, "");
    fail_times(&s, 1);
    assert_true(streak_lasts(&s, &e));
    assert_string_equal(e.message, "failure 0");
    assert_int_equal(e.class, ERR_AUTH);
    streak_success(&s);
    assert_false(streak_lasts(&s, &e));
    streak_fini(&s);
}

static void streak_without_a_new_failure_ends(void **state)
{
    struct streak s;
    struct err e = {0};
    streak_init(&s);
    fail_times(&s, STREAK_FAILURES);
    now_us += (STREAK_FORGET_MS - 1) * 1000;
    assert_true(streak_lasts(&s, &e));
    now_us += 1000;
    assert_false(streak_lasts(&s, &e));
    fail_times(&s, 1); /* the next attempt fails as well */
    assert_true(streak_lasts(&s, &e));
    streak_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_failures_in_a_row_last),
        cmocka_unit_test(streak_without_a_new_failure_ends),
    };
    clock_set_source(&fake_clock);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

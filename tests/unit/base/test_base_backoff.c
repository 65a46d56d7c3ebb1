/* Back-off: the ceiling, and jitter over all of it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/random.h"
#include "tests/lib/cmocka.h"

static void ceiling_doubles_up_to_the_cap(void **state)
{
    assert_int_equal(backoff_ceiling_ms(1000, 300000, 1), 1000);
    assert_int_equal(backoff_ceiling_ms(1000, 300000, 2), 2000);
    assert_int_equal(backoff_ceiling_ms(1000, 300000, 9), 256000);
    assert_int_equal(backoff_ceiling_ms(1000, 300000, 10), 300000);
    assert_int_equal(backoff_ceiling_ms(1000, 300000, 1000000), 300000);
    assert_int_equal(backoff_ceiling_ms(5, 5, 1), 5);
}

static void ceiling_of_an_attempt_before_the_first_is_the_first(void **state)
{
    assert_int_equal(backoff_ceiling_ms(1000, 300000, 0), 1000);
    assert_int_equal(backoff_ceiling_ms(1000, 300000, -5), 1000);
}

static void ceiling_does_not_overflow(void **state)
{
    assert_true(backoff_ceiling_ms(1, INT64_MAX, 64) == INT64_MAX);
    assert_true(backoff_ceiling_ms(INT64_MAX, INT64_MAX, 2) == INT64_MAX);
}

static uint64_t drawn;

static void fixed_bytes(void *out, size_t size)
{
    assert_int_equal(size, sizeof drawn);
    memcpy(out, &drawn, size);
}

static void jitter_reaches_both_ends(void **state)
{
    random_set_source(fixed_bytes);
    drawn = 0;
    assert_int_equal(backoff_full_jitter_ms(1000, 300000, 3), 1);
    drawn = 3999;
    assert_int_equal(backoff_full_jitter_ms(1000, 300000, 3), 4000);
    random_set_source(NULL);
}

static void jitter_stays_within_the_ceiling(void **state)
{
    for (int i = 0; i < 10000; i++) {
        int64_t wait = backoff_full_jitter_ms(10, 1000, 1 + i % 12);
        assert_true(wait >= 1 && wait <= backoff_ceiling_ms(10, 1000, 1 + i % 12));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ceiling_doubles_up_to_the_cap),
        cmocka_unit_test(ceiling_of_an_attempt_before_the_first_is_the_first),
        cmocka_unit_test(ceiling_does_not_overflow),
        cmocka_unit_test(jitter_reaches_both_ends),
        cmocka_unit_test(jitter_stays_within_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}



#include "tests/lib/cmocka.h"
#include "worker/outcome.h"

static const struct config_retry retry = {
    .max_attempts = 4, .base_delay_ms = 100, .max_delay_ms = 1000};

static struct outcome of(enum err_class class, int64_t attempts, int64_t retry_after_ms)
{
    struct err e = {0};
    (void)err_set(&e, class, 0, "x");
    e.retry_after_ms = retry_after_ms;
    return outcome_of(&e, attempts, &retry);
}

static void outcome_transient_retries_with_jitter_below_the_ceiling(void **state)
{
    for (int64_t attempts = 0; attempts < 3; attempts++) {
        int64_t most_ms = 0;
        for (int i = 0; i < 200; i++) {
            struct outcome o = of(ERR_RETRY, attempts, 0);
            assert_int_equal(o.action, OUTCOME_RETRY);
            assert_in_range(o.delay_ms, 1, (uint64_t)(100 << attempts));
            most_ms = o.delay_ms > most_ms ? o.delay_ms : most_ms;
        }
        assert_true(most_ms > 50 << attempts); /* but for a chance of 1 in 2^200 */
    }
}

static void outcome_last_attempt_is_buried(void **state)
{
    assert_int_equal(of(ERR_RETRY, 2, 0).action, OUTCOME_RETRY);
    assert_int_equal(of(ERR_RETRY, 3, 0).action, OUTCOME_DEAD_LETTER);
    assert_int_equal(of(ERR_AUTH, 3, 0).action, OUTCOME_DEAD_LETTER);
}

static void outcome_throttle_and_capacity_wait_however_often(void **state)
{
    struct outcome throttled = of(ERR_THROTTLED, 1000, 7000);
    struct outcome full = of(ERR_CAPACITY, 1000, 0);
    assert_int_equal(throttled.action, OUTCOME_WAIT);
    assert_int_equal(throttled.delay_ms, 7000);
    assert_true(throttled.pause_class);
    assert_int_equal(full.action, OUTCOME_WAIT);
    assert_int_equal(full.delay_ms, 5000);
    assert_int_equal(of(ERR_CAPACITY, 0, 1).delay_ms, 1);
}

static void outcome_permanent_is_buried_at_once(void **state)
{
    assert_int_equal(of(ERR_PERMANENT, 0, 0).action, OUTCOME_DEAD_LETTER);
}

static void outcome_retry_is_no_sooner_than_the_other_side_asked(void **state)
{
    assert_int_equal(of(ERR_RETRY, 0, 5000).delay_ms, 5000);
}

static void each_class_of_error_has_its_row(void **state)
{
    const struct {
        enum err_class class;
        enum outcome_action action;
        bool pause_class;
    } rows[] = {
        {ERR_NONE, OUTCOME_RETRY, false},
        {ERR_RETRY, OUTCOME_RETRY, false},
        {ERR_THROTTLED, OUTCOME_WAIT, true},
        {ERR_CAPACITY, OUTCOME_WAIT, true},
        {ERR_PERMANENT, OUTCOME_DEAD_LETTER, false},
        {ERR_AUTH, OUTCOME_RETRY, false},
        {ERR_NOT_FOUND, OUTCOME_RETRY, false},
        {ERR_CONFLICT, OUTCOME_RETRY, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err e = {.class = rows[i].class};
        struct outcome o = outcome_of(&e, 0, &retry);
        assert_int_equal(o.action, rows[i].action);
        assert_int_equal(o.pause_class, rows[i].pause_class);
    }
}

static void outcome_unknown_class_is_transient(void **state)
{
    struct err e = {.class = (enum err_class)99};
    assert_int_equal(outcome_of(&e, 0, &retry).action, OUTCOME_RETRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome_transient_retries_with_jitter_below_the_ceiling),
        cmocka_unit_test(outcome_last_attempt_is_buried),
        cmocka_unit_test(outcome_throttle_and_capacity_wait_however_often),
        cmocka_unit_test(outcome_permanent_is_buried_at_once),
        cmocka_unit_test(outcome_retry_is_no_sooner_than_the_other_side_asked),
        cmocka_unit_test(each_class_of_error_has_its_row),
        cmocka_unit_test(outcome_unknown_class_is_transient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

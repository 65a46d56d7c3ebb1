/* What a lane has waited for, as a job's timeline names it. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "worker/lane_waits.h"

#define SECOND 1000LL

/* From `from` to `to`, as a lane that is polled once a second. */
static void stop(struct lane_waits *w, enum lane_cause cause, const char *name, int64_t from,
                 int64_t to)
{
    for (int64_t s = from; s <= to; s++) {
        lane_waits_add(w, cause, name, s * SECOND);
    }
}

static const char *waited(const struct lane_waits *w, int64_t since, int64_t until)
{
    static char text[LANE_WAITED_SIZE];
    lane_waits_describe(w, since * SECOND, until * SECOND, text);
    return text;
}

static void each_cause_has_its_words(void **state)
{
    struct lane_waits w = {.count = 0};
    (void)state;
    assert_string_equal(waited(&w, 0, 1000), "");
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 10, 202);
    assert_string_equal(waited(&w, 0, 1000), "3m12s for a slot of class small");
    stop(&w, LANE_WAITS_FOR_FLEET, "small", 300, 304);
    stop(&w, LANE_WAITS_FOR_RATE, "small", 400, 402);
    stop(&w, LANE_WAITS_FOR_CIRCUIT, "github:api", 500, 530);
    stop(&w, LANE_WAITS_WHILE_PAUSED, "small", 600, 7800);
    assert_string_equal(
        waited(&w, 290, 10000),
        "4.0 s for a slot: the fleet was full; 2.0 s for a launch token; 30.0 s for "
        "github:api, whose circuit was open; 2h00m while its class was paused: "
        "small");
}

/* Others waited before it came, and will after it has gone. */
static void only_the_jobs_own_time_counts(void **state)
{
    struct lane_waits w = {.count = 0};
    (void)state;
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 0, 100);
    assert_string_equal(waited(&w, 40, 60), "20.0 s for a slot of class small");
    assert_string_equal(waited(&w, 90, 1000), "10.0 s for a slot of class small");
    assert_string_equal(waited(&w, 100, 1000), "");
    assert_string_equal(waited(&w, 50, 50), "");
}

/* Each released slot lets a message through. */
static void wait_with_short_breaks_is_one(void **state)
{
    struct lane_waits w = {.count = 0};
    (void)state;
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 0, 10);
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 13, 20);
    assert_string_equal(waited(&w, 0, 100), "20.0 s for a slot of class small");
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 50, 55); /* nobody waited for a slot between */
    assert_string_equal(waited(&w, 0, 100), "25.0 s for a slot of class small");
}

static void causes_in_turn_are_summed_and_bounded(void **state)
{
    struct lane_waits w = {.count = 0};
    (void)state;
    for (int64_t s = 0; s < 40 * LANE_WAITS_MAX; s += 20) {
        stop(&w, LANE_WAITS_FOR_CLASS, "small", s, s + 10);
        stop(&w, LANE_WAITS_FOR_RATE, "small", s + 11, s + 12);
    }
    assert_int_equal(w.count, LANE_WAITS_MAX);
    assert_string_equal(waited(&w, 0, 40 * LANE_WAITS_MAX),
                        "2m40s for a slot of class small; 16.0 s for a launch token");
}

/* The wall clock was set back. */
static void clock_that_goes_back_makes_no_negative_wait(void **state)
{
    struct lane_waits w = {.count = 0};
    (void)state;
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 1000, 1010);
    stop(&w, LANE_WAITS_FOR_CLASS, "small", 100, 110);
    assert_string_equal(waited(&w, 0, 2000), "20.0 s for a slot of class small");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_cause_has_its_words),
        cmocka_unit_test(only_the_jobs_own_time_counts),
        cmocka_unit_test(wait_with_short_breaks_is_one),
        cmocka_unit_test(causes_in_turn_are_summed_and_bounded),
        cmocka_unit_test(clock_that_goes_back_makes_no_negative_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

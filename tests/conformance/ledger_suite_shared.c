/*
 * Conformance of a ledger backend: rate buckets, leases, signs and marks.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdio.h>
#include <unistd.h>

static int64_t take(struct ledger *l, double per_second, int64_t burst, int64_t cost)
{
    struct ledger_bucket b = {.name = "github:1", .per_second = per_second, .burst = burst};
    int64_t wait_ms = -1;
    struct err e;
    MUST(ledger_rate_take(l, &b, cost, &wait_ms, &e));
    return wait_ms;
}

/* --- rate buckets --- */
static void bucket_gives_its_burst_then_its_rate(void **state)
{
    struct ledger_fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(take(f->l, 10, 5, 1), 0);
    }
    assert_int_equal(take(f->l, 10, 5, 1), 100);
    clock_at(50);
    assert_int_equal(take(f->l, 10, 5, 1), 50);
    clock_at(100);
    assert_int_equal(take(f->l, 10, 5, 1), 0);
    assert_int_equal(take(f->l, 10, 5, 1), 100);
}

static void bucket_never_holds_more_than_its_burst(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(take(f->l, 10, 5, 5), 0);
    clock_at(HOUR_MS);
    assert_int_equal(take(f->l, 10, 5, 5), 0);
    assert_int_equal(take(f->l, 10, 5, 1), 100);
}

static void bucket_gives_the_whole_cost_or_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(take(f->l, 1, 10, 7), 0);
    assert_int_equal(take(f->l, 1, 10, 5), 2000);
    assert_int_equal(take(f->l, 1, 10, 3), 0); /* the five took nothing */
}

static void bucket_keeps_fractions(void **state)
{
    struct ledger_fixture *f = *state;
    int given = 0;
    assert_int_equal(take(f->l, 3, 2, 2), 0);
    /* Steps that a third of a second is no multiple of. */
    int64_t steps = ledger_times(f->store.url, 3000, 100);
    for (int64_t i = 1; i <= steps; i++) {
        clock_at(i * 3000 / steps);
        given += take(f->l, 3, 2, 1) == 0 ? 1 : 0;
    }
    assert_int_equal(given, 9);
}

static void clock_going_backwards_mints_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    clock_at(10000);
    assert_int_equal(take(f->l, 1, 2, 2), 0);
    for (int i = 0; i < 10; i++) { /* two hosts, a second apart */
        clock_at(9000);
        assert_int_equal(take(f->l, 1, 2, 1), 2000);
        clock_at(10000);
        assert_int_equal(take(f->l, 1, 2, 1), 1000);
    }
    clock_at(11000);
    assert_int_equal(take(f->l, 1, 2, 1), 0);
}

static void clock_set_back_far_mints_nothing_and_does_not_starve(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(take(f->l, 1, 2, 2), 0);
    clock_at(-24 * HOUR_MS);
    assert_int_equal(take(f->l, 1, 2, 1), 1000);
    clock_at(-24 * HOUR_MS + 1000);
    assert_int_equal(take(f->l, 1, 2, 1), 0);
    assert_int_equal(take(f->l, 1, 2, 1), 1000);
}

static void unlimited_bucket_gives_always_but_in_a_pause(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(take(f->l, 0, 0, 50), 0);
    }
    MUST(ledger_rate_pause(f->l, "github:1", START_MS + 700, &e));
    assert_int_equal(take(f->l, 0, 0, 1), 700);
    clock_at(700);
    assert_int_equal(take(f->l, 0, 0, 1), 0);
}

static void pause_holds_and_is_never_shortened(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    MUST(ledger_rate_pause(f->l, "github:1", START_MS + 60000, &e));
    MUST(ledger_rate_pause(f->l, "github:1", START_MS + 10000, &e));
    assert_int_equal(take(f->l, 10, 5, 1), 60000);
    clock_at(59999);
    assert_int_equal(take(f->l, 10, 5, 1), 1);
    clock_at(60000);
    assert_int_equal(take(f->l, 10, 5, 5), 0); /* full: the pause took nothing */
}

static void bucket_whose_burst_changed_obeys_the_new_one(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(take(f->l, 1, 100, 1), 0);
    assert_int_equal(take(f->l, 1, 5, 5), 0);
    assert_int_equal(take(f->l, 1, 5, 1), 1000);
}

static void impossible_takes_are_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_bucket b = {.name = "github:1", .per_second = 1, .burst = 5};
    int64_t wait_ms;
    struct err e;
    must_fail(ledger_rate_take(f->l, &b, 6, &wait_ms, &e), &e, ERR_PERMANENT);
    must_fail(ledger_rate_take(f->l, &b, 0, &wait_ms, &e), &e, ERR_PERMANENT);
    b.name = "";
    must_fail(ledger_rate_take(f->l, &b, 1, &wait_ms, &e), &e, ERR_PERMANENT);
}

/* --- leases --- */
static bool lease(struct ledger *l, const char *holder, int64_t ttl_ms, int64_t *fence)
{
    bool held = false;
    struct err e;
    MUST(ledger_lease(l, "sweep", holder, ttl_ms, &held, fence, &e));
    return held;
}

static void lease_is_held_by_one(void **state)
{
    struct ledger_fixture *f = *state;
    int64_t a;
    int64_t b;
    assert_true(lease(f->l, "a", 1000, &a));
    assert_false(lease(f->l, "b", 1000, &b));
    assert_int_equal(a, b); /* the fence of who holds it */
    clock_at(999);
    assert_false(lease(f->l, "b", 1000, &b));
    clock_at(1000);
    assert_true(lease(f->l, "b", 1000, &b));
    assert_true(b > a);
    assert_false(lease(f->l, "a", 1000, &a));
}

/* Its holder's clock was a day ahead, and it is gone: it ends by the time that others wait. */
static void lease_of_a_clock_ahead_ends_when_it_is_not_renewed(void **state)
{
    struct ledger_fixture *f = *state;
    int64_t a;
    int64_t b;
    clock_at(24 * HOUR_MS);
    assert_true(lease(f->l, "a", 300, &a));
    clock_at(0);
    assert_false(lease(f->l, "b", 300, &b));
    while (!lease(f->l, "b", 300, &b)) { /* at the latest the test's own time ends this */
        (void)usleep(1000);
    }
    assert_true(b > a);
    assert_false(lease(f->l, "a", 300, &a));
}

static void lease_renewed_keeps_its_fence(void **state)
{
    struct ledger_fixture *f = *state;
    int64_t first;
    int64_t again;
    assert_true(lease(f->l, "a", 1000, &first));
    clock_at(900);
    assert_true(lease(f->l, "a", 1000, &again));
    assert_int_equal(again, first);
    clock_at(1500);
    assert_false(lease(f->l, "b", 1000, &again));
    clock_at(5000); /* run out, and nobody took it */
    assert_true(lease(f->l, "a", 1000, &again));
    assert_int_equal(again, first);
}

static void lease_released_is_free_at_once_and_only_by_its_holder(void **state)
{
    struct ledger_fixture *f = *state;
    int64_t a;
    int64_t b;
    struct err e;
    assert_true(lease(f->l, "a", 1000, &a));
    MUST(ledger_lease_release(f->l, "sweep", "b", &e));
    assert_false(lease(f->l, "b", 1000, &b));
    MUST(ledger_lease_release(f->l, "sweep", "a", &e));
    assert_true(lease(f->l, "b", 1000, &b));
    assert_true(b > a);
}

static void fence_grows_through_release_and_tidy(void **state)
{
    struct ledger_fixture *f = *state;
    int64_t last = 0;
    int64_t removed;
    struct err e;
    for (int i = 0; i < 5; i++) {
        int64_t fence;
        char holder[8];
        (void)snprintf(holder, sizeof holder, "h%d", i % 2);
        assert_true(lease(f->l, holder, 1000, &fence));
        assert_true(fence > last);
        last = fence;
        MUST(ledger_lease_release(f->l, "sweep", holder, &e));
        clock_at((i + 1) * 24 * HOUR_MS);
        MUST(ledger_tidy(f->l, START_MS + (i + 1) * 24 * HOUR_MS, 100, &removed, &e));
    }
}

static void leases_of_other_names_are_apart(void **state)
{
    struct ledger_fixture *f = *state;
    bool held = false;
    int64_t fence;
    struct err e;
    assert_true(lease(f->l, "a", 1000, &fence));
    MUST(ledger_lease(f->l, "other", "b", 1000, &held, &fence, &e));
    assert_true(held);
    must_fail(ledger_lease(f->l, "", "b", 1000, &held, &fence, &e), &e, ERR_PERMANENT);
    must_fail(ledger_lease(f->l, "other", "b", 0, &held, &fence, &e), &e, ERR_PERMANENT);
}

/* --- marks --- */
static void marks_are_kept(void **state)
{
    struct ledger_fixture *f = *state;
    int64_t value = -1;
    struct err e;
    MUST(ledger_counter_get(f->l, "cursor", &value, &e));
    assert_int_equal(value, 0);
    MUST(ledger_counter_add(f->l, "cursor", 5, &value, &e));
    assert_int_equal(value, 5);
    MUST(ledger_counter_add(f->l, "cursor", -2, &value, &e));
    assert_int_equal(value, 3);
    MUST(ledger_counter_set(f->l, "cursor", 1LL << 60, &e));
    f->l = must_open_again(f->l, f->store.url);
    MUST(ledger_counter_get(f->l, "cursor", &value, &e));
    assert_int_equal(value, 1LL << 60);
    must_fail(ledger_counter_set(f->l, "", 1, &e), &e, ERR_PERMANENT);
}

static void bucket_that_hardly_fills_says_a_wait_that_is_a_number(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(take(f->l, 1e-30, 1, 1), 0);
    assert_int_equal(take(f->l, 1e-30, 1, 1), 1000000000000000LL);
}

const struct CMUnitTest ledger_shared_tests[] = {
    LEDGER_TEST(bucket_gives_its_burst_then_its_rate),
    LEDGER_TEST(bucket_that_hardly_fills_says_a_wait_that_is_a_number),
    LEDGER_TEST(bucket_never_holds_more_than_its_burst),
    LEDGER_TEST(bucket_gives_the_whole_cost_or_nothing),
    LEDGER_TEST(bucket_keeps_fractions),
    LEDGER_TEST(clock_going_backwards_mints_nothing),
    LEDGER_TEST(clock_set_back_far_mints_nothing_and_does_not_starve),
    LEDGER_TEST(unlimited_bucket_gives_always_but_in_a_pause),
    LEDGER_TEST(pause_holds_and_is_never_shortened),
    LEDGER_TEST(bucket_whose_burst_changed_obeys_the_new_one),
    LEDGER_TEST(impossible_takes_are_refused),
    LEDGER_TEST(lease_is_held_by_one),
    LEDGER_TEST(lease_of_a_clock_ahead_ends_when_it_is_not_renewed),
    LEDGER_TEST(lease_renewed_keeps_its_fence),
    LEDGER_TEST(lease_released_is_free_at_once_and_only_by_its_holder),
    LEDGER_TEST(fence_grows_through_release_and_tidy),
    LEDGER_TEST(leases_of_other_names_are_apart),
    LEDGER_TEST(marks_are_kept),
};
const size_t ledger_shared_test_count = COUNT_OF(ledger_shared_tests);

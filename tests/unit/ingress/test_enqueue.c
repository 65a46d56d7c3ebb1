/*
 * Puts that are given up, before and after they began: none costs its thread for ever, and what was
 * taken back is not put.
 */

#include <string.h>

#include "common/base/clock.h"
#include "ingress/enqueue.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define PATIENCE_US (30 * 1000000LL)
#define ROUNDS 500

static struct queue *q;

/* Puts that begin from now on hang, and fail so in the end. */
static void block_and_fail(enum err_class class)
{
    const struct call_plan plan = {.function = "queue_put", .waits = true, .fails = class};
    calls_replan(&plan, 1);
}

static void block(bool blocked)
{
    block_and_fail(ERR_NONE);
    if (!blocked) {
        calls_replan(NULL, 0);
    }
}

static size_t begun(void)
{
    return calls_count("queue_put", NULL);
}

static int put_within(struct enqueue_pool *p, const struct enqueue_limits *limits, uint64_t *ticket,
                      struct err *e)
{
    struct queue_item item = {.lane = "events", .body = SLICE("body"), .key = "1"};
    return enqueue_with_deadline(p, q, &item, 1, limits, ticket, e);
}

static int put(struct enqueue_pool *p, int64_t patience_us, struct err *e)
{
    uint64_t ticket;
    const struct enqueue_limits limits = {.deadline_us = clock_mono_us() + patience_us};
    return put_within(p, &limits, &ticket, e);
}

/* A caller becomes crowded when its put has begun. */
static bool has_begun(void *arg)
{
    (void)arg;
    return begun() > 0;
}

/* A put that is abandoned once it has begun; returns its ticket. */
static uint64_t abandon_one(struct enqueue_pool *p, enum err_class in_the_end)
{
    struct err e = {0};
    uint64_t ticket = 0;
    const struct enqueue_limits limits = {.deadline_us = clock_mono_us() + PATIENCE_US,
                                          .is_crowded = has_begun};
    block_and_fail(in_the_end);
    assert_int_equal(put_within(p, &limits, &ticket, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "half of the places"));
    assert_true(ticket != 0);
    assert_int_equal(enqueue_outcome(p, ticket), ENQUEUE_PENDING);
    return ticket;
}

static void wait_for_outcome(struct enqueue_pool *p, uint64_t ticket, enum enqueue_outcome wanted)
{
    int64_t give_up = clock_mono_us() + PATIENCE_US;
    while (enqueue_outcome(p, ticket) == ENQUEUE_PENDING) {
        assert_true(clock_mono_us() < give_up);
        clock_sleep_until(clock_mono_ms() + 1);
    }
    assert_int_equal(enqueue_outcome(p, ticket), wanted);
}

/* What arrived at the queue, each one as it was put. */
static size_t arrived(void)
{
    struct queue_message m;
    size_t n = 0;
    size_t got = 1;
    struct err e;
    while (got > 0) {
        MUST(queue_receive(q, "events", 1, PATIENCE_US, 0, &m, &got, &e));
        if (got > 0) {
            assert_string_equal(m.key, "1");
            assert_string_equal(m.body, "body");
            MUST(queue_ack(q, &m, 1, &e));
            queue_message_fini(&m);
            n++;
        }
    }
    return n;
}

/* As a commit thread does whose enqueuer may still run an earlier put. */
static void put_in_the_end(struct enqueue_pool *p)
{
    struct err e = {0};
    int64_t give_up = clock_mono_us() + PATIENCE_US;
    while (put(p, PATIENCE_US, &e) != 0) {
        assert_int_equal(e.class, ERR_RETRY);
        assert_true(clock_mono_us() < give_up);
        clock_sleep_until(clock_mono_ms() + 1);
    }
}

static int set_up(void **state)
{
    struct err e;
    calls_reset();
    MUST(queue_open("memory://enqueuer", &q, &e));
    return 0;
}

static int tear_down(void **state)
{
    queue_close(q);
    return 0;
}

static void put_given_up_before_it_began_costs_no_thread(void **state)
{
    struct err e = {0};
    struct enqueue_pool *p;
    assert_int_equal(enqueue_pool_new(1, &p, &e), 0);
    for (int i = 0; i < ROUNDS; i++) {
        (void)!put(p, 1, &e); /* whether it began in a millionth of a second is chance */
        put_in_the_end(p);
    }
    enqueue_pool_free(p);
    size_t put_in_all = arrived();
    assert_in_range(put_in_all, ROUNDS, 2 * ROUNDS);
    assert_int_equal(begun(), put_in_all);
}

static void put_given_up_after_it_began_keeps_its_thread_until_it_returns(void **state)
{
    struct err e = {0};
    struct enqueue_pool *p;
    assert_int_equal(enqueue_pool_new(1, &p, &e), 0);
    block(true);
    while (begun() == 0) {
        assert_int_equal(put(p, 20000, &e), -1);
    }
    assert_int_equal(put(p, PATIENCE_US, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(begun(), 1);
    block(false);
    put_in_the_end(p);
    enqueue_pool_free(p);
    assert_int_equal(arrived(), 2);
}

static void ticket_says_what_became_of_an_abandoned_put(void **state)
{
    struct err e = {0};
    struct enqueue_pool *p;
    assert_int_equal(enqueue_pool_new(2, &p, &e), 0);
    uint64_t ticket = abandon_one(p, ERR_NONE);
    block(false);
    wait_for_outcome(p, ticket, ENQUEUE_CONFIRMED);
    assert_int_equal(enqueue_outcome(p, ticket + 1), ENQUEUE_UNKNOWN);
    assert_int_equal(enqueue_outcome(p, 0), ENQUEUE_UNKNOWN);
    assert_int_equal(arrived(), 1);
    calls_reset();
    ticket = abandon_one(p, ERR_RETRY);
    block(false);
    wait_for_outcome(p, ticket, ENQUEUE_UNKNOWN);
    enqueue_pool_free(p);
    assert_int_equal(arrived(), 0);
}

static bool is_always(void *arg)
{
    (void)arg;
    return true;
}

static void crowd_does_not_end_a_put_that_is_not_stuck_yet(void **state)
{
    struct err e = {0};
    struct enqueue_pool *p;
    uint64_t ticket = 1;
    const struct enqueue_limits limits = {.deadline_us = clock_mono_us() + PATIENCE_US,
                                          .crowded_us = clock_mono_us() + PATIENCE_US,
                                          .is_crowded = is_always};
    assert_int_equal(enqueue_pool_new(1, &p, &e), 0);
    assert_int_equal(put_within(p, &limits, &ticket, &e), 0);
    assert_true(ticket == 0);
    enqueue_pool_free(p);
    assert_int_equal(arrived(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(put_given_up_before_it_began_costs_no_thread, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            put_given_up_after_it_began_keeps_its_thread_until_it_returns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticket_says_what_became_of_an_abandoned_put, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(crowd_does_not_end_a_put_that_is_not_stuck_yet, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

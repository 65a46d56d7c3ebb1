/*
 * The circuit breaker: what stops a class, who tries it again, and what starts it. Two workers
 * share a scripted ledger; time is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/breaker.h"

#define PAUSE_MS 60000
#define MARKS 16

static struct {
    struct {
        char name[64];
        int64_t value;
    } marks[MARKS];
    char lease_holder[64];
    int64_t lease_until_ms;
    int64_t now_ms;
    int calls;
    bool down;
} store;

static int64_t mono_us(void)
{
    return store.now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + store.now_ms;
}

static int64_t *mark(const char *name)
{
    for (size_t i = 0; i < MARKS; i++) {
        if (store.marks[i].name[0] == '\0') {
            (void)snprintf(store.marks[i].name, sizeof store.marks[i].name, "%s", name);
        }
        if (strcmp(store.marks[i].name, name) == 0) {
            return &store.marks[i].value;
        }
    }
    fail_msg("more marks than a breaker needs");
    return NULL;
}

static int asked(struct err *e)
{
    store.calls++;
    return store.down ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

int ledger_mark_get(struct ledger *l, const char *name, int64_t *out, struct err *e)
{
    (void)l;
    *out = *mark(name);
    return asked(e);
}

int ledger_mark_set(struct ledger *l, const char *name, int64_t value, struct err *e)
{
    (void)l;
    *mark(name) = value;
    return asked(e);
}

int ledger_mark_add(struct ledger *l, const char *name, int64_t n, int64_t *out, struct err *e)
{
    (void)l;
    *out = *mark(name) += n;
    return asked(e);
}

int ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms, bool *held,
                 int64_t *fence, struct err *e)
{
    (void)l;
    (void)name;
    *held = store.lease_until_ms <= store.now_ms || strcmp(store.lease_holder, holder) == 0;
    *fence = 1;
    if (*held) {
        (void)snprintf(store.lease_holder, sizeof store.lease_holder, "%s", holder);
        store.lease_until_ms = store.now_ms + ttl_ms;
    }
    return asked(e);
}

int ledger_lease_release(struct ledger *l, const char *name, const char *holder, struct err *e)
{
    (void)l;
    (void)name;
    if (strcmp(store.lease_holder, holder) == 0) {
        store.lease_until_ms = 0;
    }
    return asked(e);
}

static struct breaker *one;
static struct breaker *two;
static struct config config;
static int64_t next_job;

static int set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    memset(&store, 0, sizeof store);
    store.now_ms = 1000000;
    next_job = 1;
    config.breaker =
        (struct config_breaker){.failures = 5, .pause_ms = PAUSE_MS, .max_pause_ms = 15 * PAUSE_MS};
    config.worker.lease_ms = 120000;
    one = breaker_new(NULL, "small");
    two = breaker_new(NULL, "small");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    breaker_free(one);
    breaker_free(two);
    return 0;
}

static void pass(int64_t ms)
{
    store.now_ms += ms;
}

static struct breaker_refusal refuse_job(struct breaker *b, const char *message, int64_t job)
{
    struct err e = {0};
    (void)err_set(&e, ERR_PERMANENT, 422, "no such image");
    return breaker_refused(b, &config, message, job, &e);
}

/* Takes a message, the launch of which is refused. */
static struct breaker_refusal refuse(struct breaker *b)
{
    char message[32];
    (void)snprintf(message, sizeof message, "m-%lld", (long long)next_job);
    breaker_taken(b, message);
    return refuse_job(b, message, next_job++);
}

static void launch(struct breaker *b)
{
    breaker_taken(b, "good");
    breaker_launched(b, "good");
}

static void refusals_in_a_row_stop_the_class_everywhere(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(breaker_wait_ms(one, &config), 0);
        assert_false(refuse(i % 2 == 0 ? one : two).stopped);
    }
    struct breaker_refusal last = refuse(one);
    assert_true(last.stopped);
    assert_true(last.delay_ms > PAUSE_MS);
    assert_int_equal(breaker_wait_ms(one, &config), PAUSE_MS);
    pass(1000);
    assert_int_equal(breaker_wait_ms(two, &config), PAUSE_MS - 1000);
}

static void success_of_any_worker_begins_the_count_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        (void)refuse(one);
    }
    pass(1000);
    launch(two);
    for (int i = 0; i < 4; i++) {
        assert_false(refuse(one).stopped);
    }
    assert_true(refuse(one).stopped);
}

static void one_job_does_not_stop_its_class(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse_job(one, "m", 42).stopped);
    }
}

static void stop(void)
{
    for (int i = 0; i < 5; i++) {
        (void)refuse(one);
    }
}

static void what_was_taken_before_goes_back_and_opens_it_no_further(void **state)
{
    (void)state;
    stop();
    for (int i = 0; i < 10; i++) {
        assert_true(refuse_job(i % 2 == 0 ? one : two, "earlier", 100 + i).stopped);
    }
    assert_int_equal(breaker_wait_ms(one, &config), PAUSE_MS);
    assert_int_equal(*mark("breaker.small.opens"), 1);
}

static void refusal_that_overtakes_the_one_that_stops_waits_too(void **state)
{
    (void)state;
    *mark("breaker.small.failures") = 5; /* the other worker has counted, and not yet stopped it */
    assert_true(refuse(one).stopped);
    assert_int_equal(*mark("breaker.small.opens"), 0);
    assert_int_equal(breaker_wait_ms(one, &config), PAUSE_MS);
}

static void after_the_pause_one_worker_tries_one_message(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(breaker_wait_ms(one, &config), 0);
    assert_true(breaker_wait_ms(two, &config) > 0);
    breaker_taken(one, "m");
    assert_true(breaker_wait_ms(one, &config) > 0);
    assert_true(breaker_wait_ms(two, &config) > 0);
}

static void success_of_the_try_starts_the_class_everywhere(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(breaker_wait_ms(one, &config), 0);
    launch(one);
    assert_int_equal(breaker_wait_ms(one, &config), 0);
    pass(1000);
    assert_int_equal(breaker_wait_ms(two, &config), 0);
    assert_false(refuse(two).stopped);
}

static void refusal_of_the_try_doubles_the_pause_up_to_its_bound(void **state)
{
    (void)state;
    const int64_t pauses[] = {2, 4, 8, 15, 15};
    stop();
    pass(PAUSE_MS);
    for (size_t i = 0; i < COUNT_OF(pauses); i++) {
        struct breaker *b = i % 2 == 0 ? one : two;
        pass(1000);
        assert_int_equal(breaker_wait_ms(b, &config), 0);
        assert_true(refuse(b).stopped);
        assert_int_equal(breaker_wait_ms(b, &config), pauses[i] * PAUSE_MS);
        pass(pauses[i] * PAUSE_MS);
    }
}

static void try_without_a_verdict_lets_the_next_one_try(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(breaker_wait_ms(one, &config), 0);
    breaker_taken(one, "m");
    breaker_no_verdict(one, "another");
    assert_true(breaker_wait_ms(two, &config) > 0);
    breaker_no_verdict(one, "m");
    assert_int_equal(breaker_wait_ms(two, &config), 0);
}

static void worker_that_died_over_its_try_blocks_nobody(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(breaker_wait_ms(one, &config), 0);
    breaker_taken(one, "m");
    pass(config.worker.lease_ms);
    assert_int_equal(breaker_wait_ms(two, &config), 0);
}

static void well_class_costs_no_writes_and_one_look_a_second(void **state)
{
    (void)state;
    assert_int_equal(breaker_wait_ms(one, &config), 0);
    int looked = store.calls;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(breaker_wait_ms(one, &config), 0);
        launch(one);
        pass(9);
    }
    assert_int_equal(store.calls, looked);
}

static void breaker_is_off_at_zero_and_stops_nothing_without_the_ledger(void **state)
{
    (void)state;
    config.breaker.failures = 0;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse(one).stopped);
    }
    config.breaker.failures = 5;
    store.down = true;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse(one).stopped);
        pass(1000);
        assert_int_equal(breaker_wait_ms(one, &config), 0);
    }
}

static void only_what_would_fail_again_counts(void **state)
{
    (void)state;
    const enum err_class counts[] = {ERR_PERMANENT, ERR_AUTH, ERR_NOT_FOUND};
    const enum err_class does_not[] = {ERR_RETRY, ERR_THROTTLED, ERR_CAPACITY, ERR_CONFLICT};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct err e = {.class = counts[i]};
        assert_true(breaker_counts(&e));
    }
    for (size_t i = 0; i < COUNT_OF(does_not); i++) {
        struct err e = {.class = does_not[i]};
        assert_false(breaker_counts(&e));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(refusals_in_a_row_stop_the_class_everywhere),
        CASE(success_of_any_worker_begins_the_count_anew),
        CASE(one_job_does_not_stop_its_class),
        CASE(what_was_taken_before_goes_back_and_opens_it_no_further),
        CASE(refusal_that_overtakes_the_one_that_stops_waits_too),
        CASE(after_the_pause_one_worker_tries_one_message),
        CASE(success_of_the_try_starts_the_class_everywhere),
        CASE(refusal_of_the_try_doubles_the_pause_up_to_its_bound),
        CASE(try_without_a_verdict_lets_the_next_one_try),
        CASE(worker_that_died_over_its_try_blocks_nobody),
        CASE(well_class_costs_no_writes_and_one_look_a_second),
        CASE(breaker_is_off_at_zero_and_stops_nothing_without_the_ledger),
        CASE(only_what_would_fail_again_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * When the message of a repository at its cap comes back: soon, and few of them each second.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tests/lib/cmocka.h"
#include "worker/returns.h"

static int64_t now_ms;

static int64_t returns_mono_us(void)
{
    return now_ms * 1000;
}

static void fixed_bytes(void *out, size_t size)
{
    memset(out, 0x5b, size);
}

static const struct clock_source source = {.mono_us = returns_mono_us};
static const struct ledger_reservation full = {.outcome = LEDGER_FULL_REPOSITORY};

static int set_up(void **state)
{
    static struct worker w;
    w = (struct worker){.config = NULL};
    now_ms = 1000000;
    clock_set_source(&source);
    random_set_source(fixed_bytes);
    state[0] = &w;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clock_set_source(NULL);
    random_set_source(NULL);
    return 0;
}

static int64_t delay(struct worker *w, int64_t cap, const char *repository)
{
    struct config c = {.limits = {.max_vms_per_repository = cap}};
    return returns_delay_ms(w, &c, &full, repository);
}

static void one_message_comes_back_after_a_second(void **state)
{
    struct worker *w = *state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(delay(w, 2, "acme/noisy"), 1000);
        now_ms += 1000;
    }
}

static void messages_come_back_one_after_the_other(void **state)
{
    struct worker *w = *state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(delay(w, 2, "acme/noisy"), 1000 + 500 * i);
    }
    assert_int_equal(delay(w, 2, "acme/quiet"), 1000); /* not behind those of another */
    assert_int_equal(delay(w, 10, "acme/big"), 1000);
    assert_int_equal(delay(w, 10, "acme/big"), 1100);
}

/* However many there are: in any second at most twenty, and none is away for longer than 15 minutes. */
static void many_messages_are_no_more_than_twenty_a_second(void **state)
{
    struct worker *w = *state;
    int64_t last = 0;
    int64_t in_the_first_minute = 0;
    for (int i = 0; i < 100000; i++) {
        int64_t at = delay(w, 2, "acme/noisy");
        assert_true(at <= 15 * 60 * 1000);
        assert_true(at - last >= 50 || at == 15 * 60 * 1000);
        in_the_first_minute += at < 60000 ? 1 : 0;
        last = at;
    }
    assert_int_equal(in_the_first_minute, 118);
    assert_int_equal(last, 15 * 60 * 1000);
}

/* More than there are places: some share one, and none waits for another. */
static void message_waits_for_none_of_another_repository(void **state)
{
    struct worker *w = *state;
    char repository[32];
    for (int i = 0; i < 5 * WORKER_RETURNS; i++) {
        (void)snprintf(repository, sizeof repository, "acme/app-%d", i);
        assert_int_equal(delay(w, 2, repository), 1000);
    }
}

static void hundred_repositories_keep_their_turns(void **state)
{
    struct worker *w = *state;
    char repository[32];
    for (int turn = 0; turn < 10; turn++) {
        for (int i = 0; i < 100; i++) {
            (void)snprintf(repository, sizeof repository, "acme/noisy-%d", i);
            assert_int_equal(delay(w, 2, repository), 1000 + 500 * turn);
        }
    }
}

static void other_causes_have_delays_of_their_own(void **state)
{
    struct worker *w = *state;
    const struct config c = {.limits = {.max_vms_per_repository = 0}};
    const struct ledger_reservation fleet = {.outcome = LEDGER_FULL_FLEET};
    const struct ledger_reservation class = {.outcome = LEDGER_FULL_CLASS};
    const struct ledger_reservation target = {.outcome = LEDGER_FULL_TARGET};
    const struct ledger_reservation rate = {.outcome = LEDGER_RATE, .wait_ms = 250};
    const struct ledger_reservation pause = {.outcome = LEDGER_RATE};
    assert_int_equal(returns_delay_ms(w, &c, &fleet, "acme/noisy"), 20);
    assert_int_equal(returns_delay_ms(w, &c, &class, "acme/noisy"), 20);
    assert_int_equal(returns_delay_ms(w, &c, &target, "acme/noisy"), 20);
    assert_int_equal(returns_delay_ms(w, &c, &rate, "acme/noisy"), 250);
    assert_int_equal(returns_delay_ms(w, &c, &pause, "acme/noisy"), 1000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_message_comes_back_after_a_second),
        CASE(messages_come_back_one_after_the_other),
        CASE(many_messages_are_no_more_than_twenty_a_second),
        CASE(message_waits_for_none_of_another_repository),
        CASE(hundred_repositories_keep_their_turns),
        CASE(other_causes_have_delays_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

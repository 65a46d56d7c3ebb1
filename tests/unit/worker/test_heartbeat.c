/*
 * The heartbeat of launches in flight, over a scripted queue and a clock of the test's own.
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
#include "worker/heartbeat.h"

#define LEASE_MS 30000
#define TIMEOUT_MS 300000

static struct {
    int64_t now_ms;
    int extended;
    char last_id[64];
    int64_t last_lease_ms;
    enum err_class fail;
    enum err_class fail_row;
    int stamped;
    int64_t takes_ms;
} store;

static struct worker worker;
static struct heartbeat *beats;

static int64_t mono_us(void)
{
    return store.now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + store.now_ms;
}

int queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    assert_ptr_equal(q, worker.queue);
    store.extended++;
    memcpy(store.last_id, m->id, sizeof store.last_id);
    store.last_lease_ms = lease_ms;
    store.now_ms += store.takes_ms;
    if (store.fail != ERR_NONE) {
        return err_set(e, store.fail, 0, "scripted");
    }
    (void)snprintf(m->receipt, sizeof m->receipt, "receipt-%d", store.extended);
    m->leased_until_ms = wall_ms() + lease_ms;
    return 0;
}

int ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e)
{
    assert_ptr_equal(l, worker.ledger);
    assert_string_equal(name, "mf-1");
    store.stamped++;
    return store.fail_row != ERR_NONE ? err_set(e, store.fail_row, 0, "scripted") : 0;
}

static int set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    memset(&store, 0, sizeof store);
    store.now_ms = 5000000;
    worker.queue = (struct queue *)&store; /* never looked into, as this: */
    worker.ledger = (struct ledger *)&store.stamped;
    beats = heartbeat_new(&worker);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    heartbeat_free(beats);
    return 0;
}

static void begin(struct heartbeat_launch *l, struct queue_message *m, const char *id)
{
    *m = (struct queue_message){.leased_until_ms = wall_ms() + LEASE_MS};
    (void)snprintf(m->id, sizeof m->id, "%s", id);
    (void)snprintf(m->receipt, sizeof m->receipt, "receipt-0");
    heartbeat_begin(beats, l, m, LEASE_MS, TIMEOUT_MS);
}

static int rounds(int64_t ms)
{
    int before = store.extended;
    for (int64_t end = store.now_ms + ms; store.now_ms < end;) {
        store.now_ms += 1000;
        (void)heartbeat_round(beats);
    }
    return store.extended - before;
}

static void launch_in_flight_is_extended_each_third_of_its_lease(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    begin(&l, &m, "m-1");
    assert_int_equal(heartbeat_round(beats), 1000);
    store.now_ms += LEASE_MS / 3 - 1;
    assert_int_equal(heartbeat_round(beats), 1);
    assert_int_equal(store.extended, 0);
    store.now_ms += 1;
    (void)heartbeat_round(beats);
    assert_int_equal(store.extended, 1);
    assert_string_equal(store.last_id, "m-1");
    assert_int_equal(store.last_lease_ms, LEASE_MS);
    assert_int_equal(rounds(200000), 20);
    heartbeat_end(beats, &l);
    assert_string_equal(m.receipt, "receipt-21");
    assert_int_equal(m.leased_until_ms, wall_ms() + LEASE_MS);
}

static void launch_that_ended_is_left_alone_and_others_go_on(void **state)
{
    (void)state;
    struct heartbeat_launch l[3];
    struct queue_message m[3];
    begin(&l[0], &m[0], "m-0");
    begin(&l[1], &m[1], "m-1");
    begin(&l[2], &m[2], "m-2");
    heartbeat_end(beats, &l[1]);
    assert_int_equal(rounds(LEASE_MS / 3), 2);
    assert_string_equal(m[1].receipt, "receipt-0");
    heartbeat_end(beats, &l[2]);
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_string_equal(store.last_id, "m-0");
    heartbeat_end(beats, &l[0]);
    assert_int_equal(rounds(LEASE_MS), 0);
}

static void hung_step_is_not_kept_alive_and_the_next_step_is(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m, "m-1");
    heartbeat_step(beats, &l, "register", 15000);
    assert_int_equal(rounds(100000), 1);
    assert_false(heartbeat_holds(beats, &l, &age_ms));
    assert_int_equal(age_ms, 90000);
    heartbeat_step(beats, &l, "run", 15000);
    assert_int_equal(rounds(1000), 1);
    assert_true(heartbeat_holds(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void launch_past_its_timeout_is_given_up_whatever_its_steps_say(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    begin(&l, &m, "m-1");
    for (int64_t spent = 0; spent < TIMEOUT_MS + LEASE_MS; spent += 10000) {
        heartbeat_step(beats, &l, "run", 60000);
        (void)rounds(10000);
    }
    assert_int_equal(store.extended, TIMEOUT_MS / 10000 - 1);
    heartbeat_end(beats, &l);
}

static void fence_holds_for_one_lease_after_the_last_heartbeat_began(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m, "m-1");
    store.takes_ms = 3000; /* the lease may have begun as early as the call */
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_true(heartbeat_holds(beats, &l, &age_ms));
    assert_int_equal(age_ms, 3000);
    store.now_ms += LEASE_MS - 3000;
    assert_true(heartbeat_holds(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS);
    store.now_ms += 1;
    assert_false(heartbeat_holds(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void failed_heartbeat_is_tried_several_times_within_the_lease(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m, "m-1");
    store.fail = ERR_RETRY;
    assert_int_equal(rounds(LEASE_MS), 7); /* at 10 s, then each 3 s */
    assert_string_equal(m.receipt, "receipt-0");
    assert_true(heartbeat_holds(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS);
    store.fail = ERR_NONE;
    assert_int_equal(rounds(3000), 1);
    assert_true(heartbeat_holds(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void message_that_became_anothers_is_lost_at_once(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m, "m-1");
    store.fail = ERR_CONFLICT;
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_false(heartbeat_holds(beats, &l, &age_ms));
    store.fail = ERR_NONE;
    assert_int_equal(rounds(LEASE_MS), 0);
    assert_false(heartbeat_holds(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void row_is_stamped_with_the_message_and_both_make_a_heartbeat(void **state)
{
    (void)state;
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m, "m-1");
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_int_equal(store.stamped, 0); /* there is no row yet */
    heartbeat_set_row(beats, &l, "mf-1");
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_int_equal(store.stamped, 1);
    store.fail_row = ERR_RETRY; /* the reaper will not see it: the fence must not hold for longer */
    assert_int_equal(rounds(LEASE_MS), 7);
    assert_string_equal(m.receipt, "receipt-9");
    assert_true(heartbeat_holds(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS);
    store.fail_row = ERR_CONFLICT;
    assert_int_equal(rounds(3000), 1);
    store.fail_row = ERR_NONE;
    assert_int_equal(rounds(LEASE_MS), 0); /* the row is ending: this launch is over */
    assert_false(heartbeat_holds(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_in_flight_is_extended_each_third_of_its_lease),
        CASE(launch_that_ended_is_left_alone_and_others_go_on),
        CASE(hung_step_is_not_kept_alive_and_the_next_step_is),
        CASE(launch_past_its_timeout_is_given_up_whatever_its_steps_say),
        CASE(fence_holds_for_one_lease_after_the_last_heartbeat_began),
        CASE(failed_heartbeat_is_tried_several_times_within_the_lease),
        CASE(message_that_became_anothers_is_lost_at_once),
        CASE(row_is_stamped_with_the_message_and_both_make_a_heartbeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The heartbeat of launches in flight.
 */
#include <stdlib.h>

#include "tests/unit/worker/world.h"
#include "worker/heartbeat.h"

static struct heartbeat *beats;

static int set_up(void **state)
{
    int rc = world_set_up(state);
    beats = heartbeat_new(&world.worker);
    return rc;
}

static int tear_down(void **state)
{
    heartbeat_free(beats);
    return world_tear_down(state);
}

/* With the next message. */
static void begin(struct heartbeat_launch *l, struct queue_message *m)
{
    world_put("launch.small", "");
    *m = world_take("launch.small");
    free(m->body);
    m->body = NULL;
    heartbeat_begin(beats, l, m, LEASE_MS, TIMEOUT_MS);
}

/* The message is still this one's, and its receipt the one of its last extension. */
static void finish(struct queue_message *m)
{
    struct err e = {0};
    char until[32] = "";
    (void)snprintf(until, sizeof until, "+%lld", (long long)m->leased_until_ms);
    assert_string_equal(strchr(m->receipt, '+'), until);
    MUST(queue_ack(world.worker.queue, m, 1, &e));
}

static size_t extended(void)
{
    return calls_count("queue_extend", NULL);
}

static void three_seconds_pass(void) /* the lease may have begun as early as the call */
{
    world.now_ms += 3000;
}

static int rounds(int64_t ms)
{
    size_t before = extended();
    for (int64_t end = world.now_ms + ms; world.now_ms < end;) {
        world.now_ms += 1000;
        (void)heartbeat_send_due(beats);
    }
    return (int)(extended() - before);
}

static void launch_in_flight_is_extended_each_third_of_its_lease(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    begin(&l, &m);
    assert_int_equal(heartbeat_send_due(beats), 1000);
    world.now_ms += LEASE_MS / 3 - 1;
    assert_int_equal(heartbeat_send_due(beats), 1);
    assert_int_equal(extended(), 0);
    world.now_ms += 1;
    (void)heartbeat_send_due(beats);
    assert_int_equal(extended(), 1);
    assert_string_equal(calls_args("queue_extend", NULL, 1), "id=1 lease_ms=30000");
    assert_int_equal(rounds(200000), 20);
    heartbeat_end(beats, &l);
    assert_int_equal(m.leased_until_ms, world.now_ms + LEASE_MS);
    finish(&m);
}

static void launch_that_ended_is_left_alone_and_others_go_on(void **state)
{
    struct heartbeat_launch l[3];
    struct queue_message m[3];
    begin(&l[0], &m[0]);
    begin(&l[1], &m[1]);
    begin(&l[2], &m[2]);
    heartbeat_end(beats, &l[1]);
    assert_int_equal(rounds(LEASE_MS / 3), 2);
    assert_null(strchr(m[1].receipt, '+'));
    heartbeat_end(beats, &l[2]);
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_int_equal(calls_count("queue_extend", "id=1 "), 2);
    heartbeat_end(beats, &l[0]);
    assert_int_equal(rounds(LEASE_MS), 0);
}

static void hung_step_is_not_kept_alive_and_the_next_step_is(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m);
    heartbeat_step(beats, &l, "register", 15000);
    assert_int_equal(rounds(100000), 1);
    assert_false(heartbeat_still_held(beats, &l, &age_ms));
    assert_int_equal(age_ms, 90000);
    heartbeat_step(beats, &l, "run", 15000);
    assert_int_equal(rounds(1000), 1);
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void launch_past_its_timeout_is_given_up_whatever_its_steps_say(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    begin(&l, &m);
    for (int64_t spent = 0; spent < TIMEOUT_MS + LEASE_MS; spent += 10000) {
        heartbeat_step(beats, &l, "run", 60000);
        (void)rounds(10000);
    }
    assert_int_equal(extended(), TIMEOUT_MS / 10000 - 1);
    heartbeat_end(beats, &l);
}

static void fence_holds_for_one_lease_after_the_last_heartbeat_began(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m);
    calls_plan(&(struct call_plan){.function = "queue_extend", .happens = three_seconds_pass});
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    assert_int_equal(age_ms, 3000);
    world.now_ms += LEASE_MS - 3000;
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS);
    world.now_ms += 1;
    assert_false(heartbeat_still_held(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void failed_heartbeat_is_tried_several_times_within_the_lease(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m);
    world_fail("queue_extend", ERR_RETRY);
    assert_int_equal(rounds(LEASE_MS), 7); /* at 10 s, then each 3 s */
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS);
    world_heal();
    assert_int_equal(rounds(3000), 1);
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
    finish(&m);
}

static void message_that_became_anothers_is_lost_at_once(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    begin(&l, &m);
    world_fail("queue_extend", ERR_CONFLICT);
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_false(heartbeat_still_held(beats, &l, &age_ms));
    world_heal();
    assert_int_equal(rounds(LEASE_MS), 0);
    assert_false(heartbeat_still_held(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
}

static void row_is_stamped_with_the_message_and_both_make_a_heartbeat(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    struct ledger_vm *row = memory_vm(world.url, "mf-1");
    begin(&l, &m);
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_int_equal(calls_count("ledger_vm_heartbeat", NULL), 0); /* there is no row yet */
    heartbeat_set_row(beats, &l, "mf-1");
    assert_int_equal(rounds(LEASE_MS / 3), 1);
    assert_int_equal(calls_done("ledger_vm_heartbeat", "vm=mf-1"), 1);
    assert_int_equal(row->heartbeat_ms, world.now_ms);
    /* The reaper will not see it: the fence must not hold for longer. */
    world_fail("ledger_vm_heartbeat", ERR_RETRY);
    assert_int_equal(rounds(LEASE_MS), 7);
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS);
    world_heal();
    row->state = VM_ENDING; /* this launch has ended */
    assert_int_equal(rounds(3000), 1);
    row->state = VM_RESERVED;
    assert_int_equal(rounds(LEASE_MS), 0);
    assert_false(heartbeat_still_held(beats, &l, &age_ms));
    heartbeat_end(beats, &l);
    finish(&m);
}

/* A row without stamps counts as a dead worker's: an outage of one store proves nothing about
 * that. */
static void row_is_stamped_while_the_queue_alone_is_down(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    struct ledger_vm *row = memory_vm(world.url, "mf-1");
    begin(&l, &m);
    heartbeat_set_row(beats, &l, "mf-1");
    world_fail("queue_extend", ERR_RETRY);
    assert_int_equal(rounds(LEASE_MS), 7);
    assert_int_equal(calls_done("ledger_vm_heartbeat", "vm=mf-1"), 7);
    assert_true(heartbeat_still_held(beats, &l, &age_ms));
    assert_int_equal(age_ms, LEASE_MS); /* a heartbeat is both */
    (void)rounds(1000);
    assert_false(heartbeat_still_held(beats, &l, &age_ms));
    row->state = VM_ENDING; /* the row is another's, whatever the queue says */
    assert_int_equal(rounds(3000), 1);
    world_heal();
    row->state = VM_RESERVED;
    assert_int_equal(rounds(LEASE_MS), 0);
    heartbeat_end(beats, &l);
}

static struct heartbeat_launch *at_work;

static void launch_leaves_its_row(void)
{
    heartbeat_set_row(beats, at_work, "");
    memory_vm(world.url, "mf-1")->state = VM_ENDING;
}

static void row_that_was_left_while_it_was_stamped_loses_nothing(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    int64_t age_ms;
    (void)state;
    for (int queue_is_down = 0; queue_is_down < 2; queue_is_down++) {
        memory_vm(world.url, "mf-1")->state = VM_RESERVED;
        begin(&l, &m);
        at_work = &l;
        heartbeat_set_row(beats, &l, "mf-1");
        if (queue_is_down) {
            world_fail("queue_extend", ERR_RETRY);
        }
        calls_plan(&(struct call_plan){
            .function = "ledger_vm_heartbeat", .times = 1, .happens = launch_leaves_its_row});
        assert_int_equal(rounds(LEASE_MS / 3), 1);
        assert_true(heartbeat_still_held(beats, &l, &age_ms));
        assert_int_equal(age_ms, queue_is_down ? LEASE_MS / 3 : 0);
        world_heal();
        (void)memory_vm(world.url, "mf-2");
        heartbeat_set_row(beats, &l, "mf-2");
        assert_true(rounds(LEASE_MS / 3) > 0);
        assert_true(calls_done("ledger_vm_heartbeat", "vm=mf-2") > (size_t)queue_is_down);
        heartbeat_end(beats, &l);
        finish(&m);
    }
}

/* Whoever has the message now decides about the row. */
static void row_is_not_stamped_for_a_message_that_became_anothers(void **state)
{
    struct heartbeat_launch l;
    struct queue_message m;
    (void)memory_vm(world.url, "mf-1");
    begin(&l, &m);
    heartbeat_set_row(beats, &l, "mf-1");
    world_fail("queue_extend", ERR_CONFLICT);
    assert_int_equal(rounds(LEASE_MS), 1);
    assert_int_equal(calls_count("ledger_vm_heartbeat", NULL), 0);
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
        CASE(row_is_stamped_while_the_queue_alone_is_down),
        CASE(row_that_was_left_while_it_was_stamped_loses_nothing),
        CASE(row_is_not_stamped_for_a_message_that_became_anothers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

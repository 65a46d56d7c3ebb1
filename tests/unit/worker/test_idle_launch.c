/*
 * Launches of VMs that idle until a job comes: which are made, from whose message, and that none of them
 * spends an attempt or keeps a slot from a job.
 */
#include <stdlib.h>

#include "tests/unit/worker/launch_bed.h"

#define REQUEST(spare)                                                                             \
    "{\"v\":1,\"scope\":\"acme\",\"class\":\"small\",\"reason\":\"min_idle\",\"spare\":" spare "}"

/* Class small keeps so many in acme. */
static void keep_idle(int64_t count)
{
    struct config_min_idle *m = &world.config->classes[0].min_idle;
    m->count = count;
    if (m->scopes.count == 0) {
        m->scopes.items = calloc(1, sizeof *m->scopes.items);
        ASSERT(m->scopes.items != NULL);
        m->scopes.items[0] = strdup("acme");
        ASSERT(m->scopes.items[0] != NULL);
        m->scopes.count = 1;
    }
}

static int set_up(void **state)
{
    (void)state;
    int rc = launch_bed_set_up("small");
    keep_idle(1);
    return rc;
}

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

static struct ledger_vm *add_idle(const char *name)
{
    struct ledger_vm *vm = memory_vm(world.url, name);
    vm->state = VM_LAUNCHED;
    memcpy(vm->scope, "acme", sizeof "acme");
    memcpy(vm->class_name, "small", sizeof "small");
    return vm;
}

static void launch_job(int64_t id)
{
    world_put_queued("launch.small", "small", id);
    launch_bed_next("launch.small", 0);
}

static void launch_body(const char *body, int64_t attempts)
{
    world_put("launch.small", body);
    launch_bed_next("launch.small", attempts);
}

static int launched(void)
{
    return (int)calls_done("vm_run", NULL);
}

/* --- the message of a job --- */

static void job_that_an_idle_vm_takes_launches_the_next_idle_vm(void **state)
{
    (void)state;
    (void)add_idle("mf-idle");
    launch_job(42);
    assert_int_equal(launched(), 1);
    assert_int_equal(calls_count("ledger_reserve", "job=42 "), 1);
    assert_int_equal(calls_count("ledger_reserve", "job=0 "), 1);
    assert_int_equal(calls_done("queue_ack", NULL), 1);
    assert_int_equal(calls_count("github_register_runner", "installation=11 "), 1);
    launch_job(43); /* it takes that one */
    assert_int_equal(launched(), 2);
    launch_job(43); /* a message too many */
    assert_int_equal(launched(), 2);
    assert_int_equal(calls_done("queue_ack", NULL), 3);
}

/* It was faster than the message. */
static void job_that_runs_by_now_launches_the_next_idle_vm(void **state)
{
    (void)state;
    memory_job(world.url, 42)->state = JOB_RUNNING;
    launch_job(42);
    assert_int_equal(launched(), 1);
    launch_job(42);
    assert_int_equal(launched(), 1);
}

static void job_without_an_idle_vm_is_launched_as_ever(void **state)
{
    (void)state;
    launch_job(42);
    assert_int_equal(launched(), 1);
    assert_int_equal(calls_count("ledger_reserve", NULL), 1);
}

static void none_follows_where_none_are_kept(void **state)
{
    (void)state;
    (void)add_idle("mf-idle");
    keep_idle(0);
    launch_job(42);
    keep_idle(1);
    memcpy(world.config->classes[0].min_idle.scopes.items[0], "ocme", 4);
    launch_job(42);
    assert_int_equal(launched(), 0);
    assert_int_equal(calls_count("ledger_reserve", "job=0 "), 0);
    assert_int_equal(calls_done("queue_ack", NULL), 2);
}

static void none_follows_at_a_cap_or_soon_after_it(void **state)
{
    (void)state;
    (void)add_idle("mf-idle");
    lane.was_full = true;
    launch_job(42);
    assert_int_equal(launched(), 0);
    assert_int_equal(calls_count("ledger_reserve", "job=0 "), 0);
    lane.was_full = false;
    add_idle("mf-busy1")->state = VM_BUSY;
    add_idle("mf-busy2")->state = VM_BUSY;
    launch_job(42);
    assert_int_equal(launched(), 0);
    assert_int_equal(calls_done("queue_ack", NULL), 2);
}

/* --- requests without a job --- */

static void request_launches_up_to_what_is_kept_now(void **state)
{
    (void)state;
    keep_idle(2);
    launch_body(REQUEST("2"), 0);
    launch_body(REQUEST("2"), 0);
    launch_body(REQUEST("2"), 0);
    assert_int_equal(launched(), 2);
    launch_body(REQUEST("3"), 0); /* one of the two is to be replaced */
    assert_int_equal(launched(), 3);
    keep_idle(1);
    launch_body(REQUEST("4"), 0);
    keep_idle(0);
    launch_body(REQUEST("4"), 0);
    assert_int_equal(launched(), 3);
    assert_int_equal(calls_done("queue_ack", NULL), 6);
}

static void request_without_a_slot_is_dropped(void **state)
{
    (void)state;
    keep_idle(3);
    for (int i = 0; i < 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "mf-busy%d", i);
        add_idle(name)->state = VM_BUSY;
    }
    launch_body(REQUEST("3"), 0);
    assert_int_equal(launched(), 0);
    assert_int_equal(calls_done("queue_ack", NULL), 1);
}

static void request_that_fails_waits_and_spends_no_attempt(void **state)
{
    (void)state;
    world_fail("github_register_runner", ERR_PERMANENT);
    launch_body(REQUEST("1"), 100);
    assert_int_equal(launched(), 0);
    assert_int_equal(calls_done("queue_nack", NULL), 1);
    assert_int_equal(calls_count("queue_nack", " spent "), 0);
    assert_int_equal(calls_count("queue_dead_letter", NULL), 0);
}

#define IDLE_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, launch_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IDLE_CASE(job_that_an_idle_vm_takes_launches_the_next_idle_vm),
        IDLE_CASE(job_that_runs_by_now_launches_the_next_idle_vm),
        IDLE_CASE(job_without_an_idle_vm_is_launched_as_ever),
        IDLE_CASE(none_follows_where_none_are_kept),
        IDLE_CASE(none_follows_at_a_cap_or_soon_after_it),
        IDLE_CASE(request_launches_up_to_what_is_kept_now),
        IDLE_CASE(request_without_a_slot_is_dropped),
        IDLE_CASE(request_that_fails_waits_and_spends_no_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

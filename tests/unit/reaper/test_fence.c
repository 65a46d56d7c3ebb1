/*
 * A reaper that was frozen, suspended or merely slow, and acts only under a lease that is its own;
 * and the pace at which VMs are ended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/reaper/world.h"

#define LEASE_MS 60000

static const char config_text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"},"
    " \"reaper\": {\"records_interval_ms\": 10, \"confirm_after_ms\": 10, \"patience_ms\": 60000, "
    "\"lease_ms\": 60000,"
    " \"deadline_grace_ms\": 1000},"
    " \"limits\": {\"max_vms\": 1000, \"terminate_rate\": {\"per_second\": 10, \"burst\": 1}},"
    " \"classes\": [{\"name\": \"small\", \"labels\": [\"self-hosted\"], \"provider\": \"qemu\","
    " \"max_vms\": 1000, \"max_duration_seconds\": 3600, \"qemu\": {\"image\": \"/none\"}}]}";

static struct reaper reaper;

static int set_up(void **state)
{
    (void)state;
    world_begin(&reaper, config_text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_end(&reaper);
    return 0;
}

static void add_overdue(int n)
{
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%03d", i);
        (void)world_add_vm(name, VM_BUSY, 3700 * 1000);
        (void)world_add_machine(name, VM_RUN_RUNNING);
    }
}

static void happens_at(enum world_call call, int at, void (*event)(void))
{
    world.event_call = call;
    world.event_at = at;
    world.event = event;
}

/* --- what may happen --- */

static void is_frozen_and_replaced(void)
{
    world_pass(LEASE_MS + 1);
    world.lease_is_ours = false;
    world.lease_fence++;
}

static void is_suspended_and_replaced(void)
{
    world.boot_extra_ms += LEASE_MS + 1;
    world.lease_is_ours = false;
    world.lease_fence++;
}

static void is_frozen_and_nobody_came(void)
{
    world_pass(LEASE_MS + 1);
}

static void is_frozen_and_another_came_and_went(void)
{
    world_pass(LEASE_MS + 1);
    world.lease_fence += 2;
}

static void takes_half_its_time(void)
{
    world_pass(LEASE_MS / 2);
}

static void takes_most_of_its_time(void)
{
    world_pass(LEASE_MS * 3 / 4);
}

static void is_suspended_for_two_thirds(void)
{
    world.boot_extra_ms += LEASE_MS * 2 / 3;
}

static void is_suspended_for_a_little_more(void)
{
    world.boot_extra_ms += LEASE_MS * 2 / 3 + 1;
}

static void takes_most_of_its_time_and_loses_the_ledger(void)
{
    world_pass(LEASE_MS * 3 / 4);
    world.lease_fails = true;
}

/* --- the fence --- */

static void reaper_frozen_between_two_ends_does_not_act_on_its_old_lease(void **state)
{
    (void)state;
    add_overdue(3);
    happens_at(CALL_RATE_TAKE, 2, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(world.ended, 1);
    sweep(&reaper);
    assert_int_equal(world.ended, 1);
}

static void reaper_on_a_suspended_machine_does_not_act_on_its_old_lease(void **state)
{
    (void)state;
    add_overdue(3);
    happens_at(CALL_RATE_TAKE, 2, is_suspended_and_replaced);
    sweep(&reaper);
    assert_int_equal(world.ended, 1);
}

static void reaper_frozen_without_a_successor_goes_on(void **state)
{
    (void)state;
    add_overdue(3);
    happens_at(CALL_RATE_TAKE, 2, is_frozen_and_nobody_came);
    sweep(&reaper);
    assert_int_equal(world.ended, 3);
}

static void reaper_whose_lease_was_anothers_meanwhile_begins_anew(void **state)
{
    (void)state;
    add_overdue(3);
    happens_at(CALL_RATE_TAKE, 2, is_frozen_and_another_came_and_went);
    sweep(&reaper);
    assert_int_equal(world.ended, 1);
    assert_int_equal(reaper.last_sweep_ms, 0); /* that was no whole sweep */
    sweep(&reaper);
    assert_int_equal(world.ended, 3);
    assert_true(reaper.last_sweep_ms > 0);
}

static int lease_calls_with(void (*event)(void))
{
    void *none = NULL;
    tear_down(&none);
    set_up(&none);
    add_overdue(3);
    happens_at(CALL_RATE_TAKE, 2, event);
    sweep(&reaper);
    assert_int_equal(world.ended, 3);
    return world.lease_calls_at_end;
}

static void lease_is_renewed_when_less_than_a_third_is_left(void **state)
{
    (void)state;
    int untouched = lease_calls_with(NULL);
    assert_int_equal(lease_calls_with(takes_half_its_time), untouched);
    assert_int_equal(lease_calls_with(takes_most_of_its_time), untouched + 1);
    assert_int_equal(lease_calls_with(is_suspended_for_two_thirds), untouched);
    assert_int_equal(lease_calls_with(is_suspended_for_a_little_more), untouched + 1);
}

/* It was asked about the lease and did not answer: what is left of the time is not used up. */
static void reaper_acts_no_more_once_the_ledger_does_not_renew_its_lease(void **state)
{
    (void)state;
    add_overdue(3);
    happens_at(CALL_RATE_TAKE, 2, takes_most_of_its_time_and_loses_the_ledger);
    sweep(&reaper);
    assert_int_equal(world.ended, 1);
    world.lease_fails = false;
    sweep(&reaper);
    assert_int_equal(world.ended, 3);
}

static void quick_sweep_asks_for_each_lease_once(void **state)
{
    (void)state;
    sweep(&reaper);
    assert_int_equal(world.lease_calls, 2);
    assert_true(reaper.last_sweep_ms > 0);
}

static void lease_is_renewed_between_tasks_when_a_third_of_it_is_over(void **state)
{
    (void)state;
    (void)world_add_machine("mf-c28ee50a-t-x", VM_RUN_RUNNING);
    sweep(&reaper);
    world_pass(10);
    int before = world.lease_calls;
    happens_at(CALL_DESCRIBE, 1, takes_half_its_time);
    sweep(&reaper);
    assert_int_equal(world.calls[CALL_DESCRIBE], 1);
    assert_int_equal(world.lease_calls - before, 2 + 2);
}

static void host_without_machines_has_no_lease(void **state)
{
    (void)state;
    world.unnamed = true;
    world.lease_of_another = "sweep";
    sweep(&reaper);
    assert_int_equal(world.lease_calls, 1);
    assert_int_equal(reaper.last_sweep_ms, 0); /* there is nothing for it to sweep */
}

static void stray_is_not_ended_after_a_freeze(void **state)
{
    (void)state;
    (void)world_add_machine("mf-c28ee50a-t-x", VM_RUN_RUNNING);
    happens_at(CALL_DESCRIBE, 1, is_frozen_and_replaced);
    sweep(&reaper);
    world_pass(10);
    sweep(&reaper);
    assert_int_equal(world.calls[CALL_DESCRIBE], 1);
    assert_int_equal(world.terminated, 0);
}

static void record_is_not_deleted_after_a_freeze(void **state)
{
    (void)state;
    (void)world_add_runner("mf-c28ee50a-t-small-old", false, false);
    (void)world_add_runner("mf-c28ee50a-t-small-older", false, false);
    happens_at(CALL_GET_RUNNER, 1, is_frozen_and_replaced);
    for (int i = 0; i < 2; i++) {
        sweep(&reaper);
        world_pass(10);
    }
    assert_int_equal(world.calls[CALL_GET_RUNNER], 1);
    assert_int_equal(world.calls[CALL_VM_GET], 2 + 1); /* the rest of the list is not looked at */
    assert_int_equal(world.records_deleted, 0);
}

static void job_is_not_asked_for_again_after_a_freeze(void **state)
{
    (void)state;
    (void)world_add_job(42, "queued");
    world.demand = 1;
    happens_at(CALL_GET_JOB, 1, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(world.calls[CALL_GET_JOB], 1);
    assert_int_equal(world_puts(), 0);
}

static void delivery_is_not_put_after_a_freeze(void **state)
{
    (void)state;
    world.has_hook = true;
    (void)world_add_delivery(42, "queued", 503, 1000);
    happens_at(CALL_PAYLOAD, 1, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(world.payload_calls, 1);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(world.mark_ms, 0);
}

/* The page is read and has nothing to recover; what was read is the next holder's to note. */
static void mark_is_not_moved_after_a_freeze(void **state)
{
    (void)state;
    world.has_hook = true;
    (void)world_add_delivery(42, "queued", 202, 1000);
    happens_at(CALL_LIST_DELIVERIES, 1, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(world.list_calls, 1);
    assert_int_equal(world.mark_ms, 0);
}

/* --- the pace --- */

/* The most tries within any window of a second. */
static int most_in_a_second(void)
{
    int most = 0;
    for (int i = 0, first = 0; i < world.end_tries; i++) {
        while (world.end_times_ms[i] - world.end_times_ms[first] >= 1000) {
            first++;
        }
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    return most;
}

static int gone(void)
{
    int n = 0;
    for (size_t i = 0; i < world.vm_count; i++) {
        n += world.vms[i].state == VM_GONE ? 1 : 0;
    }
    return n;
}

static void five_hundred_vms_are_all_ended_at_the_rate(void **state)
{
    (void)state;
    add_overdue(500);
    world.rate_limited = true;
    int64_t began_ms = world.now_ms;
    sweep(&reaper);
    assert_int_equal(gone(), 500);
    assert_in_range(most_in_a_second(), 9, 10);
    assert_in_range(world.now_ms - began_ms, 49 * 1000, 60 * 1000);
}

static void throttled_ends_are_tried_again_until_all_are_gone(void **state)
{
    (void)state;
    int sweeps = 0;
    add_overdue(500);
    world.rate_limited = true;
    world.end_fails_every = 3;
    for (; gone() < 500 && sweeps < 30; sweeps++) {
        sweep(&reaper);
        world_pass(10000);
    }
    assert_int_equal(gone(), 500);
    assert_true(sweeps > 1);
    assert_int_equal(world.end_tries, 500 + world.end_tries / 3);
    assert_in_range(most_in_a_second(), 9, 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reaper_frozen_between_two_ends_does_not_act_on_its_old_lease),
        CASE(reaper_on_a_suspended_machine_does_not_act_on_its_old_lease),
        CASE(reaper_frozen_without_a_successor_goes_on),
        CASE(reaper_whose_lease_was_anothers_meanwhile_begins_anew),
        CASE(lease_is_renewed_when_less_than_a_third_is_left),
        CASE(reaper_acts_no_more_once_the_ledger_does_not_renew_its_lease),
        CASE(quick_sweep_asks_for_each_lease_once),
        CASE(lease_is_renewed_between_tasks_when_a_third_of_it_is_over),
        CASE(host_without_machines_has_no_lease),
        CASE(stray_is_not_ended_after_a_freeze),
        CASE(record_is_not_deleted_after_a_freeze),
        CASE(job_is_not_asked_for_again_after_a_freeze),
        CASE(delivery_is_not_put_after_a_freeze),
        CASE(mark_is_not_moved_after_a_freeze),
        CASE(five_hundred_vms_are_all_ended_at_the_rate),
        CASE(throttled_ends_are_tried_again_until_all_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

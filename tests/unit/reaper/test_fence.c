/*
 * A reaper that was frozen, suspended or merely slow, and acts only under a lease that is its own;
 * and the pace at which VMs are ended.
 */
#include "tests/unit/reaper/world.h"

#define LEASE_MS 60000

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"stale_runner_scan_interval\": \"10ms\", \"vm_list_interval\": \"0s\", "
    "\"confirm_after\": \"10ms\", "
    "\"relaunch_after\": \"1m\","
    " \"lease_duration\": \"1m\", \"deadline_grace_period\": \"1s\"},"
    " \"limits\": {\"max_vms\": 1000, \"terminate_rate\": {\"per_second\": 10, \"burst\": 1}}",
    WORLD_SMALL("\"max_vms\": 1000, \"max_duration\": \"1h\""));

static void add_overdue(int n)
{
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%03d", i);
        (void)world_add_running(name, VM_BUSY, 3700 * 1000);
    }
}

/* --- what may happen --- */

static void is_frozen_and_replaced(void)
{
    world_pass(LEASE_MS + 1);
    world_take_leases();
}

static void is_suspended_and_replaced(void)
{
    world.boot_extra_ms += LEASE_MS + 1;
    world_take_leases();
}

static void is_frozen_and_nobody_came(void)
{
    world_pass(LEASE_MS + 1);
}

static void is_frozen_and_another_came_and_went(void)
{
    world_pass(LEASE_MS + 1);
    world_take_leases();
    world_give_leases_back();
}

static void takes_half_its_time(void)
{
    world_pass(LEASE_MS / 2);
}

static void takes_most_of_its_time(void)
{
    world_pass(LEASE_MS * 3 / 4);
}

/* Since the lease was requested. */
static void is_suspended_for_two_thirds(void)
{
    world.boot_extra_ms = LEASE_MS * 2 / 3 - (world.now_ms - WORLD_BEGAN_MS);
}

static void is_suspended_for_a_little_more(void)
{
    is_suspended_for_two_thirds();
    world.boot_extra_ms++;
}

static void takes_most_of_its_time_and_loses_the_ledger(void)
{
    world_pass(LEASE_MS * 3 / 4);
    world_fail("ledger_lease", NULL, ERR_RETRY);
}

/* --- the fence --- */

static void reaper_frozen_between_two_ends_does_not_act_on_its_old_lease(void **state)
{
    add_overdue(3);
    world_happens("ledger_rate_take", "terminate/", 2, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
}

static void reaper_on_a_suspended_vm_does_not_act_on_its_old_lease(void **state)
{
    add_overdue(3);
    world_happens("ledger_rate_take", "terminate/", 2, is_suspended_and_replaced);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
}

static void reaper_frozen_without_a_successor_goes_on(void **state)
{
    add_overdue(3);
    world_happens("ledger_rate_take", "terminate/", 2, is_frozen_and_nobody_came);
    sweep(&reaper);
    assert_int_equal(world_ended(), 3);
}

static void reaper_whose_lease_was_anothers_meanwhile_begins_anew(void **state)
{
    add_overdue(3);
    world_happens("ledger_rate_take", "terminate/", 2, is_frozen_and_another_came_and_went);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
    assert_int_equal(reaper.last_sweep_ms, 0); /* that was no whole sweep */
    sweep(&reaper);
    assert_int_equal(world_ended(), 3);
    assert_true(reaper.last_sweep_ms > 0);
}

static size_t lease_calls;

static void count_lease_calls(void)
{
    lease_calls = calls_count("ledger_lease", NULL);
}

/* Until the last VM is ended, right before which that happens: two turns had to be waited for. */
static size_t lease_calls_with(void (*event)(void))
{
    world_anew();
    add_overdue(3);
    world_happens("ledger_rate_take", "terminate/", 5, event);
    calls_plan(&(struct call_plan){.function = "vm_terminate", .happens = count_lease_calls});
    sweep(&reaper);
    assert_int_equal(world_ended(), 3);
    return lease_calls;
}

static void lease_is_renewed_when_less_than_a_third_is_left(void **state)
{
    size_t untouched = lease_calls_with(NULL);
    assert_int_equal(lease_calls_with(takes_half_its_time), untouched);
    assert_int_equal(lease_calls_with(takes_most_of_its_time), untouched + 1);
    assert_int_equal(lease_calls_with(is_suspended_for_two_thirds), untouched);
    assert_int_equal(lease_calls_with(is_suspended_for_a_little_more), untouched + 1);
}

/* The ledger was asked for the lease and failed: the remaining time is not used up. */
static void reaper_acts_no_more_once_the_ledger_does_not_renew_its_lease(void **state)
{
    add_overdue(3);
    world_happens("ledger_rate_take", "terminate/", 2, takes_most_of_its_time_and_loses_the_ledger);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
    world_heal();
    sweep(&reaper);
    assert_int_equal(world_ended(), 3);
}

static void quick_sweep_asks_for_each_lease_once(void **state)
{
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_lease", NULL), 2);
    assert_true(reaper.last_sweep_ms > 0);
}

static void lease_is_renewed_between_tasks_when_a_third_of_it_is_over(void **state)
{
    world_list_vm("mf-c28ee50a-t-x", VM_RUN_RUNNING)->started_ms = clock_wall_ms() - 2 * HOUR_MS;
    sweep(&reaper);
    world_pass(10);
    size_t before = calls_count("ledger_lease", NULL);
    world_happens("vm_describe", NULL, 1, takes_half_its_time);
    sweep(&reaper);
    assert_int_equal(calls_count("vm_describe", NULL), 1);
    assert_int_equal(calls_count("ledger_lease", NULL) - before, 2 + 2);
}

static void host_without_vms_has_no_lease(void **state)
{
    world_end();
    world_begin(
        WORLD_CONFIG("\"reaper\": {\"vm_list_interval\": \"0s\"}", WORLD_LARGE("\"max_vms\": 4")));
    world_take_lease("sweep");
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_lease", NULL), 1);
    assert_int_equal(reaper.last_sweep_ms, 0); /* there is nothing for it to sweep */
}

static void stray_is_not_ended_after_a_freeze(void **state)
{
    world_list_vm("mf-c28ee50a-t-x", VM_RUN_RUNNING)->started_ms = clock_wall_ms() - 2 * HOUR_MS;
    world_happens("vm_describe", NULL, 1, is_frozen_and_replaced);
    sweep(&reaper);
    world_pass(10);
    sweep(&reaper);
    assert_int_equal(calls_count("vm_describe", NULL), 1);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

static void record_is_not_deleted_after_a_freeze(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-small-old", false, false);
    (void)scripted_github_add_runner("mf-c28ee50a-t-small-older", false, false);
    world_happens("github_get_runner", NULL, 1, is_frozen_and_replaced);
    for (int i = 0; i < 2; i++) {
        sweep(&reaper);
        world_pass(10);
    }
    assert_int_equal(calls_count("github_get_runner", NULL), 1);
    assert_int_equal(calls_count("ledger_vm_get", NULL),
                     2 + 1); /* the rest of the list is not checked */
    assert_int_equal(scripted_github.deleted, 0);
}

static void job_is_not_asked_for_again_after_a_freeze(void **state)
{
    (void)world_add_job(42, "queued");
    world_happens("github_get_job", NULL, 1, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 1);
    assert_int_equal(world_puts(), 0);
}

static void delivery_is_not_put_after_a_freeze(void **state)
{
    scripted_github.has_hook = true;
    (void)scripted_github_add_delivery(42, "queued", 503, 1000);
    world_happens("github_delivery_payload", NULL, 1, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 1);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(world_mark(), 0);
}

/* The page is read and has nothing to recover; the next holder records how far the log was read. */
static void mark_is_not_moved_after_a_freeze(void **state)
{
    scripted_github.has_hook = true;
    (void)scripted_github_add_delivery(42, "queued", 202, 1000);
    world_happens("github_list_deliveries", NULL, 1, is_frozen_and_replaced);
    sweep(&reaper);
    assert_int_equal(calls_count("github_list_deliveries", NULL), 1);
    assert_int_equal(world_mark(), 0);
}

/* --- the pace --- */

static struct {
    int64_t at_ms[2000]; /* of each try to end a VM */
    int count;
    int fails_every; /* 0: never */
} tries;

static void note_try(void);

/* The next try is noted, and fails if it is its turn. */
static void plan_next_try(void)
{
    bool fails = tries.fails_every > 0 && (tries.count + 1) % tries.fails_every == 0;
    const struct call_plan plan = {
        .function = "vm_terminate", .happens = note_try, .fails = fails ? ERR_THROTTLED : ERR_NONE};
    calls_replan(&plan, 1);
}

static void note_try(void)
{
    tries.at_ms[tries.count++] = world.now_ms;
    plan_next_try();
}

static void add_many_overdue(int fails_every)
{
    memset(&tries, 0, sizeof tries);
    tries.fails_every = fails_every;
    plan_next_try();
    add_overdue(500);
}

/* The most tries within any window of a second. */
static int most_in_a_second(void)
{
    int most = 0;
    for (int i = 0, first = 0; i < tries.count; i++) {
        while (tries.at_ms[i] - tries.at_ms[first] >= 1000) {
            first++;
        }
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    return most;
}

static void five_hundred_vms_are_all_ended_at_the_rate(void **state)
{
    add_many_overdue(0);
    int64_t began_ms = world.now_ms;
    sweep(&reaper);
    assert_int_equal(world_ended(), 500);
    assert_in_range(most_in_a_second(), 9, 10);
    assert_in_range(world.now_ms - began_ms, 49 * 1000, 60 * 1000);
}

static void throttled_ends_are_tried_again_until_all_are_gone(void **state)
{
    int sweeps = 0;
    add_many_overdue(3);
    for (; world_ended() < 500 && sweeps < 30; sweeps++) {
        world_sweep(1, 10 * SECOND_MS);
    }
    assert_int_equal(world_ended(), 500);
    assert_true(sweeps > 1);
    assert_int_equal(tries.count, 500 + tries.count / 3);
    assert_in_range(most_in_a_second(), 9, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reaper_frozen_between_two_ends_does_not_act_on_its_old_lease),
        CASE(reaper_on_a_suspended_vm_does_not_act_on_its_old_lease),
        CASE(reaper_frozen_without_a_successor_goes_on),
        CASE(reaper_whose_lease_was_anothers_meanwhile_begins_anew),
        CASE(lease_is_renewed_when_less_than_a_third_is_left),
        CASE(reaper_acts_no_more_once_the_ledger_does_not_renew_its_lease),
        CASE(quick_sweep_asks_for_each_lease_once),
        CASE(lease_is_renewed_between_tasks_when_a_third_of_it_is_over),
        CASE(host_without_vms_has_no_lease),
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

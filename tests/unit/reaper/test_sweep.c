/*
 * What a sweep ends and what it leaves alone: the rule of two signs, for each task.
 */
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"stale_runner_scan_interval\": \"10ms\", \"vm_list_interval\": \"0s\", "
    "\"confirm_after\": \"10ms\","
    " \"startup_timeout\": \"5m\", \"relaunch_after\": \"1m\", \"deadline_grace_period\": \"1s\","
    " \"terminate_timeout\": \"1s\"}",
    WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\"") ", " WORLD_LARGE(
        "\"max_vms\": 4, \"max_duration\": \"1h\""));

static void vm_before_its_deadline_and_healthy_stays(void **state)
{
    struct ledger_vm *vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, 1000);
    sweep_times(5);
    assert_int_equal(vm->state, VM_BUSY);
}

static void vm_whose_vm_ended_goes_at_once(void **state)
{
    struct ledger_vm *vm = world_add_vm("mf-c28ee50a-t-a", VM_LAUNCHED, 1000);
    struct vm_info *m = world_list_vm("mf-c28ee50a-t-a", VM_RUN_ENDED);
    memcpy(m->reason, "idle-timeout", 13);
    m->ended_ms = clock_wall_ms();
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_non_null(strstr(vm->end_reason, "idle-timeout"));
}

static void row_whose_vm_vanished_needs_two_sweeps(void **state)
{
    struct ledger_vm *vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

/* One sweep that does not get that lease. */
static void sweep_without(const char *lease)
{
    world_fail("ledger_lease", lease, ERR_RETRY);
    sweep_times(1);
    world_heal();
}

static void signs_count_although_the_fleet_is_swept_in_between(void **state)
{
    struct ledger_vm *vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vm->state, VM_BUSY);
        sweep_without("name=sweep holder=");
        sweep_without("name=sweep/");
    }
    assert_int_equal(vm->state, VM_GONE);
}

static void signs_of_the_fleet_count_although_hosts_are_swept_in_between(void **state)
{
    struct ledger_vm *vm = world_add_large_vm("mf-c28ee50a-t-a", VM_BUSY, 301 * 1000);
    (void)world_add_runner_of(vm, false, false);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vm->state, VM_BUSY);
        sweep_without("name=sweep/");
        sweep_without("name=sweep holder=");
    }
    assert_int_equal(vm->state, VM_GONE);
}

static void vm_is_not_judged_while_the_provider_is_silent(void **state)
{
    struct ledger_vm *vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    world_fail("vm_list", NULL, ERR_RETRY);
    sweep_times(5);
    assert_int_equal(vm->state, VM_BUSY);
}

/* A sweep whose scan failed says nothing about what the one before it saw. */
static void sign_is_kept_while_the_provider_is_silent(void **state)
{
    struct ledger_vm *vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    sweep_times(1);
    world_fail("vm_list", NULL, ERR_RETRY);
    sweep_times(2);
    assert_int_equal(vm->state, VM_BUSY);
    world_heal();
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

static void sign_is_taken_back_by_a_sweep_that_sees_none(void **state)
{
    struct ledger_vm *vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    sweep_times(1);
    struct vm_info *m = world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    sweep_times(1);
    m->id[0] = '\0'; /* vanished once more */
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

/* For idle_timeout, and twice after that. */
static void vm_whose_runner_stays_offline_ends(void **state)
{
    const enum ledger_vm_state states[] = {VM_LAUNCHED, VM_BUSY};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        world_anew();
        struct ledger_vm *vm = world_add_running("mf-c28ee50a-t-a", states[i], 301 * 1000);
        (void)world_add_runner_of(vm, false, false);
        sweep_times(5);
        world_pass(120 * 1000 - 51);
        sweep_times(2);
        world_assert_nothing_ended();
        sweep_times(1);
        assert_int_equal(vm->state, VM_GONE);
        assert_string_equal(vm->end_reason, "its runner is offline and has no job");
        assert_int_equal(scripted_github.deleted, 1);
    }
}

static void vm_whose_runner_waits_online_stays(void **state)
{
    struct ledger_vm *vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * 1000);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, false);
    sweep_times(5);
    assert_int_equal(vm->state, VM_LAUNCHED);
}

static void vm_whose_in_progress_was_lost_becomes_busy(void **state)
{
    struct ledger_vm *vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * 1000);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, true);
    sweep_times(3);
    assert_int_equal(vm->state, VM_BUSY);
}

static void launch_never_finished_ends_after_two_signs_unless_busy(void **state)
{
    struct ledger_vm *idle = world_add_vm("mf-c28ee50a-t-a", VM_RESERVED, 600 * 1000);
    struct ledger_vm *busy = world_add_vm("mf-c28ee50a-t-b", VM_REGISTERED, 600 * 1000);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    (void)scripted_github_add_runner("mf-c28ee50a-t-b", true, true);
    sweep_times(1);
    assert_int_equal(idle->state, VM_RESERVED);
    sweep_times(2);
    assert_int_equal(idle->state, VM_GONE);
    assert_int_equal(busy->state, VM_BUSY);
}

static void vm_that_ended_at_its_deadline_is_not_ended_once_more(void **state)
{
    struct ledger_vm *vm = world_add_vm("mf-c28ee50a-t-a", VM_BUSY, 3700 * 1000);
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_ENDED);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(calls_count("vm_terminate", NULL), 1);
}

static void stray_whose_row_appears_stays(void **state)
{
    (void)world_list_vm("mf-c28ee50a-t-x", VM_RUN_RUNNING);
    sweep_times(1);
    (void)world_add_vm("mf-c28ee50a-t-x", VM_LAUNCHED, 1000);
    sweep_times(3);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

static void record_left_over_is_deleted_after_two_signs(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-small-old", false, false);
    (void)scripted_github_add_runner("mf-869bcb2a-t-small-x", false, false);
    (void)scripted_github_add_runner("mf-c28ee50a-t-small-online", true, false);
    (void)scripted_github_add_runner("mf-c28ee50a-t-live", false, false);
    (void)world_add_running("mf-c28ee50a-t-live", VM_LAUNCHED, 1000);
    sweep_times(1);
    assert_int_equal(scripted_github.deleted, 0);
    sweep_times(1);
    assert_int_equal(scripted_github.deleted, 1);
}

static void record_is_deleted_although_not_every_sweep_reads_the_records(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-small-old", false, false);
    for (int i = 0; i < 6; i++) {
        sweep(&reaper);
        assert_int_equal(scripted_github.deleted, i < 3 ? 0 : 1);
        world_pass(4);
    }
}

static void balance_asks_again_for_a_job_that_waits_too_long(void **state)
{
    (void)world_add_job(42, "queued");
    sweep_times(3);
    assert_int_equal(world_puts(), 1);
}

static void balance_leaves_covered_queued_and_full_alone(void **state)
{
    (void)world_add_job(42, "queued");
    struct ledger_vm *supply = world_add_supply("acme", 1);
    sweep_times(1);
    world_move(supply, VM_BUSY);
    world_add_messages("launch.small", QUEUE_READY, "42", 1);
    sweep_times(1);
    world_empty_queue();
    for (int i = 0; i < 4; i++) {
        char name[8] = {'m', 'f', '-', 't', '-', (char)('0' + i), '\0'};
        (void)world_add_running(name, VM_BUSY, 1000);
    }
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
}

static void balance_uses_the_slots_that_its_own_sweep_freed(void **state)
{
    (void)world_add_job(42, "queued");
    for (int i = 0; i < 4; i++) {
        char name[8] = {'m', 'f', '-', 't', '-', (char)('0' + i), '\0'};
        (void)world_add_running(name, VM_BUSY, i == 0 ? 3700 * 1000 : 1000);
    }
    sweep_times(1);
    assert_int_equal(world_ended(), 1);
    assert_int_equal(world_puts(), 1);
}

static void balance_does_not_wait_for_githubs_delivery_log(void **state)
{
    (void)world_add_job(42, "queued");
    scripted_github.has_hook = true;
    (void)scripted_github_add_delivery(7, "completed", 503, 1000);
    sweep_times(1);
    assert_int_equal(world_puts(), 2);
    assert_string_equal(world_put(0, "key"), "42");
    assert_string_equal(world_put(1, "lane"), "events");
}

/* Twenty jobs wait at a cap that has just let go of a slot, and the messages of three have served
 * others: there are as many as are needed, so that GitHub is not even asked. */
static void balance_counts_others_messages_as_occasions(void **state)
{
    for (int64_t i = 0; i < 3; i++) {
        (void)world_add_job(42 + i, "queued");
    }
    world_add_demand("acme", 20);
    (void)world_add_supply("acme", 3);
    world_add_messages("launch.small", QUEUE_READY, "9999", 15);
    world_add_messages("launch.small", QUEUE_DELAYED, "9999", 5);
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    /* One fewer is one that is missing. */
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_READY, "9999", 15);
    world_add_messages("launch.small", QUEUE_DELAYED, "9999", 4);
    sweep_times(1);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "key"), "42");
}

static void balance_asks_for_each_that_is_missing_once(void **state)
{
    for (int64_t i = 0; i < 5; i++) {
        (void)world_add_job(42 + i, "queued");
    }
    world_add_messages("launch.small", QUEUE_READY, "9999", 2);
    sweep_times(1);
    assert_int_equal(world_puts(), 3);
    sweep_times(2);
    assert_int_equal(world_puts(), 3);
}

static void balance_without_a_count_looks_for_each_jobs_own_message(void **state)
{
    (void)world_add_job(42, "queued");
    world_fail("queue_depths", NULL, ERR_RETRY);
    world_add_messages("launch.small", QUEUE_READY, "42", 1);
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    world_empty_queue();
    sweep_times(1);
    assert_int_equal(world_puts(), 1);
}

static void balance_asks_again_where_the_queue_cannot_be_searched(void **state)
{
    (void)world_add_job(42, "queued");
    world_fail("queue_find", NULL,
               ERR_RETRY); /* it could, but is unavailable: then nothing is doubled */
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    world_heal();
    world_fail("queue_find", NULL, ERR_PERMANENT); /* nor is an error "it is not there" */
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    world.queue_cannot_find = true;
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_READY, "9999", 1); /* counted, it needs no search */
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    world_empty_queue();
    sweep_times(3);
    assert_int_equal(world_puts(), 1);
}

/* One of the messages that workers have may be this job's, but one is not two jobs'. */
static void balance_leaves_as_many_unsearched_jobs_as_messages_are_out(void **state)
{
    for (int64_t i = 0; i < 3; i++) {
        (void)world_add_job(42 + i, "queued");
    }
    world.queue_cannot_find = true;
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 3);
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 2);
    sweep_times(1);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "key"), "44");
}

/* Taken or buried, it is in no lane and counts for its job alone: nothing is missing for another.
 */
static void balance_leaves_a_job_to_its_own_message(void **state)
{
    const enum queue_place places[] = {QUEUE_LEASED, QUEUE_DEAD};
    (void)world_add_job(42, "queued");
    (void)world_add_job(43, "queued");
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        world_empty_queue();
        world_add_messages("launch.small", places[i], "42", 1);
        world_add_messages("launch.small", QUEUE_READY, "9999", 1);
        sweep_times(1);
        assert_int_equal(world_puts(), 0);
    }
}

/* A job that GitHub says is over was one of those that nothing was on its way for. */
static void balance_asks_for_none_in_the_place_of_one_that_is_over(void **state)
{
    (void)world_add_job(42, "completed");
    (void)world_add_job(43, "queued");
    world_add_messages("launch.small", QUEUE_READY, "9999", 1);
    sweep_times(1);
    assert_int_equal(calls_count("ledger_reconcile_job", "job=42 to=cancelled "), 1);
    assert_int_equal(world_puts(), 0);
}

/* The lane's messages may all be another scope's, for which they do nothing. */
static void balance_asks_for_the_overdue_where_scopes_share_a_class(void **state)
{
    struct ledger_job *job = world_add_job(42, "queued");
    world_add_messages("launch.small", QUEUE_READY, "9999", 100);
    job->waiting_ms = clock_wall_ms() - 601 * 1000;
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    world_add_demand("other", 50);
    job->waiting_ms = clock_wall_ms() - 599 * 1000;
    sweep_times(1);
    assert_int_equal(world_puts(), 0);
    job->waiting_ms = clock_wall_ms() - 601 * 1000;
    sweep_times(1);
    assert_int_equal(world_puts(), 1);
}

static void reaper_without_the_lease_touches_nothing(void **state)
{
    struct ledger_vm *vm = world_add_vm("mf-c28ee50a-t-a", VM_BUSY, 3700 * 1000);
    (void)world_list_vm("mf-c28ee50a-t-x", VM_RUN_RUNNING);
    world_take_leases();
    sweep_times(5);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

static void vm_that_only_starts_is_not_forgotten(void **state)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_REGISTERED, 1000);
    (void)world_list_vm("mf-c28ee50a-t-a",
                        VM_RUN_ENDED); /* no times yet: its record is being written */
    sweep_times(1);
    assert_int_equal(calls_done("vm_forget", NULL), 0);
}

static void counts_are_recounted_now_and_then(void **state)
{
    sweep_times(3);
    assert_int_equal(calls_count("ledger_repair", NULL), 1);
    world_pass(11 * 60 * 1000);
    world.repair_suspects = 1;
    sweep_times(2);
    world_pass(61 * 1000); /* a suspected counter is checked again soon */
    world.repair_suspects = 0;
    sweep_times(2);
    world_pass(61 * 1000);
    sweep_times(2);
    assert_int_equal(calls_count("ledger_repair", NULL), 3);
    world_pass(11 * 60 * 1000);
    world_fail("ledger_repair", NULL, ERR_RETRY);
    sweep_times(2);
    assert_int_equal(calls_count("ledger_repair", NULL), 4);
    world_pass(61 * 1000); /* what failed is tried again soon */
    sweep_times(2);
    assert_int_equal(calls_count("ledger_repair", NULL), 5);
    world_pass(61 * 1000);
    world_take_leases();
    sweep_times(2);
    assert_int_equal(calls_count("ledger_repair", NULL), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(vm_before_its_deadline_and_healthy_stays),
        CASE(vm_whose_vm_ended_goes_at_once),
        CASE(row_whose_vm_vanished_needs_two_sweeps),
        CASE(signs_count_although_the_fleet_is_swept_in_between),
        CASE(signs_of_the_fleet_count_although_hosts_are_swept_in_between),
        CASE(vm_is_not_judged_while_the_provider_is_silent),
        CASE(sign_is_kept_while_the_provider_is_silent),
        CASE(sign_is_taken_back_by_a_sweep_that_sees_none),
        CASE(vm_whose_runner_stays_offline_ends),
        CASE(vm_whose_runner_waits_online_stays),
        CASE(vm_whose_in_progress_was_lost_becomes_busy),
        CASE(launch_never_finished_ends_after_two_signs_unless_busy),
        CASE(vm_that_ended_at_its_deadline_is_not_ended_once_more),
        CASE(stray_whose_row_appears_stays),
        CASE(record_left_over_is_deleted_after_two_signs),
        CASE(record_is_deleted_although_not_every_sweep_reads_the_records),
        CASE(balance_asks_again_for_a_job_that_waits_too_long),
        CASE(balance_leaves_covered_queued_and_full_alone),
        CASE(balance_uses_the_slots_that_its_own_sweep_freed),
        CASE(balance_does_not_wait_for_githubs_delivery_log),
        CASE(balance_counts_others_messages_as_occasions),
        CASE(balance_asks_for_each_that_is_missing_once),
        CASE(balance_without_a_count_looks_for_each_jobs_own_message),
        CASE(balance_asks_again_where_the_queue_cannot_be_searched),
        CASE(balance_leaves_as_many_unsearched_jobs_as_messages_are_out),
        CASE(balance_leaves_a_job_to_its_own_message),
        CASE(balance_asks_for_none_in_the_place_of_one_that_is_over),
        CASE(balance_asks_for_the_overdue_where_scopes_share_a_class),
        CASE(reaper_without_the_lease_touches_nothing),
        CASE(vm_that_only_starts_is_not_forgotten),
        CASE(counts_are_recounted_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

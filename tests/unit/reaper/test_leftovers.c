/*
 * Leftovers: registrations without a VM, files of ended VMs on their host, old rows; and a fleet
 * whose rows come in several pages.
 */
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

/* The row that every test is about, and its VM in the provider's list. */
static struct ledger_vm *vm;
static struct vm_info *listed;

static void runner_comes_online(void)
{
    scripted_github.runners[0].online = true;
}

static void runner_becomes_busy(void)
{
    scripted_github.runners[0].busy = true;
}

/* --- registrations --- */

static void stale_runner_is_deleted_in_its_own_scope(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    scripted_github.runners[0].id = 4711;
    scripted_github.runner_scope[0] = "other";
    sweep_times(2);
    assert_int_equal(scripted_github.deleted, 1);
    assert_int_equal(calls_count("github_delete_runner", NULL), 1);
    assert_string_equal(calls_args("github_delete_runner", NULL, 1), "scope=other id=4711");
}

static void registration_of_a_row_that_is_gone_is_stale_and_of_any_other_is_not(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    vm = world_add_running("mf-c28ee50a-t-a", VM_ENDING, SECOND_MS);
    sweep_times(3);
    world_assert_nothing_ended();
    world_move(vm, VM_GONE);
    listed = &scripted_vms.list[0].info;
    listed->state = VM_RUN_ENDED;
    listed->ended_ms = clock_wall_ms();
    sweep_times(2);
    assert_int_equal(scripted_github.deleted, 1);
}

static void registration_is_kept_while_the_ledger_does_not_tell(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    world_fail("ledger_vm_get", NULL, ERR_RETRY);
    sweep_times(4);
    world_assert_nothing_ended();
}

static void registration_whose_runner_comes_up_at_the_second_look_is_kept(void **state)
{
    void (*const events[])(void) = {runner_comes_online, runner_becomes_busy, NULL};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        world_anew();
        (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
        world_happens("github_get_runner", NULL, 1, events[i]);
        world_fail("github_get_runner", NULL, events[i] == NULL ? ERR_RETRY : ERR_NONE);
        sweep_times(2);
        assert_int_equal(calls_count("github_get_runner", NULL), 1);
        world_assert_nothing_ended();
    }
}

static void lease_is_not_renewed(void)
{
    world_pass(45 * SECOND_MS); /* most of its time */
    world_fail("ledger_lease", NULL, ERR_RETRY);
}

/* The interrupted scan did not reach the second registration. */
static void reading_that_is_cut_short_forgets_nothing(void **state)
{
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    (void)scripted_github_add_runner("mf-c28ee50a-t-b", false, false);
    world_happens("github_get_runner", NULL, 1, lease_is_not_renewed);
    sweep_times(2);
    assert_int_equal(calls_count("github_get_runner", NULL), 1);
    world_assert_nothing_ended();
    world_heal();
    sweep_times(1);
    assert_int_equal(scripted_github.deleted, 2);
}

/* --- what is old --- */

static void ended_vms_are_forgotten_by_their_id_when_their_end_is_old(void **state)
{
    listed = world_list_vm("mf-c28ee50a-t-a", VM_RUN_ENDED);
    listed->started_ms = clock_wall_ms() - 100 * HOUR_MS; /* a long life */
    listed->ended_ms = clock_wall_ms() - 5 * HOUR_MS + 1;
    sweep(&reaper);
    assert_int_equal(calls_done("vm_forget", NULL), 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(calls_done("vm_forget", NULL), 1);
    assert_string_equal(calls_args("vm_forget", NULL, 1), "class=small id=id-mf-c28ee50a-t-a");
}

static void vm_whose_end_nobody_saw_is_as_old_as_its_start(void **state)
{
    listed = world_list_vm("mf-c28ee50a-t-a", VM_RUN_ENDED);
    listed->started_ms = clock_wall_ms() - 5 * HOUR_MS + 1;
    sweep(&reaper);
    assert_int_equal(calls_done("vm_forget", NULL), 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(calls_done("vm_forget", NULL), 1);
}

static void assert_tidied_before(int64_t ms)
{
    char args[64];
    (void)snprintf(args, sizeof args, "before_ms=%lld max=1000", (long long)ms);
    assert_string_equal(calls_args("ledger_tidy", NULL, 1), args);
}

static void rows_are_tidied_after_their_own_time(void **state)
{
    sweep(&reaper);
    assert_tidied_before(clock_wall_ms() - 7 * HOUR_MS);
}

static void tasks_of_the_fleet_rest_without_its_lease(void **state)
{
    world_take_lease("sweep");
    scripted_github.has_hook = true;
    sweep_times(2);
    assert_true(reaper.last_sweep_ms > 0);
    assert_int_equal(calls_count("github_list_runners", NULL), 0);
    assert_int_equal(calls_count("queue_depths", NULL), 0);
    assert_int_equal(calls_count("ledger_balances", NULL), 0);
    assert_int_equal(calls_count("github_list_deliveries", NULL), 0);
    assert_int_equal(calls_count("ledger_repair", NULL), 0);
    assert_int_equal(calls_count("ledger_tidy", NULL), 0);
    world_give_leases_back();
    sweep_times(1);
    assert_int_equal(calls_count("github_list_runners", NULL), 2); /* one for each scope */
    assert_int_equal(calls_count("github_list_deliveries", NULL), 1);
    assert_int_equal(calls_count("ledger_repair", NULL), 1);
}

/* --- what is logged about it --- */

static void what_each_task_did_is_counted_as_its_own(void **state)
{
    const char *const tasks[] = {"deadlines", "terminations",  "vms",     "unconfirmed_launches",
                                 "absences",  "stale_runners", "vm_logs", "counters"};
    int64_t before[COUNT_OF(tasks)];
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        before[i] = world_task_done(tasks[i]);
    }
    (void)world_add_running("mf-c28ee50a-t-late", VM_BUSY, 2 * HOUR_MS);
    (void)world_add_vm("mf-c28ee50a-t-ending", VM_ENDING, 21 * SECOND_MS);
    (void)world_add_vm("mf-c28ee50a-t-gone", VM_BUSY, 301 * SECOND_MS);
    (void)world_list_vm("mf-c28ee50a-t-gone", VM_RUN_RUNNING);
    (void)world_add_unanswered("mf-c28ee50a-t-noid", HOUR_MS);
    world_list_vm("mf-c28ee50a-t-orphan", VM_RUN_RUNNING)->started_ms =
        clock_wall_ms() - 2 * HOUR_MS;
    world_list_vm("mf-c28ee50a-t-ended", VM_RUN_ENDED)->ended_ms = clock_wall_ms() - 6 * HOUR_MS;
    (void)scripted_github_add_runner("mf-c28ee50a-t-stale", false, false);
    scripted_github.runners[0].id = 4711;
    sweep_times(2);
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        if (world_task_done(tasks[i]) - before[i] != 1) {
            fail_msg("%s: %lld", tasks[i], (long long)(world_task_done(tasks[i]) - before[i]));
        }
    }
}

static void task_that_fails_is_counted_and_ends_no_other(void **state)
{
    int64_t before = world_task_errors("stale_runners");
    (void)world_add_vm("mf-c28ee50a-t-late", VM_BUSY, 2 * HOUR_MS);
    world_fail("github_list_runners", NULL, ERR_RETRY);
    sweep_times(1);
    assert_int_equal(world_task_errors("stale_runners") - before, 1);
    assert_int_equal(world_task_errors("deadlines"), 0);
    assert_int_equal(world_ended(), 1);
    assert_tidied_before(clock_wall_ms() - 10 - 7 * HOUR_MS);
}

static void stop_is_requested(void)
{
    wakeup_raise(&reaper.stop);
}

static void stop_that_ends_a_list_is_no_error(void **state)
{
    int64_t before = world_task_errors("stale_runners");
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    (void)scripted_github_add_runner("mf-c28ee50a-t-b", false, false);
    world_happens("github_list_runners", NULL, 1, stop_is_requested);
    sweep_times(1);
    assert_true(calls_count("github_list_runners", NULL) > 0);
    assert_int_equal(world_task_errors("stale_runners"), before);
}

/* --- many --- */

/* Rows come in pages of 500, by their names; none may be left out or come twice. */
static void rows_of_every_page_are_looked_at_once(void **state)
{
    for (int i = 0; i < 620; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%03d", (i * 7) % 620);
        (void)world_add_running(name, VM_BUSY, 2 * HOUR_MS);
    }
    sweep(&reaper);
    assert_int_equal(calls_count("vm_terminate", NULL), 620);
    assert_int_equal(world_ended(), 620);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(stale_runner_is_deleted_in_its_own_scope),
        CASE(registration_of_a_row_that_is_gone_is_stale_and_of_any_other_is_not),
        CASE(registration_is_kept_while_the_ledger_does_not_tell),
        CASE(registration_whose_runner_comes_up_at_the_second_look_is_kept),
        CASE(reading_that_is_cut_short_forgets_nothing),
        CASE(ended_vms_are_forgotten_by_their_id_when_their_end_is_old),
        CASE(vm_whose_end_nobody_saw_is_as_old_as_its_start),
        CASE(rows_are_tidied_after_their_own_time),
        CASE(tasks_of_the_fleet_rest_without_its_lease),
        CASE(what_each_task_did_is_counted_as_its_own),
        CASE(task_that_fails_is_counted_and_ends_no_other),
        CASE(stop_that_ends_a_list_is_no_error),
        CASE(rows_of_every_page_are_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What is left over: registrations without a VM, what ended machines left on their host, old rows;
 * and a fleet whose rows come in several pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/lib/calls.h"
#include "tests/unit/reaper/world.h"

#define SECOND_MS 1000
#define HOUR_MS (3600 * SECOND_MS)

static const char config_text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"worker\": {\"lease_ms\": 120000},"
    " \"reaper\": {\"records_interval_ms\": 10, \"confirm_after_ms\": 10, \"startup_timeout_ms\": "
    "300000,"
    " \"deadline_grace_ms\": 1000, \"ending_grace_ms\": 20000, \"keep_hours\": 7,"
    " \"keep_logs_hours\": 5},"
    " \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"self-hosted\"], \"provider\": \"qemu\","
    " \"max_vms\": 4, \"max_duration_seconds\": 3600, \"qemu\": {\"image\": \"/none\"}},"
    "{\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"qemu\","
    " \"max_vms\": 4, \"max_duration_seconds\": 7200, \"qemu\": {\"image\": \"/none\"}}]}";

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

static void sweep_times(int n)
{
    for (int i = 0; i < n; i++) {
        sweep(&reaper);
        world_pass(10);
    }
}

/* The row that every test is about, and the machine that goes with it. */
static struct ledger_vm *vm;
static struct vm_info *machine;

static void happens_at(enum world_call call, int at, void (*event)(void))
{
    world.event_call = call;
    world.event_at = at;
    world.event = event;
}

static void runner_comes_online(void)
{
    world.runners[0].online = true;
}

static void runner_becomes_busy(void)
{
    world.runners[0].busy = true;
}

static void assert_nothing_was_ended(void)
{
    assert_int_equal(world.end_tries, 0);
    assert_int_equal(world.terminated, 0);
    assert_int_equal(world.records_deleted, 0);
    assert_int_equal(world.forgotten, 0);
}

/* --- registrations --- */

static void stale_runner_is_deleted_in_its_own_scope(void **state)
{
    (void)state;
    (void)world_add_runner("mf-c28ee50a-t-a", false, false);
    world.runners[0].id = 4711;
    world.runner_scope[0] = "other";
    sweep_times(2);
    assert_int_equal(world.records_deleted, 1);
    assert_int_equal(world.deleted_runner, 4711);
    assert_string_equal(world.deleted_scope, "other");
}

static void registration_of_a_row_that_is_gone_is_stale_and_of_any_other_is_not(void **state)
{
    (void)state;
    (void)world_add_runner("mf-c28ee50a-t-a", false, false);
    vm = world_add_vm("mf-c28ee50a-t-a", VM_ENDING, SECOND_MS);
    (void)world_add_machine("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    sweep_times(3);
    assert_nothing_was_ended();
    vm->state = VM_GONE;
    machine = &world.machines[0];
    machine->state = VM_RUN_ENDED;
    machine->ended_ms = clock_wall_ms();
    sweep_times(2);
    assert_int_equal(world.records_deleted, 1);
}

static void registration_is_kept_while_the_ledger_does_not_tell(void **state)
{
    (void)state;
    (void)world_add_runner("mf-c28ee50a-t-a", false, false);
    world.fails[CALL_VM_GET] = ERR_RETRY;
    sweep_times(4);
    assert_nothing_was_ended();
}

static void registration_whose_runner_comes_up_at_the_second_look_is_kept(void **state)
{
    (void)state;
    void (*const events[])(void) = {runner_comes_online, runner_becomes_busy, NULL};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        tear_down(state);
        set_up(state);
        (void)world_add_runner("mf-c28ee50a-t-a", false, false);
        happens_at(CALL_GET_RUNNER, 1, events[i]);
        world.fails[CALL_GET_RUNNER] = events[i] == NULL ? ERR_RETRY : ERR_NONE;
        sweep_times(2);
        assert_int_equal(world.calls[CALL_GET_RUNNER], 1);
        assert_nothing_was_ended();
    }
}

static void lease_is_not_renewed(void)
{
    world_pass(45 * SECOND_MS); /* most of its time */
    world.lease_fails = true;
}

/* The second registration was not looked at in the reading that was cut short. */
static void reading_that_is_cut_short_forgets_nothing(void **state)
{
    (void)state;
    (void)world_add_runner("mf-c28ee50a-t-a", false, false);
    (void)world_add_runner("mf-c28ee50a-t-b", false, false);
    happens_at(CALL_GET_RUNNER, 1, lease_is_not_renewed);
    sweep_times(2);
    assert_int_equal(world.calls[CALL_GET_RUNNER], 1);
    assert_nothing_was_ended();
    world.lease_fails = false;
    sweep_times(1);
    assert_int_equal(world.records_deleted, 2);
}

/* --- what is old --- */

static void ended_machines_are_forgotten_by_their_id_when_their_end_is_old(void **state)
{
    (void)state;
    machine = world_add_machine("mf-c28ee50a-t-a", VM_RUN_ENDED);
    machine->started_ms = clock_wall_ms() - 100 * HOUR_MS; /* a long life */
    machine->ended_ms = clock_wall_ms() - 5 * HOUR_MS + 1;
    sweep(&reaper);
    assert_int_equal(world.forgotten, 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(world.forgotten, 1);
    assert_string_equal(world.forgotten_id, "id-mf-c28ee50a-t-a");
}

static void machine_whose_end_nobody_saw_is_as_old_as_its_start(void **state)
{
    (void)state;
    machine = world_add_machine("mf-c28ee50a-t-a", VM_RUN_ENDED);
    machine->started_ms = clock_wall_ms() - 5 * HOUR_MS + 1;
    sweep(&reaper);
    assert_int_equal(world.forgotten, 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(world.forgotten, 1);
}

static void rows_are_tidied_after_their_own_time(void **state)
{
    (void)state;
    sweep(&reaper);
    assert_int_equal(world.tidied_before_ms, clock_wall_ms() - 7 * HOUR_MS);
}

static void tasks_of_the_fleet_rest_without_its_lease(void **state)
{
    (void)state;
    world.lease_of_another = "sweep";
    world.has_hook = true;
    sweep_times(2);
    assert_true(reaper.last_sweep_ms > 0);
    assert_int_equal(world.calls[CALL_LIST_RUNNERS], 0);
    assert_int_equal(calls_count("queue_depths", NULL), 0);
    assert_int_equal(world.calls[CALL_BALANCES], 0);
    assert_int_equal(world.list_calls, 0);
    assert_int_equal(world.repair_calls, 0);
    assert_int_equal(world.tidied_before_ms, 0);
    world.lease_of_another = NULL;
    sweep_times(1);
    assert_int_equal(world.calls[CALL_LIST_RUNNERS], 2); /* one for each scope */
    assert_int_equal(world.list_calls, 1);
    assert_int_equal(world.repair_calls, 1);
}

/* --- what is told of it --- */

static void what_each_task_did_is_counted_as_its_own(void **state)
{
    (void)state;
    const char *const tasks[] = {"deadlines", "endings", "machines", "unnamed",
                                 "strays",    "records", "vm_logs",  "counts"};
    int64_t before[COUNT_OF(tasks)];
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        before[i] = world_task_done(tasks[i]);
    }
    (void)world_add_vm("mf-c28ee50a-t-late", VM_BUSY, 2 * HOUR_MS);
    (void)world_add_machine("mf-c28ee50a-t-late", VM_RUN_RUNNING);
    (void)world_add_vm("mf-c28ee50a-t-ending", VM_ENDING, 21 * SECOND_MS);
    (void)world_add_vm("mf-c28ee50a-t-vanished", VM_BUSY, SECOND_MS);
    vm = world_add_large_vm("mf-c28ee50a-t-unnamed", VM_ENDING, HOUR_MS);
    vm->vm_id[0] = '\0';
    vm->deadline_ms = 0;
    (void)world_add_machine("mf-c28ee50a-t-orphan", VM_RUN_RUNNING);
    world_add_machine("mf-c28ee50a-t-ended", VM_RUN_ENDED)->ended_ms =
        clock_wall_ms() - 6 * HOUR_MS;
    (void)world_add_runner("mf-c28ee50a-t-stale", false, false);
    world.runners[0].id = 4711;
    sweep_times(1);
    world.machine_count--; /* what was forgotten is listed no more */
    sweep_times(1);
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        if (world_task_done(tasks[i]) - before[i] != 1) {
            fail_msg("%s: %lld", tasks[i], (long long)(world_task_done(tasks[i]) - before[i]));
        }
    }
}

static void task_that_fails_is_counted_and_ends_no_other(void **state)
{
    (void)state;
    int64_t before = world_task_errors("records");
    (void)world_add_vm("mf-c28ee50a-t-late", VM_BUSY, 2 * HOUR_MS);
    world.fails[CALL_LIST_RUNNERS] = ERR_RETRY;
    sweep_times(1);
    assert_int_equal(world_task_errors("records") - before, 1);
    assert_int_equal(world_task_errors("deadlines"), 0);
    assert_int_equal(world.ended, 1);
    assert_int_equal(world.tidied_before_ms, clock_wall_ms() - 10 - 7 * HOUR_MS);
}

/* --- many --- */

/* Rows come in pages of 500, by their names; none may be left out or come twice. */
static void rows_of_every_page_are_looked_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 620; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%03d", (i * 7) % 620);
        (void)world_add_vm(name, VM_BUSY, 2 * HOUR_MS);
        (void)world_add_machine(name, VM_RUN_RUNNING);
    }
    sweep(&reaper);
    assert_int_equal(world.end_tries, 620);
    assert_int_equal(world.ended, 620);
    for (size_t i = 0; i < world.vm_count; i++) {
        assert_int_equal(world.vms[i].state, VM_GONE);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(stale_runner_is_deleted_in_its_own_scope),
        CASE(registration_of_a_row_that_is_gone_is_stale_and_of_any_other_is_not),
        CASE(registration_is_kept_while_the_ledger_does_not_tell),
        CASE(registration_whose_runner_comes_up_at_the_second_look_is_kept),
        CASE(reading_that_is_cut_short_forgets_nothing),
        CASE(ended_machines_are_forgotten_by_their_id_when_their_end_is_old),
        CASE(machine_whose_end_nobody_saw_is_as_old_as_its_start),
        CASE(rows_are_tidied_after_their_own_time),
        CASE(tasks_of_the_fleet_rest_without_its_lease),
        CASE(what_each_task_did_is_counted_as_its_own),
        CASE(task_that_fails_is_counted_and_ends_no_other),
        CASE(rows_of_every_page_are_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Launches whose answer was lost, where machines tell no name: no machine of theirs is ended while
 * it may be at work, none is left alone for ever, and no slot is given away while one runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/unit/reaper/world.h"

#define SECOND_MS 1000
#define LONGEST_MS (600 * SECOND_MS)        /* max_duration_seconds */
#define APART_MS (5 * SECOND_MS)            /* reaper.deadline_grace_ms */
#define STARTUP_TIMEOUT_MS (60 * SECOND_MS) /* reaper.startup_timeout_ms */
#define SURELY_OVER_MS (LONGEST_MS + APART_MS + SECOND_MS)

static const char config_text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"},"
    " \"reaper\": {\"startup_timeout_ms\": 60000, \"deadline_grace_ms\": 5000, "
    "\"ending_grace_ms\": 1000,"
    " \"lease_ms\": 60000, \"confirm_after_ms\": 0},"
    " \"worker\": {\"lease_ms\": 3600000},"
    " \"classes\": [{\"name\": \"small\", \"labels\": [\"self-hosted\"], \"provider\": \"qemu\","
    " \"max_vms\": 4, \"max_duration_seconds\": 600, \"qemu\": {\"image\": \"/none\", "
    "\"boot_timeout_ms\": 9000}}]}";

static struct reaper reaper;

static int set_up(void **state)
{
    (void)state;
    world_begin(&reaper, config_text);
    world.unnamed = true;
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
    }
}

/* A row without a machine's id, made so long ago and `ending` ever since. */
static struct ledger_vm *add_unanswered(const char *name, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_vm(name, VM_ENDING, age_ms);
    vm->vm_id[0] = '\0';
    vm->deadline_ms = 0;
    world.hold_ms = LONGEST_MS;
    return vm;
}

static struct vm_info *add_unnamed(const char *id, int64_t age_ms)
{
    struct vm_info *m = world_add_machine(id, VM_RUN_RUNNING);
    m->name[0] = '\0';
    m->started_ms = age_ms < 0 ? 0 : clock_wall_ms() - age_ms;
    return m;
}

static void machine_that_may_be_a_launchs_is_left_alone(void **state)
{
    (void)state;
    struct ledger_vm *vm = world_add_vm("mf-c28ee50a-t-a", VM_REGISTERED, 20 * SECOND_MS);
    (void)add_unanswered("mf-c28ee50a-t-b", 60 * SECOND_MS);
    (void)add_unnamed("of-a", SECOND_MS);
    (void)add_unnamed("of-b", 60 * SECOND_MS + APART_MS);
    sweep_times(4);
    assert_int_equal(world.terminated, 0);
    vm->state = VM_GONE;
    sweep_times(2);
    assert_int_equal(world.terminated, 1);
}

static void machine_older_than_every_unanswered_launch_is_a_stray(void **state)
{
    (void)state;
    (void)add_unanswered("mf-c28ee50a-t-a", 20 * SECOND_MS);
    (void)add_unnamed("older", 20 * SECOND_MS + APART_MS + 1);
    sweep_times(1);
    assert_int_equal(world.terminated, 0);
    sweep_times(1);
    assert_int_equal(world.terminated, 1);
}

static void machine_started_after_the_launch_was_given_up_is_a_stray(void **state)
{
    (void)state;
    (void)add_unanswered("mf-c28ee50a-t-a", 20 * SECOND_MS);
    (void)add_unnamed("younger", 20 * SECOND_MS - APART_MS - 1);
    sweep_times(2);
    assert_int_equal(world.terminated, 1);
}

/* The provider failed to end it, and other launches were never answered since. */
static void machine_past_its_longest_life_is_ended_and_holds_the_slot_until_then(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_unanswered("mf-c28ee50a-t-a", SURELY_OVER_MS);
    struct ledger_vm *young = add_unanswered("mf-c28ee50a-t-b", SECOND_MS);
    struct vm_info *m = add_unnamed("of-a", SURELY_OVER_MS);
    (void)add_unnamed("of-b", SECOND_MS);
    world.hold_ms = 0;
    world.end_does_nothing = true;
    sweep_times(4);
    assert_true(world.terminated > 0);
    assert_int_equal(vm->state, VM_ENDING);
    m->state = VM_RUN_ENDED;
    sweep_times(2);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(young->state, VM_ENDING);
}

static void slot_is_free_when_no_machine_fits_for_long(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_unanswered("mf-c28ee50a-t-a", STARTUP_TIMEOUT_MS - SECOND_MS);
    (void)add_unnamed("of-another", 2 * STARTUP_TIMEOUT_MS);
    sweep_times(4);
    assert_int_equal(vm->state, VM_ENDING);
    world_pass(2 * SECOND_MS);
    world.machines_told = false;
    sweep_times(3);
    assert_int_equal(vm->state, VM_ENDING);
    world.machines_told = true;
    sweep_times(1);
    assert_int_equal(vm->state, VM_ENDING);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

static void machine_of_another_row_holds_no_slot(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_unanswered("mf-c28ee50a-t-a", STARTUP_TIMEOUT_MS + SECOND_MS);
    (void)world_add_vm("mf-c28ee50a-t-b", VM_BUSY, STARTUP_TIMEOUT_MS);
    (void)add_unnamed("mf-c28ee50a-t-b", STARTUP_TIMEOUT_MS + SECOND_MS);
    sweep_times(2);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(world.terminated, 0);
}

static void machine_that_tells_no_start_waits_for_the_provider(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_unanswered("mf-c28ee50a-t-a", STARTUP_TIMEOUT_MS + SECOND_MS);
    struct vm_info *m = add_unnamed("unknown", -1);
    sweep_times(4);
    assert_int_equal(world.terminated, 0);
    assert_int_equal(vm->state, VM_ENDING);
    world.hold_ms = 0;
    world.end_does_nothing = true;
    sweep_times(2);
    assert_true(world.terminated > 0);
    assert_int_equal(vm->state, VM_ENDING);
    m->state = VM_RUN_ENDED;
    sweep_times(2);
    assert_int_equal(vm->state, VM_GONE);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(machine_that_may_be_a_launchs_is_left_alone),
        CASE(machine_older_than_every_unanswered_launch_is_a_stray),
        CASE(machine_started_after_the_launch_was_given_up_is_a_stray),
        CASE(machine_past_its_longest_life_is_ended_and_holds_the_slot_until_then),
        CASE(slot_is_free_when_no_machine_fits_for_long),
        CASE(machine_of_another_row_holds_no_slot),
        CASE(machine_that_tells_no_start_waits_for_the_provider),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

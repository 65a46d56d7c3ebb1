/*
 * What GitHub says about the runner of a VM: a VM whose runner is up is left alone, whatever else is
 * missing, and without complete lists nothing is known.
 */
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

static struct ledger_vm *vm; /* the row that every test is about */

static void runner_that_is_up_keeps_a_missing_vm(void **state)
{
    for (int busy = 0; busy <= 1; busy++) {
        world_anew();
        vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
        scripted_github.runners[0].online = busy == 0;
        scripted_github.runners[0].busy = busy == 1;
        sweep_times(5);
        world_assert_nothing_ended();
    }
}

/* It ran its job; the event was lost. */
static void runner_that_two_lists_do_not_name_is_gone(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, 301 * SECOND_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_string_equal(vm->end_reason, "its runner is gone at GitHub");
    assert_int_equal(calls_count("github_list_runners", "scope=acme"), 2);
    assert_int_equal(calls_count("github_get_runner", "scope=acme id=1001"), 1);
}

/* While pages are read, others are removed and one moves to a page that was read before. */
static void runner_that_lists_skip_but_that_is_there_is_not_gone(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, 301 * SECOND_MS);
    memcpy(world_add_runner_of(vm, true, true)->name, "elsewhere", 10);
    sweep_times(4);
    assert_true(calls_count("github_get_runner", NULL) > 0);
    world_assert_nothing_ended();
}

static void list_takes_long(void)
{
    world_pass(MINUTE_MS + 1);
}

static void list_that_is_incomplete_or_took_long_proves_nothing(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, 301 * SECOND_MS);
    world_fail("github_list_runners", NULL, ERR_THROTTLED);
    sweep_times(3);
    world_heal();
    calls_plan(&(struct call_plan){.function = "github_list_runners", .happens = list_takes_long});
    sweep_times(3);
    assert_int_equal(vm->state, VM_BUSY);
    world_heal();
    sweep_times(2);
    assert_int_equal(vm->state, VM_GONE);
}

static void runner_that_has_just_got_its_job_is_not_looked_for(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, HOUR_MS / 2);
    vm->busy_ms = clock_wall_ms();
    sweep_times(5);
    world_assert_nothing_ended();
}

/* GitHub answers 403 and 404 to everything; 20 VMs work and 20 start, for ten minutes. */
static void permission_that_is_withdrawn_ends_no_vm(void **state)
{
    static const char *const functions[] = {"github_get_runner", "github_list_runners",
                                            "github_find_runner", "github_delete_runner"};
    static const enum err_class answers[] = {ERR_NOT_FOUND, ERR_AUTH};
    for (size_t k = 0; k < COUNT_OF(answers); k++) {
        world_anew();
        for (int i = 0; i < 40; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", i);
            vm = world_add_running(name, i < 20 ? VM_BUSY : VM_LAUNCHED, 280 * SECOND_MS);
            vm->deadline_ms = clock_wall_ms() + HOUR_MS;
            if (i >= 35) {
                vm->state = VM_REGISTERED;
            }
        }
        for (size_t i = 0; i < COUNT_OF(functions); i++) {
            calls_plan(
                &(struct call_plan){.function = functions[i], .fails = answers[k], .code = 404});
        }
        world_sweep(60, 10 * SECOND_MS);
        assert_int_equal(calls_count("vm_terminate", NULL), 0);
        assert_int_equal(world_ended(), 0);
        assert_true(calls_count("github_list_runners", NULL) > 10);
    }
}

static void runner_that_may_yet_come_up_is_waited_for(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 300 * SECOND_MS - 10);
    (void)world_add_runner_of(vm, false, false);
    sweep_times(2);
    world_fail("github_delete_runner", NULL, ERR_CONFLICT); /* it got a job just now */
    world_sweep(4, MINUTE_MS);
    assert_int_equal(calls_count("github_delete_runner", "scope=acme id=1001"), 1);
    assert_int_equal(vm->state, VM_BUSY);
    world_heal();
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

/* The time begins anew. */
static void runner_that_came_up_in_between_has_to_be_offline_as_long_again(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * SECOND_MS);
    struct github_runner *runner = world_add_runner_of(vm, false, false);
    world_sweep(2, MINUTE_MS);
    runner->online = true;
    sweep_times(1);
    runner->online = false;
    world_sweep(3, MINUTE_MS);
    world_assert_nothing_ended();
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

/* Later is no answer. */
static void list_that_the_budget_puts_off_proves_nothing(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, 301 * SECOND_MS);
    scripted_github.refuses[GITHUB_RECONCILE] = true;
    sweep_times(5);
    assert_int_equal(calls_count("github_list_runners", NULL), 0);
    scripted_github.refuses[GITHUB_RECONCILE] = false;
    scripted_github.refuses[GITHUB_EARLY_END] = true;
    sweep_times(5);
    assert_true(calls_count("github_list_runners", NULL) > 0);
    assert_int_equal(vm->state, VM_BUSY);
    scripted_github.refuses[GITHUB_EARLY_END] = false;
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

static void runners_are_asked_about_one_by_one_fifty_times_a_sweep(void **state)
{
    for (int i = 0; i < 60; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", i);
        vm = world_add_running(name, VM_BUSY, 301 * SECOND_MS);
    }
    sweep_times(2);
    assert_int_equal(world_ended(), 50);
    sweep_times(1);
    assert_int_equal(world_ended(), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(runner_that_is_up_keeps_a_missing_vm),
        CASE(runner_that_two_lists_do_not_name_is_gone),
        CASE(runner_that_lists_skip_but_that_is_there_is_not_gone),
        CASE(list_that_is_incomplete_or_took_long_proves_nothing),
        CASE(list_that_the_budget_puts_off_proves_nothing),
        CASE(runners_are_asked_about_one_by_one_fifty_times_a_sweep),
        CASE(runner_that_has_just_got_its_job_is_not_looked_for),
        CASE(permission_that_is_withdrawn_ends_no_vm),
        CASE(runner_that_may_yet_come_up_is_waited_for),
        CASE(runner_that_came_up_in_between_has_to_be_offline_as_long_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What a sweep must not act upon: another host's VMs, another class's VMs, and whatever
 * changed between the first look and the one right before the act.
 */
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

/* The row that every test is about, and its VM in the provider's list. */
static struct ledger_vm *vm;
static struct vm_info *listed;

static void row_becomes_busy(void)
{
    world_move(vm, VM_BUSY);
}

static void row_becomes_ending(void)
{
    world_move(vm, VM_ENDING);
}

static void row_is_gone(void)
{
    world_move(vm, VM_GONE);
}

static void row_learns_its_machine(void)
{
    memcpy(vm->vm_id, "id-late", 8);
}

/* --- whose it is --- */

static void vms_of_another_host_are_left_alone_whatever_is_wrong_with_them(void **state)
{
    const enum ledger_vm_state states[] = {VM_RESERVED, VM_LAUNCHED, VM_BUSY, VM_ENDING};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        char name[] = {'m', 'f', '-', 't', '-', (char)('a' + i), '\0'};
        memcpy(world_add_vm(name, states[i], 10 * HOUR_MS)->host, "there", 6);
    }
    world_beat("mayfly-worker/there/1"); /* that host lives: test_unreachable.c has others */
    sweep_times(3);
    world_assert_nothing_ended();
}

static void vm_of_an_unknown_class_is_left_alone(void **state)
{
    memcpy(world_add_vm("mf-c28ee50a-t-a", VM_BUSY, MINUTE_MS)->class_name, "retired", 8);
    sweep_times(3);
    world_assert_nothing_ended();
}

/* Another reaper holds the fleet's lease, and this one the host's; then the other way round. */
static void each_lease_lets_touch_its_own_alone(void **state)
{
    struct ledger_vm *here = world_add_vm("mf-c28ee50a-t-a", VM_BUSY, HOUR_MS + 2 * SECOND_MS);
    struct ledger_vm *anywhere = world_add_large_vm("mf-c28ee50a-t-b", VM_BUSY, 2 * HOUR_MS);
    anywhere->deadline_ms = clock_wall_ms() - 2 * SECOND_MS;
    world_take_lease("sweep");
    sweep_times(2);
    assert_int_equal(here->state, VM_GONE);
    assert_int_equal(anywhere->state, VM_BUSY);
    assert_int_equal(calls_count("ledger_rate_take", "terminate/"),
                     1); /* nor is a rate token taken for it */
    world_move(here, VM_BUSY);
    world_give_leases_back();
    world_take_lease(world_host_lease());
    sweep_times(2);
    assert_int_equal(here->state, VM_BUSY);
    assert_int_equal(anywhere->state, VM_GONE);
    assert_int_equal(calls_count("ledger_rate_take", "terminate/"), 2);
}

/* Each has the other's id and name, of the other class. */
static void machines_are_looked_for_at_the_provider_of_their_class(void **state)
{
    (void)world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    vm = world_add_large_vm("mf-c28ee50a-t-b", VM_BUSY, 301 * SECOND_MS);
    (void)world_add_runner_of(vm, false, false);
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    (void)world_add_large_machine("mf-c28ee50a-t-b", VM_RUN_RUNNING);
    sweep_times(3);
    world_assert_nothing_ended();
    scripted_vms.list[0].class_name = "large";
    scripted_vms.list[1].class_name = "small";
    sweep_times(2);
    assert_int_equal(world_ended(), 2);
}

static void provider_that_does_not_answer_keeps_no_other_from_being_judged(void **state)
{
    struct ledger_vm *small = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    struct ledger_vm *large = world_add_large_vm("mf-c28ee50a-t-b", VM_BUSY, 301 * SECOND_MS);
    (void)world_add_runner_of(large, false, false);
    world_fail("vm_list", "class=small", ERR_RETRY);
    sweep_times(3);
    assert_int_equal(small->state, VM_BUSY);
    assert_int_equal(large->state, VM_GONE);
    assert_string_equal(large->end_reason, "the provider no longer knows the VM");
}

/* --- deadlines and terminations --- */

static void deadline_of_the_row_comes_before_its_classs(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, 5 * HOUR_MS);
    vm->deadline_ms = clock_wall_ms() - SECOND_MS; /* deadline_grace_period: a second */
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, true);
    sweep(&reaper);
    world_assert_nothing_ended();
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
    assert_int_equal(vm->state, VM_GONE); /* although its runner is busy */
    assert_string_equal(vm->end_reason, "deadline: it ran longer than max_duration");
}

static void clock_set_forward(int64_t ms)
{
    world_pass(ms);
    world.boot_extra_ms -= ms;
}

static void deadline_by_a_clock_set_forward_counts_once_the_clock_is_believed(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS);
    vm->deadline_ms = clock_wall_ms() + HOUR_MS;
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, true);
    sweep(&reaper);
    clock_set_forward(24 * HOUR_MS);
    sweep(&reaper);
    world_pass(14 * MINUTE_MS);
    sweep(&reaper);
    clock_set_forward(-24 * HOUR_MS);
    sweep(&reaper);
    clock_set_forward(24 * HOUR_MS);
    sweep(&reaper);
    world_pass(14 * MINUTE_MS);
    sweep(&reaper);
    world_assert_nothing_ended();
    world_pass(MINUTE_MS);
    sweep(&reaper);
    assert_string_equal(vm->end_reason, "deadline: it ran longer than max_duration");
}

static void row_without_a_deadline_has_its_classs(void **state)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_REGISTERED, HOUR_MS + SECOND_MS);
    world_fail("ledger_rate_take", "terminate/", ERR_RETRY); /* nothing else ends it in this test */
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_rate_take", "terminate/"), 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_rate_take", "terminate/"), 1);
}

static void fresh_ending_is_left_to_whoever_ends_it(void **state)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_ENDING, 20 * SECOND_MS); /* terminate_timeout */
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    sweep(&reaper);
    world_assert_nothing_ended();
    assert_int_equal(calls_count("ledger_vm_get", NULL), 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
}

static void row_that_is_not_ending_has_no_end_to_finish(void **state)
{
    world_add_vm("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS)->ending_ms = 0;
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    sweep_times(3);
    world_assert_nothing_ended();
    assert_int_equal(calls_count("ledger_vm_get", NULL), 0);
}

static void ending_that_was_finished_meanwhile_is_not_ended_again(void **state)
{
    vm = world_add_vm("mf-c28ee50a-t-a", VM_ENDING, 21 * SECOND_MS);
    world_happens("ledger_vm_get", NULL, 1, row_is_gone);
    sweep_times(1);
    world_assert_nothing_ended();
}

static void ledger_that_fails_at_the_second_look_ends_the_task(void **state)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_ENDING, 21 * SECOND_MS);
    world_fail("ledger_vm_get", NULL, ERR_RETRY);
    sweep_times(1);
    world_assert_nothing_ended();
}

/* --- rows and VMs --- */

static void missing_vm_is_not_ended_while_its_provider_does_not_tell(void **state)
{
    vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
    world_fail("vm_describe", NULL, ERR_RETRY); /* no response is no proof */
    sweep_times(2);
    assert_int_equal(calls_count("vm_describe", NULL), 2);
    world_fail("vm_describe", NULL, ERR_THROTTLED);
    sweep_times(1);
    world_heal();
    sweep_times(1);
    world_assert_nothing_ended();
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_string_equal(vm->end_reason, "the provider no longer knows the VM");
}

/* A list lags behind launches. */
static void missing_vm_that_is_young_is_not_missed(void **state)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_BUSY, 300 * SECOND_MS - 50);
    sweep_times(5);
    assert_int_equal(calls_count("vm_describe", NULL), 0);
    world_assert_nothing_ended();
}

/* Some services answer a request with an empty id as one about a VM that does not exist. */
static void row_without_a_vm_id_is_not_looked_for(void **state)
{
    const enum ledger_vm_state states[] = {VM_REGISTERED, VM_LAUNCHED, VM_BUSY};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        world_anew();
        vm = world_add_large_vm("mf-c28ee50a-t-a", states[i], HOUR_MS);
        vm->vm_id[0] = '\0';
        vm->heartbeat_ms = clock_wall_ms();
        (void)world_add_runner_of(vm, true, states[i] == VM_BUSY);
        sweep_times(3);
        assert_int_equal(calls_count("vm_describe", NULL), 0);
        world_assert_nothing_ended();
    }
}

static void reappears(void)
{
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
}

static void vm_that_is_described_as_running_is_not_ended(void **state)
{
    for (int look = 1; look <= 2; look++) {
        world_anew();
        vm = world_add_missing("mf-c28ee50a-t-a", VM_BUSY);
        world_happens("vm_describe", NULL, look, reappears);
        sweep_times(3);
        assert_int_equal(calls_count("vm_describe", NULL), look);
        world_assert_nothing_ended();
    }
}

static void runs_again(void)
{
    listed->state = VM_RUN_RUNNING;
}

static void vm_listed_as_ended_is_described_before_its_row_ends(void **state)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS);
    listed = world_list_vm("mf-c28ee50a-t-a", VM_RUN_ENDED);
    listed->ended_ms = clock_wall_ms();
    world_happens("vm_describe", NULL, 1, runs_again);
    sweep_times(2);
    assert_int_equal(calls_count("vm_describe", NULL), 1);
    world_assert_nothing_ended();
}

static void row_has_a_heartbeat(void)
{
    vm->heartbeat_ms = clock_wall_ms();
}

static void unfinished_launch_that_goes_on_at_the_second_look_lives(void **state)
{
    void (*const events[])(void) = {row_becomes_busy, row_becomes_ending, row_is_gone,
                                    row_has_a_heartbeat};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        world_anew();
        vm = world_add_vm("mf-c28ee50a-t-a", VM_RESERVED, 141 * SECOND_MS);
        world_happens("ledger_vm_get", NULL, 1, events[i]);
        sweep_times(2);
        assert_int_equal(calls_count("ledger_vm_get", NULL), 1);
        world_assert_nothing_ended();
    }
}

static void unfinished_launch_spares_a_busy_runner_and_waits_for_its_lease(void **state)
{
    vm = world_add_vm("mf-c28ee50a-t-a", VM_REGISTERED, 140 * SECOND_MS - 10);
    vm->reserved_ms -= MINUTE_MS; /* a launch may last, while its heartbeat goes on */
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, true);
    sweep_times(2); /* the second one right when a lease and a sixth are over, the third past it */
    assert_int_equal(reaper.host_signs.count, 0);
    sweep_times(2);
    assert_int_equal(vm->state, VM_BUSY); /* what GitHub reported is in the row */
    world_assert_nothing_ended();
}

static void silent_vm_whose_row_moves_at_the_second_look_lives(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * SECOND_MS);
    world_happens("ledger_vm_get", "vm=mf-c28ee50a-t-a", 1, row_becomes_busy);
    sweep_times(2);
    assert_int_equal(calls_count("ledger_vm_get", NULL), 1);
    world_assert_nothing_ended();
}

/* --- rows without a VM --- */

static void unconfirmed_launch_that_learns_its_vm_at_the_second_look_is_kept(void **state)
{
    void (*const events[])(void) = {row_learns_its_machine, row_becomes_busy, row_is_gone};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        world_anew();
        vm = world_add_unanswered("mf-c28ee50a-t-a", HOUR_MS);
        world_happens("ledger_vm_get", NULL, 1, events[i]);
        sweep_times(2);
        assert_int_equal(calls_count("ledger_vm_get", NULL), 1);
        world_assert_nothing_ended();
    }
}

static void unconfirmed_launch_that_no_vm_fits_ends_as_one_that_runs_nothing(void **state)
{
    (void)world_add_unanswered("mf-c28ee50a-t-a", HOUR_MS);
    world_fail("ledger_vm_get", NULL, ERR_RETRY);
    sweep_times(2);
    world_assert_nothing_ended();
    world_heal();
    sweep_times(1);
    assert_int_equal(world_ended(), 1);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(vms_of_another_host_are_left_alone_whatever_is_wrong_with_them),
        CASE(vm_of_an_unknown_class_is_left_alone),
        CASE(each_lease_lets_touch_its_own_alone),
        CASE(machines_are_looked_for_at_the_provider_of_their_class),
        CASE(provider_that_does_not_answer_keeps_no_other_from_being_judged),
        CASE(deadline_of_the_row_comes_before_its_classs),
        CASE(deadline_by_a_clock_set_forward_counts_once_the_clock_is_believed),
        CASE(row_without_a_deadline_has_its_classs),
        CASE(fresh_ending_is_left_to_whoever_ends_it),
        CASE(row_that_is_not_ending_has_no_end_to_finish),
        CASE(ending_that_was_finished_meanwhile_is_not_ended_again),
        CASE(ledger_that_fails_at_the_second_look_ends_the_task),
        CASE(missing_vm_is_not_ended_while_its_provider_does_not_tell),
        CASE(missing_vm_that_is_young_is_not_missed),
        CASE(row_without_a_vm_id_is_not_looked_for),
        CASE(vm_that_is_described_as_running_is_not_ended),
        CASE(vm_listed_as_ended_is_described_before_its_row_ends),
        CASE(unfinished_launch_that_goes_on_at_the_second_look_lives),
        CASE(unfinished_launch_spares_a_busy_runner_and_waits_for_its_lease),
        CASE(silent_vm_whose_row_moves_at_the_second_look_lives),
        CASE(unconfirmed_launch_that_learns_its_vm_at_the_second_look_is_kept),
        CASE(unconfirmed_launch_that_no_vm_fits_ends_as_one_that_runs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

static void vm_ends(void)
{
    listed->state = VM_RUN_ENDED;
}

/* --- whose it is --- */

static void vms_of_another_host_are_left_alone_whatever_is_wrong_with_them(void **state)
{
    const enum ledger_vm_state states[] = {VM_RESERVED, VM_LAUNCHED, VM_BUSY, VM_ENDING};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        char name[] = {'m', 'f', '-', 't', '-', (char)('a' + i), '\0'};
        memcpy(world_add_vm(name, states[i], 10 * HOUR_MS)->host, "there", 6);
    }
    sweep_times(3);
    world_assert_nothing_ended();
}

static void vm_of_an_unknown_class_is_left_alone(void **state)
{
    memcpy(world_add_vm("mf-c28ee50a-t-a", VM_BUSY, 10 * HOUR_MS)->class_name, "retired", 8);
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
    (void)world_add_vm("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS);
    (void)world_add_large_vm("mf-c28ee50a-t-b", VM_BUSY, SECOND_MS);
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
    struct ledger_vm *small = world_add_vm("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS);
    struct ledger_vm *large = world_add_large_vm("mf-c28ee50a-t-b", VM_BUSY, SECOND_MS);
    world_fail("vm_list", "class=small", ERR_RETRY);
    sweep_times(3);
    assert_int_equal(small->state, VM_BUSY);
    assert_int_equal(large->state, VM_GONE);
    assert_string_equal(large->end_reason, "the VM ended: the provider no longer knows the VM");
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

static void vanished_vm_is_not_ended_while_its_provider_does_not_tell(void **state)
{
    vm = world_add_vm("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS);
    sweep_times(1);
    world_fail("vm_describe", NULL, ERR_RETRY); /* no response is no proof */
    sweep_times(1);
    assert_int_equal(calls_count("vm_describe", NULL), 1);
    world_fail("vm_describe", NULL, ERR_THROTTLED);
    sweep_times(1);
    world_assert_nothing_ended();
    world_heal();
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

static void reappears(void)
{
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
}

static void vm_that_is_described_as_running_is_not_ended(void **state)
{
    vm = world_add_vm("mf-c28ee50a-t-a", VM_BUSY, SECOND_MS);
    sweep_times(1);
    world_happens("vm_describe", NULL, 1, reappears);
    sweep_times(2);
    assert_int_equal(calls_count("vm_describe", NULL), 1);
    world_assert_nothing_ended();
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
    assert_int_equal(calls_count("github_delete_runner", NULL), 1);
    assert_int_equal(vm->state, VM_BUSY); /* what GitHub reported is in the row, and is not
                                           * requested again */
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static void runner_that_may_yet_come_up_is_waited_for(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 300 * SECOND_MS - 10);
    sweep_times(2);
    assert_int_equal(calls_count("github_get_runner", NULL), 0);
    world_fail("github_delete_runner", NULL, ERR_CONFLICT); /* it got a job just now */
    sweep_times(2);
    assert_int_equal(calls_count("github_delete_runner", "scope=acme id=1001"), 1);
    assert_int_equal(vm->state, VM_BUSY);
    world_heal();
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static void runner_that_github_does_not_tell_of_is_not_missing(void **state)
{
    (void)world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * SECOND_MS);
    world_fail("github_get_runner", NULL, ERR_RETRY);
    sweep_times(3);
    assert_int_equal(calls_count("github_get_runner", NULL), 3);
    world_assert_nothing_ended();
    /* A response that fails in between reverts nothing. */
    world_heal();
    sweep_times(1);
    world_fail("github_get_runner", NULL, ERR_RETRY);
    sweep_times(1);
    world_heal();
    world_assert_nothing_ended();
    sweep_times(1);
    assert_int_equal(world_ended(), 1);
}

static void runner_that_came_up_in_between_has_to_be_missed_twice_again(void **state)
{
    (void)world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * SECOND_MS);
    struct github_runner *runner = scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    sweep_times(1);
    runner->online = true;
    sweep_times(1);
    runner->online = false;
    sweep_times(1);
    world_assert_nothing_ended();
    sweep_times(1);
    assert_int_equal(world_ended(), 1);
}

static void silent_vm_whose_row_moves_at_the_second_look_lives(void **state)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 301 * SECOND_MS);
    world_happens("ledger_vm_get", NULL, 1, row_becomes_busy);
    sweep_times(2);
    assert_int_equal(calls_count("ledger_vm_get", NULL), 1);
    world_assert_nothing_ended();
}

/* --- VMs without a row, rows without a VM --- */

static void orphan_is_ended_by_its_id_at_its_provider(void **state)
{
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    sweep_times(1);
    world_assert_nothing_ended(); /* that is one sign */
    sweep_times(2);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
    assert_string_equal(calls_args("vm_terminate", NULL, 1),
                        "class=small id=id-mf-c28ee50a-t-a grace_ms=0");
    (void)world_add_large_machine("mf-c28ee50a-t-b", VM_RUN_RUNNING);
    sweep_times(3);
    assert_int_equal(calls_done("vm_terminate", NULL), 2);
    assert_string_equal(calls_args("vm_terminate", NULL, 2),
                        "class=large id=id-mf-c28ee50a-t-b grace_ms=0");
}

static void gets_a_row(void)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_REGISTERED, 0);
}

static void gets_a_row_that_ends(void)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_ENDING, 0);
}

static void orphan_that_gets_a_row_or_ends_at_the_second_look_lives(void **state)
{
    void (*const events[])(void) = {gets_a_row, gets_a_row_that_ends, vm_ends};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        world_anew();
        listed = world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
        world_happens("vm_describe", NULL, 1, events[i]);
        sweep_times(2);
        assert_int_equal(calls_count("vm_describe", NULL), 1);
        world_assert_nothing_ended();
    }
}

static void orphan_of_a_row_that_is_gone_ends(void **state)
{
    (void)world_add_running("mf-c28ee50a-t-a", VM_GONE, HOUR_MS);
    sweep_times(2);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
}

static void orphan_is_left_alone_when_a_second_look_fails(void **state)
{
    static const struct {
        const char *function;
        const char *with;
    } looks[] = {
        {"vm_describe", NULL}, {"ledger_vm_get", NULL}, {"ledger_rate_take", "terminate/"}};
    (void)world_list_vm("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    sweep_times(1);
    for (size_t i = 0; i < COUNT_OF(looks); i++) {
        size_t before = calls_count(looks[i].function, looks[i].with);
        world_fail(looks[i].function, looks[i].with, ERR_RETRY);
        sweep_times(1);
        assert_int_equal(calls_count(looks[i].function, looks[i].with) - before, 1);
        world_assert_nothing_ended();
        world_heal();
    }
}

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
        CASE(row_without_a_deadline_has_its_classs),
        CASE(fresh_ending_is_left_to_whoever_ends_it),
        CASE(row_that_is_not_ending_has_no_end_to_finish),
        CASE(ending_that_was_finished_meanwhile_is_not_ended_again),
        CASE(ledger_that_fails_at_the_second_look_ends_the_task),
        CASE(vanished_vm_is_not_ended_while_its_provider_does_not_tell),
        CASE(vm_that_is_described_as_running_is_not_ended),
        CASE(vm_listed_as_ended_is_described_before_its_row_ends),
        CASE(unfinished_launch_that_goes_on_at_the_second_look_lives),
        CASE(unfinished_launch_spares_a_busy_runner_and_waits_for_its_lease),
        CASE(runner_that_may_yet_come_up_is_waited_for),
        CASE(runner_that_github_does_not_tell_of_is_not_missing),
        CASE(runner_that_came_up_in_between_has_to_be_missed_twice_again),
        CASE(silent_vm_whose_row_moves_at_the_second_look_lives),
        CASE(orphan_is_ended_by_its_id_at_its_provider),
        CASE(orphan_that_gets_a_row_or_ends_at_the_second_look_lives),
        CASE(orphan_of_a_row_that_is_gone_ends),
        CASE(orphan_is_left_alone_when_a_second_look_fails),
        CASE(unconfirmed_launch_that_learns_its_vm_at_the_second_look_is_kept),
        CASE(unconfirmed_launch_that_no_vm_fits_ends_as_one_that_runs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

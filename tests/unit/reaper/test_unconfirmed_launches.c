/*
 * Launches whose response was lost, with VMs that carry no name: no VM of theirs is terminated
 * while it may run, none is kept forever, and no slot is released while one runs.
 */
#include "common/job/vm_name.h"
#include "tests/unit/reaper/world.h"

#define LONGEST_MS (600 * SECOND_MS)        /* max_duration */
#define APART_MS (5 * SECOND_MS)            /* reaper.deadline_grace_period */
#define STARTUP_TIMEOUT_MS (60 * SECOND_MS) /* reaper.startup_timeout */
#define SURELY_OVER_MS (LONGEST_MS + APART_MS + SECOND_MS)

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"vm_list_interval\": \"0s\", \"startup_timeout\": \"1m\", "
    "\"deadline_grace_period\": \"5s\","
    " \"terminate_timeout\": \"1s\", \"lease_duration\": \"1m\", \"confirm_after\": \"0s\"},"
    " \"worker\": {\"visibility_timeout\": \"1h\"}",
    WORLD_LARGE("\"max_vms\": 4, \"max_duration\": \"10m\""));

static struct vm_info *add_unnamed(const char *id, int64_t age_ms)
{
    struct vm_info *m = world_add_large_machine(id, VM_RUN_RUNNING);
    m->started_ms = age_ms < 0 ? 0 : clock_wall_ms() - age_ms;
    return m;
}

static void vm_that_may_be_a_launchs_is_left_alone(void **state)
{
    (void)world_add_large_vm("mf-c28ee50a-t-a", VM_REGISTERED, 20 * SECOND_MS);
    (void)world_add_unanswered("mf-c28ee50a-t-b", 60 * SECOND_MS);
    (void)add_unnamed("of-a", SECOND_MS);
    (void)add_unnamed("of-b", 60 * SECOND_MS + APART_MS);
    world_sweep(4, 0);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

/* The provider failed to end it, and other launches were never answered since. */
static void vm_past_its_longest_life_is_ended_and_holds_the_slot_until_then(void **state)
{
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", SURELY_OVER_MS);
    struct ledger_vm *young = world_add_unanswered("mf-c28ee50a-t-b", SECOND_MS);
    struct vm_info *m = add_unnamed("of-a", SURELY_OVER_MS);
    (void)add_unnamed("of-b", SECOND_MS);
    scripted_vms.end_does_nothing = true;
    world_sweep(4, 0);
    assert_true(calls_done("vm_terminate", NULL) > 0);
    assert_int_equal(vm->state, VM_ENDING);
    m->state = VM_RUN_ENDED;
    world_sweep(2, 0);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(young->state, VM_ENDING);
}

static void slot_is_free_when_no_vm_fits_for_long(void **state)
{
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", STARTUP_TIMEOUT_MS - SECOND_MS);
    (void)add_unnamed("of-another", 2 * STARTUP_TIMEOUT_MS);
    world_sweep(4, 0);
    assert_int_equal(vm->state, VM_ENDING);
    world_pass(2 * SECOND_MS);
    world_fail("vm_list", NULL, ERR_RETRY);
    world_sweep(3, 0);
    assert_int_equal(vm->state, VM_ENDING);
    world_heal();
    world_pass(5 * SECOND_MS); /* until the probe of the target's circuit */
    world_sweep(1, 0);
    assert_int_equal(vm->state, VM_ENDING);
    world_sweep(1, 0);
    assert_int_equal(vm->state, VM_GONE);
}

/* GitHub reports that it runs a job: a list without a VM id to look for proves nothing. */
static void busy_launch_whose_answer_was_lost_is_not_missed(void **state)
{
    struct ledger_vm *vm = world_add_large_vm("mf-c28ee50a-t-a", VM_BUSY, 20 * SECOND_MS);
    vm->vm_id[0] = '\0';
    (void)add_unnamed("of-a", 20 * SECOND_MS);
    world_sweep(4, 0);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

static void vm_of_another_row_holds_no_slot(void **state)
{
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", STARTUP_TIMEOUT_MS + SECOND_MS);
    (void)world_add_large_vm("mf-c28ee50a-t-b", VM_BUSY, STARTUP_TIMEOUT_MS);
    (void)add_unnamed("mf-c28ee50a-t-b", STARTUP_TIMEOUT_MS + SECOND_MS);
    world_sweep(2, 0);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

static void vm_that_tells_no_start_waits_for_the_provider(void **state)
{
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", STARTUP_TIMEOUT_MS + SECOND_MS);
    struct vm_info *m = add_unnamed("unknown", -1);
    world_sweep(4, 0);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
    assert_int_equal(vm->state, VM_ENDING);
    world_pass(LONGEST_MS + APART_MS);
    scripted_vms.end_does_nothing = true;
    world_sweep(2, LONGEST_MS + APART_MS);
    world_sweep(1, 0);
    assert_true(calls_done("vm_terminate", NULL) > 0);
    assert_int_equal(vm->state, VM_ENDING);
    m->state = VM_RUN_ENDED;
    world_sweep(2, 0);
    assert_int_equal(vm->state, VM_GONE);
}

/* Each of its rows' launches was rolled back, and the registration deleted. */
static void vm_whose_possible_rows_have_no_registration_ends_at_once(void **state)
{
    (void)world_add_unanswered("mf-c28ee50a-t-a", 20 * SECOND_MS);
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-b", 20 * SECOND_MS);
    struct github_runner *runner = world_add_runner_of(vm, false, false);
    (void)add_unnamed("of-a", 20 * SECOND_MS);
    (void)add_unnamed("older", 200 * SECOND_MS);
    world_fail("github_list_installations", NULL, ERR_AUTH); /* the older one is left alone */
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 0); /* one of them may get a job */
    scripted_github.runner_scope[runner - scripted_github.runners] = NULL;
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
    assert_int_equal(calls_done("vm_terminate", "class=large id=id-of-a "), 1);
}

/* The launch was rolled back, or its worker died; its VM started all the same, ran a job, and cannot
 * end itself. */
static void vm_of_an_unanswered_launch_ends_once_its_job_is_over(void **state)
{
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", 20 * SECOND_MS);
    struct github_runner *runner = world_add_runner_of(vm, true, true);
    vm->job_id = 7;
    (void)add_unnamed("of-a", 20 * SECOND_MS);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 0); /* it still runs */
    scripted_github.runner_scope[runner - scripted_github.runners] = NULL;
    world_sweep(1, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 0); /* one list says so */
    world_sweep(2, MINUTE_MS); /* and then one says that no other runner may be its own */
    assert_int_equal(calls_done("vm_terminate", "class=large id=id-of-a "), 1);
}

/* GitHub answers 404 to everything, or a launch is still under way. */
static void vm_whose_possible_rows_may_be_registered_lives(void **state)
{
    static const char *const functions[] = {"github_get_runner", "github_list_runners"};
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", 20 * SECOND_MS);
    (void)add_unnamed("of-a", 20 * SECOND_MS);
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        world_fail(functions[i], NULL, i == 0 ? ERR_AUTH : ERR_NOT_FOUND);
        world_sweep(3, MINUTE_MS);
        world_heal();
        assert_int_equal(calls_done("vm_terminate", NULL), 0);
    }
    vm->state = VM_REGISTERED;
    vm->heartbeat_ms = clock_wall_ms();
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 0);
}

/* Its launch was recorded in a ledger that lost its last writes. */
static struct ledger_vm *add_completed(const char *name, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_unanswered(name, age_ms);
    vm->job_id = 42;
    vm->ending_ms = clock_wall_ms();
    return vm;
}

static void vm_whose_only_possible_row_ran_its_job_ends(void **state)
{
    struct ledger_vm *vm = add_completed("mf-c28ee50a-t-a", 20 * SECOND_MS);
    (void)add_unnamed("of-a", 20 * SECOND_MS);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", "class=large id=id-of-a "), 1);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(vm->state, VM_GONE);
}

/* It is that of a row that was lost: its runner has none, and is busy. */
static void vm_lives_while_it_may_be_that_of_a_lost_row(void **state)
{
    char name[VM_NAME_SIZE];
    vm_name_make("t", "large", name);
    (void)add_completed("mf-c28ee50a-t-a", 20 * SECOND_MS);
    (void)add_unnamed("of-a-or-lost", 20 * SECOND_MS);
    struct github_runner *runner = scripted_github_add_runner(name, true, true);
    world_sweep(5, MINUTE_MS);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    world_fail("github_list_runners", NULL, ERR_THROTTLED);
    scripted_github.runner_scope[runner - scripted_github.runners] = NULL;
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    world_heal();
    world_sweep(1, 10 * MINUTE_MS); /* the circuit's probe */
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(vm_that_may_be_a_launchs_is_left_alone),
        CASE(vm_whose_only_possible_row_ran_its_job_ends),
        CASE(vm_lives_while_it_may_be_that_of_a_lost_row),
        CASE(vm_past_its_longest_life_is_ended_and_holds_the_slot_until_then),
        CASE(slot_is_free_when_no_vm_fits_for_long),
        CASE(busy_launch_whose_answer_was_lost_is_not_missed),
        CASE(vm_of_another_row_holds_no_slot),
        CASE(vm_that_tells_no_start_waits_for_the_provider),
        CASE(vm_whose_possible_rows_have_no_registration_ends_at_once),
        CASE(vm_of_an_unanswered_launch_ends_once_its_job_is_over),
        CASE(vm_whose_possible_rows_may_be_registered_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

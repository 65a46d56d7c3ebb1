/*
 * VMs without a row: each may run a job, so it lives until its deadline, unless its runner is known and
 * has left GitHub.
 */
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

static struct vm_info *listed; /* the VM that every test is about */

static void vm_ends(void)
{
    listed->state = VM_RUN_ENDED;
}

static struct vm_info *add_orphan(const char *name, int64_t age_ms)
{
    listed = world_list_vm(name, VM_RUN_RUNNING);
    listed->started_ms = clock_wall_ms() - age_ms;
    return listed;
}

static void add_late_orphan(void)
{
    (void)add_orphan("mf-c28ee50a-t-a", HOUR_MS + SECOND_MS + 1);
}

static void orphan_past_its_deadline_is_ended_by_its_id_at_its_provider(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", HOUR_MS + SECOND_MS - 15);
    sweep_times(2);
    world_assert_nothing_ended();
    sweep_times(1);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
    assert_string_equal(calls_args("vm_terminate", NULL, 1),
                        "class=small id=id-mf-c28ee50a-t-a grace_ms=0");
    listed = world_add_large_machine("mf-c28ee50a-t-b", VM_RUN_RUNNING);
    listed->started_ms = clock_wall_ms() - 2 * HOUR_MS - 2 * SECOND_MS;
    sweep_times(3);
    assert_int_equal(calls_done("vm_terminate", NULL), 2);
    assert_string_equal(calls_args("vm_terminate", NULL, 2),
                        "class=large id=id-mf-c28ee50a-t-b grace_ms=0");
}

/* The registration is what it is judged by: it is not stale. */
static void orphan_whose_runner_stays_offline_ends(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    world_sweep(3, MINUTE_MS);
    world_assert_nothing_ended();
    world_sweep(1, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", "class=small id=id-mf-c28ee50a-t-a"), 1);
    assert_int_equal(scripted_github.deleted, 1);
}

static void orphan_whose_registration_cannot_be_deleted_lives(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    world_fail("github_delete_runner", NULL, ERR_CONFLICT);
    world_sweep(10, MINUTE_MS);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static void orphan_whose_runner_is_up_or_unknown_lives_until_its_deadline(void **state)
{
    for (int i = 0; i < 3; i++) {
        world_anew();
        (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
        if (i < 2) {
            (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, i == 1);
        }
        world_sweep(50, MINUTE_MS);
        world_assert_nothing_ended();
        world_sweep(10, MINUTE_MS);
        assert_int_equal(calls_done("vm_terminate", NULL), 1);
    }
}

/* Nothing leads from it to its runner. */
static void orphan_without_a_name_lives_until_its_deadline(void **state)
{
    listed = world_add_large_machine("a", VM_RUN_RUNNING);
    listed->started_ms = clock_wall_ms() - 301 * SECOND_MS;
    world_sweep(110, MINUTE_MS);
    world_assert_nothing_ended();
    world_sweep(10, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
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
        add_late_orphan();
        world_happens("vm_describe", NULL, 1, events[i]);
        sweep_times(2);
        assert_int_equal(calls_count("vm_describe", NULL), 1);
        world_assert_nothing_ended();
    }
}

static void orphan_of_a_row_that_is_gone_ends_with_its_runner(void **state)
{
    (void)world_add_running("mf-c28ee50a-t-a", VM_GONE, HOUR_MS / 2);
    scripted_vms.list[0].info.started_ms = clock_wall_ms() - HOUR_MS / 2;
    world_fail("github_list_runners", NULL, ERR_RETRY);
    sweep_times(3);
    world_assert_nothing_ended();
    world_heal();
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
    add_late_orphan();
    sweep_times(1);
    for (size_t i = 0; i < COUNT_OF(looks); i++) {
        size_t before = calls_count(looks[i].function, looks[i].with);
        world_fail(looks[i].function, looks[i].with, ERR_RETRY);
        sweep_times(1);
        assert_true(calls_count(looks[i].function, looks[i].with) > before);
        world_assert_nothing_ended();
        world_heal();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(orphan_past_its_deadline_is_ended_by_its_id_at_its_provider),
        CASE(orphan_whose_runner_stays_offline_ends),
        CASE(orphan_whose_registration_cannot_be_deleted_lives),
        CASE(orphan_whose_runner_is_up_or_unknown_lives_until_its_deadline),
        CASE(orphan_without_a_name_lives_until_its_deadline),
        CASE(orphan_that_gets_a_row_or_ends_at_the_second_look_lives),
        CASE(orphan_of_a_row_that_is_gone_ends_with_its_runner),
        CASE(orphan_is_left_alone_when_a_second_look_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Lists of a service whose pages are many: one for all classes, seldom, a few seconds of a sweep, and
 * nothing is concluded before the last page.
 */
#include "tests/unit/reaper/world.h"

#define SWEEP_MS (10 * SECOND_MS)
#define SWEEPS_OF_AN_INTERVAL 12 /* vm_list_interval: 2 minutes */
#define PAGES_A_SWEEP 31         /* list_rate: a burst of 10, and 10 a second for 2 seconds */

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"confirm_after\": \"1m\", \"startup_timeout\": \"5m\","
    " \"deadline_grace_period\": \"1s\", \"terminate_timeout\": \"1s\"}",
    WORLD_LARGE(
        "\"max_vms\": 4, \"max_duration\": \"1h\"") ", "
                                                    "{\"name\": \"wide\", \"labels\": [\"wide\"], "
                                                    "\"provider\": \"lambda\", \"lambda\":"
                                                    " {\"image\": "
                                                    "\"arn:aws:lambda:us-east-1:123456789012:"
                                                    "microvm-image:wide\"},"
                                                    " \"max_vms\": 4, \"max_duration\": \"1h\"}");

static int pages(void)
{
    return (int)calls_count("vm_list", NULL);
}

static struct ledger_vm *add_running(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    (void)world_add_large_machine(name, VM_RUN_RUNNING);
    struct ledger_vm *vm = world_add_large_vm(name, state, age_ms);
    (void)world_add_runner_of(vm, true, state == VM_BUSY);
    return vm;
}

/* Its VM is not listed, and the provider does not know it. */
static struct ledger_vm *add_missing(const char *name)
{
    struct ledger_vm *vm = world_add_large_vm(name, VM_BUSY, 20 * MINUTE_MS);
    (void)world_add_runner_of(vm, false, false);
    return vm;
}

static void classes_of_an_account_and_region_share_a_list_now_and_then(void **state)
{
    (void)add_running("mf-c28ee50a-t-a", VM_BUSY, MINUTE_MS);
    world_sweep(SWEEPS_OF_AN_INTERVAL, SWEEP_MS);
    assert_int_equal(pages(), 1);
    assert_int_equal(calls_count("vm_list", "class=large,wide cursor="), 1);
    world_sweep(1, SWEEP_MS);
    assert_int_equal(pages(), 2);
    assert_int_equal(calls_count("vm_describe", NULL), 0);
}

/* 1,000 dead VMs are 20 pages more. */
static void dead_vms_cost_a_list_now_and_then_and_no_sweep_two_seconds(void **state)
{
    scripted_vms.more_pages = 20;
    for (int i = 0; i < SWEEPS_OF_AN_INTERVAL; i++) {
        int64_t began_ms = world.now_ms;
        sweep(&reaper);
        assert_in_range(world.now_ms - began_ms, 0, 2 * SECOND_MS);
        world_pass(SWEEP_MS);
    }
    assert_int_equal(pages(), 21);
}

/* 20,000: 400 pages more. */
static void list_that_is_too_long_for_a_sweep_goes_on_in_the_next(void **state)
{
    scripted_vms.more_pages = 400;
    struct ledger_vm *late = add_running("mf-c28ee50a-t-a", VM_BUSY, 2 * HOUR_MS);
    int sweeps = 0;
    for (int before = 0; pages() < 401; before = pages()) {
        int64_t began_ms = world.now_ms;
        sweep(&reaper);
        assert_in_range(world.now_ms - began_ms, 0, 2200);
        assert_in_range(pages() - before, 10, PAGES_A_SWEEP);
        world_pass(SWEEP_MS);
        assert_int_equal(late->state, VM_GONE); /* a deadline waits for no list */
        assert_true(++sweeps < 30);
    }
    assert_int_equal(calls_count("vm_list", "cursor= "), 0);
    assert_int_equal(calls_count("vm_list", "cursor=xx"), 399); /* each page once */
}

static void list_that_is_incomplete_is_no_evidence(void **state)
{
    scripted_vms.more_pages = 2 * PAGES_A_SWEEP + 5;
    struct ledger_vm *vm = add_missing("mf-c28ee50a-t-a");
    world_sweep(2, SWEEP_MS);
    assert_int_equal(calls_count("vm_describe", NULL), 0);
    world_sweep(1, SWEEP_MS);
    assert_int_equal(pages(), 2 * PAGES_A_SWEEP + 6);
    assert_true(calls_count("vm_describe", NULL) > 0);
    world_sweep(5, SWEEP_MS); /* confirm_after, and one list more, which is not complete either */
    assert_int_equal(vm->state, VM_BUSY);
    world_sweep(3, SWEEP_MS);
    assert_int_equal(vm->state, VM_GONE);
}

static void row_without_a_listed_vm_waits_for_a_list_that_began_after_its_launch(void **state)
{
    scripted_vms.more_pages = 5 * PAGES_A_SWEEP;
    struct ledger_vm *vm = add_missing("mf-c28ee50a-t-a");
    vm->launched_ms = world.now_ms - 5 * MINUTE_MS + SECOND_MS;
    world_sweep(7, SWEEP_MS);
    assert_true(pages() > 5 * PAGES_A_SWEEP); /* complete, and the launch is long ago by now */
    assert_false(signs_any(&reaper.fleet_signs, SIGN_VM_VANISHED, "large"));
}

static void page_that_was_throttled_is_asked_for_again_by_itself(void **state)
{
    scripted_vms.more_pages = 20;
    world_fail("vm_list", "cursor=xxxxx", ERR_THROTTLED);
    world_sweep(2, SWEEP_MS);
    assert_int_equal(calls_done("vm_list", NULL), 5);
    world_heal();
    world_sweep(3, SWEEP_MS); /* at a lower rate */
    assert_int_equal(calls_done("vm_list", NULL), 21);
}

static void cursor_that_is_refused_begins_a_new_list(void **state)
{
    scripted_vms.more_pages = 20;
    world_fail("vm_list", "cursor=xxxxx", ERR_PERMANENT);
    world_sweep(1, SWEEP_MS);
    world_heal();
    world_sweep(1, SWEEP_MS);
    assert_int_equal(calls_done("vm_list", NULL), 5 + 21);
}

static void between_lists_a_vm_without_a_job_is_asked_about(void **state)
{
    struct ledger_vm *vm = add_running("mf-c28ee50a-t-a", VM_LAUNCHED, 0);
    struct ledger_vm *busy = add_running("mf-c28ee50a-t-b", VM_BUSY, 0);
    world_sweep(3, SWEEP_MS);
    scripted_vms.list[0].info.state = VM_RUN_ENDED;
    assert_int_equal(calls_count("vm_describe", NULL), 0);
    world_sweep(1, SWEEP_MS);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(busy->state, VM_BUSY);
    assert_int_equal(pages(), 1);
    assert_int_equal(calls_count("vm_describe", NULL), 1);
}

static void vms_that_are_asked_about_take_turns(void **state)
{
    enum { ROWS = 250, A_SWEEP = 100 };
    for (int i = 0; i < ROWS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%03d", i);
        (void)add_running(name, VM_LAUNCHED, MINUTE_MS);
    }
    world_sweep(1, SWEEP_MS); /* all are listed */
    assert_int_equal(calls_count("vm_describe", NULL), 0);
    for (int i = 1; i <= 3; i++) {
        world_sweep(1, SWEEP_MS);
        assert_int_equal(calls_count("vm_describe", NULL), i * A_SWEEP);
    }
    assert_int_equal(calls_count("vm_describe", "id=id-mf-c28ee50a-t-000"), 2);
    assert_int_equal(calls_count("vm_describe", "id=id-mf-c28ee50a-t-100"), 1);
    assert_int_equal(calls_count("vm_describe", "id=id-mf-c28ee50a-t-249"), 1);
}

static void vm_that_is_listed_without_a_row_gets_one_before_the_next_list(void **state)
{
    struct vm_info *m = world_add_large_machine("stray", VM_RUN_RUNNING);
    m->started_ms = world.now_ms - MINUTE_MS;
    world_sweep(2, SWEEP_MS);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 1);
    assert_int_equal(pages(), 1);
}

static void launch_without_an_answer_is_decided_by_two_complete_lists(void **state)
{
    struct ledger_vm *vm = world_add_unanswered("mf-c28ee50a-t-a", HOUR_MS);
    vm->ending_ms = world.now_ms - 6 * MINUTE_MS;
    world_sweep(6, SWEEP_MS);
    assert_int_equal(vm->state, VM_ENDING);
    assert_int_equal(pages(), 1);
    world_sweep(1, SWEEP_MS); /* confirm_after, not vm_list_interval */
    assert_int_equal(pages(), 2);
    assert_int_equal(vm->state, VM_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(classes_of_an_account_and_region_share_a_list_now_and_then),
        CASE(dead_vms_cost_a_list_now_and_then_and_no_sweep_two_seconds),
        CASE(list_that_is_too_long_for_a_sweep_goes_on_in_the_next),
        CASE(list_that_is_incomplete_is_no_evidence),
        CASE(row_without_a_listed_vm_waits_for_a_list_that_began_after_its_launch),
        CASE(page_that_was_throttled_is_asked_for_again_by_itself),
        CASE(cursor_that_is_refused_begins_a_new_list),
        CASE(between_lists_a_vm_without_a_job_is_asked_about),
        CASE(vms_that_are_asked_about_take_turns),
        CASE(vm_that_is_listed_without_a_row_gets_one_before_the_next_list),
        CASE(launch_without_an_answer_is_decided_by_two_complete_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

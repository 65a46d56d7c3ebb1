/*
 * VMs that an operator wants terminated: GitHub decides whether they run a job.
 */
#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

static struct ledger_vm *vm; /* the row that every test is about */

static struct github_runner *add_online_vm(void)
{
    vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, SECOND_MS);
    return world_add_runner_of(vm, true, false);
}

static void request(void)
{
    struct err e;
    char now[24];
    (void)snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    MUST(ledger_cell_put(world.ledger, LEDGER_KIND_TERMINATE, "mf-c28ee50a-t-a", now, 0, NULL, &e));
}

static bool is_requested(void)
{
    struct ledger_cell cell;
    struct err e;
    MUST(ledger_cell_get(world.ledger, LEDGER_KIND_TERMINATE, "mf-c28ee50a-t-a", &cell, &e));
    return cell.version != 0;
}

static void requested_vm_ends_although_its_runner_is_online(void **state)
{
    (void)add_online_vm();
    request();
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_string_equal(vm->end_reason, "requested with mayflyctl vm terminate");
    assert_int_equal(scripted_github.deleted, 1);
    assert_false(is_requested());
}

static void requested_vm_that_is_busy_is_spared(void **state)
{
    add_online_vm()->busy = true;
    request();
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    assert_false(is_requested());
    world_assert_nothing_ended();
}

static void request_waits_for_github_but_not_for_ever(void **state)
{
    (void)add_online_vm();
    request();
    world_fail("github_get_runner", NULL, ERR_NOT_FOUND);
    world_sweep(3, MINUTE_MS);
    assert_true(is_requested());
    world_sweep(9, MINUTE_MS);
    assert_false(is_requested());
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static void request_is_left_to_the_reaper_of_the_vms_host(void **state)
{
    (void)add_online_vm();
    memcpy(vm->host, "there", 6);
    request();
    sweep_times(2);
    assert_true(is_requested());
    assert_int_equal(vm->state, VM_LAUNCHED);
}

static void request_for_a_vm_that_is_gone_is_removed(void **state)
{
    request();
    sweep_times(1);
    assert_false(is_requested());
    (void)add_online_vm();
    vm->state = VM_GONE;
    request();
    sweep_times(1);
    assert_false(is_requested());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(requested_vm_ends_although_its_runner_is_online),
        CASE(requested_vm_that_is_busy_is_spared),
        CASE(request_waits_for_github_but_not_for_ever),
        CASE(request_is_left_to_the_reaper_of_the_vms_host),
        CASE(request_for_a_vm_that_is_gone_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

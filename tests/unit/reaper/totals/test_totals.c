/*
 * The task `totals`: what ended VMs add to the daily totals, with the sizes of their provider.
 */
#include <stdlib.h>

#include "common/base/metrics.h"
#include "common/ledger/kinds.h"
#include "common/ledger/totals.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] =
    WORLD_CONFIG("\"reaper\": {\"vm_list_interval\": \"0s\", \"retention\": \"7h\"}",
                 WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\"") ", " WORLD_LARGE(
                     "\"max_vms\": 4, \"max_duration\": \"1h\""));

#define DAY "2027-01-15"

static struct ledger_total must_total(void)
{
    struct ledger_total *all = NULL;
    struct ledger_total sum = {.vms = 0};
    size_t n = 0;
    struct err e;
    MUST(ledger_totals_of(reaper.ledger, DAY, &all, &n, &e));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(all[i].class_name, "small");
        assert_string_equal(all[i].repository, "acme/app");
        ledger_total_add(&sum, &all[i]);
    }
    free(all);
    return sum;
}

/* One that lived for two minutes until now. */
static void add_gone(const char *name)
{
    struct ledger_vm *vm = world_add_vm(name, VM_BUSY, 2 * MINUTE_MS);
    vm->launched_ms = clock_wall_ms() - 2 * MINUTE_MS;
    (void)snprintf(vm->repository, sizeof vm->repository, "acme/app");
    world_move(vm, VM_ENDING);
    world_move(vm, VM_GONE);
}

static void a_vm_that_ended_is_added_once_after_the_lag(void **state)
{
    (void)state;
    scripted_vms.vcpus = 2;
    add_gone("mf-c28ee50a-t-a");
    world_sweep(1, 1000);
    assert_int_equal(must_total().vms, 0);
    world_sweep(6, 61 * SECOND_MS);
    struct ledger_total t = must_total();
    assert_int_equal(t.vms, 1);
    assert_int_equal(t.vm_ms, 2 * MINUTE_MS);
    assert_int_equal(t.vcpu_ms, 4 * MINUTE_MS);
    assert_int_equal(t.mib_s, 120 * 4096);
    assert_int_equal(calls_count("vm_size", "class=small"), 1);
    add_gone("mf-c28ee50a-t-b"); /* its size is known */
    world_sweep(3, 61 * SECOND_MS);
    assert_int_equal(must_total().vms, 2);
    assert_int_equal(calls_count("vm_size", "class=small"), 1);
}

static void totals_wait_while_the_provider_does_not_answer(void **state)
{
    int64_t errors = world_task_errors("totals");
    (void)state;
    scripted_vms.vcpus = 2;
    add_gone("mf-c28ee50a-t-a");
    world_fail("vm_size", NULL, ERR_RETRY);
    world_sweep(3, 61 * SECOND_MS);
    assert_true(world_task_errors("totals") > errors);
    assert_int_equal(must_total().vms, 0);
    world_heal();
    world_sweep(2, 61 * SECOND_MS);
    assert_int_equal(must_total().vcpu_ms, 4 * MINUTE_MS);
}

static void a_vm_whose_size_nobody_may_know_counts_without_one(void **state)
{
    (void)state;
    add_gone("mf-c28ee50a-t-a");
    world_fail("vm_size", NULL, ERR_AUTH);
    world_sweep(3, 61 * SECOND_MS);
    assert_int_equal(must_total().vms, 1);
    assert_int_equal(must_total().unsized_ms, 2 * MINUTE_MS);
    world_heal();
}

static void a_day_that_is_full_is_counted_and_the_rest_kept(void **state)
{
    struct ledger_total *all = NULL;
    size_t n = 0;
    struct err e;
    struct metric *others = metrics_counter("mayfly_reaper_cost_vms_other_total", "");
    int64_t before = metric_value(others);
    (void)state;
    MUST(ledger_cell_put(reaper.ledger, LEDGER_KIND_TOTALS, DAY, "10000", 0, NULL, &e));
    add_gone("mf-c28ee50a-t-a");
    world_sweep(3, 61 * SECOND_MS);
    assert_int_equal(metric_value(others) - before, 1);
    MUST(ledger_totals_of(reaper.ledger, DAY, &all, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(all[0].repository, LEDGER_TOTAL_OTHER);
    free(all);
}

static void another_reaper_that_holds_the_lease_adds_them(void **state)
{
    (void)state;
    add_gone("mf-c28ee50a-t-a");
    world_take_lease("sweep");
    world_sweep(3, 61 * SECOND_MS);
    assert_int_equal(must_total().vms, 0);
    world_give_leases_back();
    world_sweep(2, 61 * SECOND_MS);
    assert_int_equal(must_total().vms, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_vm_that_ended_is_added_once_after_the_lag),
        CASE(totals_wait_while_the_provider_does_not_answer),
        CASE(a_vm_whose_size_nobody_may_know_counts_without_one),
        CASE(a_day_that_is_full_is_counted_and_the_rest_kept),
        CASE(another_reaper_that_holds_the_lease_adds_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Classes whose VMs end again and again without ever having had a job.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/metrics.h"
#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"stale_runner_scan_interval\": \"10ms\", "
    "\"confirm_after\": \"10ms\","
    " \"startup_timeout\": \"5m\", \"relaunch_after\": \"1m\"}",
    WORLD_SMALL(
        "\"max_vms\": 40, \"max_duration\": \"1h\", "
        "\"idle_timeout\": \"2m\"") ", " WORLD_LARGE("\"max_vms\": 40, \"max_duration\": \"1h\""));

static int made;

/* One more VM that ended, and that the next sweep finds. */
static struct ledger_vm *end_vm(const char *reason, int64_t age_ms, bool had_job)
{
    char name[64];
    (void)snprintf(name, sizeof name, "mf-c28ee50a-j-%d", made++);
    struct ledger_vm *vm = world_add_vm(name, VM_LAUNCHED, age_ms);
    vm->busy_ms = had_job ? clock_wall_ms() - 1000 : 0;
    struct vm_info *m = world_list_vm(name, VM_RUN_ENDED);
    (void)snprintf(m->reason, sizeof m->reason, "%s", reason);
    m->ended_ms = clock_wall_ms();
    world_sweep(1, 1000);
    assert_int_equal(vm->state, VM_GONE);
    return vm;
}

static int64_t counted(void)
{
    struct err e;
    int64_t n = -1;
    MUST(ledger_counter_get(reaper.ledger, LEDGER_COUNTER_JOBLESS "small", &n, &e));
    return n;
}

static bool noticed(void)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    bool found = false;
    MUST(ledger_cell_list(reaper.ledger, LEDGER_KIND_NOTICE, &cells, &n, &e));
    for (size_t i = 0; i < n; i++) {
        found = found || strstr(cells[i].value, "class small: the last ") != NULL;
    }
    free(cells);
    return found;
}

static void class_without_jobs_is_reported_until_one_has_a_job(void **state)
{
    for (int i = 0; i < LEDGER_JOBLESS_MANY; i++) {
        assert_false(noticed());
        (void)end_vm("idle-timeout", 1000, false);
        assert_int_equal(counted(), i + 1);
    }
    assert_true(noticed());
    struct ledger_vm *vm = world_add_running("mf-c28ee50a-j-busy", VM_BUSY, 1000);
    vm->busy_ms = clock_wall_ms();
    world_sweep(1, 1000);
    assert_int_equal(counted(), 0);
    assert_false(noticed());
}

static void vm_with_a_job_or_another_end_does_not_count(void **state)
{
    (void)end_vm("job-done", 10 * 60 * 1000, false); /* its events were lost */
    (void)end_vm("runner-failed", 1000, false);
    (void)end_vm("", 1000, false);
    assert_int_equal(counted(), 0);
    (void)end_vm("idle-timeout", 1000, true);
    assert_int_equal(counted(), 0);
}

/* It was launched to idle (classes[].min_idle). */
static void vm_without_a_job_of_its_own_counts_only_if_its_runner_is_too_old(void **state)
{
    static const char *const reasons[] = {"idle-timeout", "", "runner-too-old"};
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-i-%d", made++);
        struct ledger_vm *vm = world_add_vm(name, VM_LAUNCHED, 121 * 1000);
        vm->for_job = 0;
        struct vm_info *m = world_list_vm(name, VM_RUN_ENDED);
        (void)snprintf(m->reason, sizeof m->reason, "%s", reasons[i]);
        m->ended_ms = clock_wall_ms();
        world_sweep(1, 1000);
        assert_int_equal(vm->state, VM_GONE);
        assert_int_equal(counted(), i / 2);
    }
}

/* A provider that says nothing leaves the time. */
static void old_vm_without_a_reason_counts(void **state)
{
    (void)end_vm("", 121 * 1000, false);
    (void)end_vm("runner-too-old", 1000, false);
    assert_int_equal(counted(), 2);
}

static void ends_are_counted_by_known_reasons(void **state)
{
    struct buf text;
    (void)end_vm("runner-killed", 1000, false);
    (void)end_vm("evil reason", 1000, false);
    buf_init(&text, 1 << 20);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "mayfly_reaper_vm_ends_total{reason=\"runner-killed\"} "));
    assert_non_null(strstr(text.data, "mayfly_reaper_vm_ends_total{reason=\"other\"} "));
    assert_null(strstr(text.data, "evil"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(class_without_jobs_is_reported_until_one_has_a_job),
        CASE(vm_with_a_job_or_another_end_does_not_count),
        CASE(old_vm_without_a_reason_counts),
        CASE(vm_without_a_job_of_its_own_counts_only_if_its_runner_is_too_old),
        CASE(ends_are_counted_by_known_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The brake: an unusual number of VMs that are not listed, or have no row, is an alarm and no
 * reason to terminate any of them.
 */
#include <stdlib.h>

#include "common/base/metrics.h"
#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

#define HOLD_MS (15 * MINUTE_MS)

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"stale_runner_scan_interval\": \"10ms\", \"vm_list_interval\": \"0s\","
    " \"confirm_after\": \"10ms\", \"startup_timeout\": \"5m\"}",
    WORLD_SMALL("\"max_vms\": 400, \"max_duration\": \"3h\", \"idle_timeout\": "
                "\"1h\"") ", " WORLD_LARGE("\"max_vms\": 400, \"max_duration\": "
                                           "\"3h\", \"idle_timeout\": \"1h\""));

/* Rows whose runner is offline and idle: only the brake keeps those that are not listed. */
static void add_rows(int n, bool listed)
{
    static int number;
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", ++number);
        struct ledger_vm *vm = world_add_missing(name, VM_BUSY);
        vm->deadline_ms = clock_wall_ms() + 3 * HOUR_MS;
        if (listed) {
            (void)world_list_vm(name, VM_RUN_RUNNING);
        }
    }
}

static int64_t held(void)
{
    char label[160];
    (void)snprintf(label, sizeof label, "target=\"host/%.100s\"", fleet_host(reaper.fleet));
    return metric_value(metrics_gauge("mayfly_reaper_terminations_held", label));
}

/* What `mayflyctl status` says about it. */
static bool is_told(const char *what)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    bool told = false;
    MUST(ledger_cell_list(world.ledger, LEDGER_KIND_NOTICE, &cells, &n, &e));
    for (size_t i = 0; i < n; i++) {
        told = told || strstr(cells[i].value, what) != NULL;
    }
    free(cells);
    return told;
}

/* Orphans are judged by the sweeps that scan runner lists; the others in between forget nothing. */
static void held_orphans_are_released_although_not_every_sweep_judges_them(void **state)
{
    for (int i = 0; i < 8; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", i);
        (void)world_add_running(name, VM_GONE, 10 * MINUTE_MS);
        scripted_vms.list[i].info.started_ms = clock_wall_ms() - 10 * MINUTE_MS;
    }
    sweep_times(2);
    assert_int_equal(held(), 8);
    for (int minute = 0; minute < 15; minute++) {
        assert_int_equal(calls_done("vm_terminate", NULL), 0);
        world_sweep(1, 5); /* the next one scans no runners */
        world_sweep(1, MINUTE_MS);
        assert_int_equal(held(), 8);
    }
    world_sweep(1, 0);
    assert_int_equal(calls_done("vm_terminate", NULL), 8);
}

static void quarter_of_the_vms_may_be_missing(void **state)
{
    add_rows(18, true);
    add_rows(6, false);
    sweep_times(2);
    assert_int_equal(world_ended(), 6);
    world_anew();
    add_rows(2, true);
    add_rows(5, false); /* five always may */
    sweep_times(2);
    assert_int_equal(world_ended(), 5);
}

static void more_than_a_quarter_are_held_all(void **state)
{
    add_rows(17, true);
    add_rows(6, false);
    sweep_times(2);
    world_assert_nothing_ended();
    assert_int_equal(held(), 6);
    assert_true(is_told("6 of 23 VMs have no row, or are not listed"));
    world_sweep(1, HOLD_MS - 11);
    world_sweep(1, 0);
    world_assert_nothing_ended();
    world_pass(1);
    world_sweep(1, 0);
    assert_int_equal(world_ended(), 6);
    world_pass(10);
    sweep_times(1);
    assert_int_equal(held(), 0);
    assert_false(is_told(""));
}

/* Neither what another reaper wrote is removed, nor what is still so. */
static void notices_are_those_of_the_own_lease(void **state)
{
    struct err e;
    MUST(
        ledger_cell_put(world.ledger, LEDGER_KIND_NOTICE, "sweep/there: x", "theirs", 0, NULL, &e));
    MUST(
        ledger_cell_put(world.ledger, LEDGER_KIND_NOTICE, "sweep: x", "of the fleet", 0, NULL, &e));
    world_take_lease("sweep");
    sweep_times(1);
    assert_true(is_told("theirs"));
    assert_true(is_told("of the fleet"));
    world_give_leases_back();
    sweep_times(1);
    assert_true(is_told("theirs"));
    assert_false(is_told("of the fleet"));
}

static void held_vms_that_are_listed_again_are_not_ended(void **state)
{
    add_rows(1, true);
    add_rows(6, false);
    sweep_times(2);
    for (size_t i = 0; i < 6; i++) {
        (void)world_list_vm(scripted_github.runners[1 + i].name, VM_RUN_RUNNING);
    }
    sweep_times(2);
    assert_int_equal(held(), 0);
    scripted_vms.list[1].info.id[0] = '\0'; /* a single one is missing: no reason for the brake */
    sweep_times(2);
    assert_int_equal(world_ended(), 1);
}

/* What is left of them is no usual absence. */
static void fewer_that_are_missing_still_are_held(void **state)
{
    add_rows(1, true);
    add_rows(6, false);
    sweep_times(2);
    for (size_t i = 0; i < 4; i++) {
        (void)world_list_vm(scripted_github.runners[1 + i].name, VM_RUN_RUNNING);
    }
    world_sweep(10, MINUTE_MS);
    assert_int_equal(held(), 2);
    world_assert_nothing_ended();
    world_sweep(10, MINUTE_MS);
    assert_int_equal(world_ended(), 2);
}

static void incomplete_list_begins_the_time_anew(void **state)
{
    add_rows(6, false);
    sweep_times(2);
    world_sweep(14, MINUTE_MS);
    world_fail("vm_list", "class=small", ERR_THROTTLED);
    world_sweep(1, MINUTE_MS);
    world_heal();
    world_sweep(15, MINUTE_MS);
    world_assert_nothing_ended();
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 6);
}

static void deadline_ends_a_held_vm(void **state)
{
    add_rows(6, false);
    world_sweep(2, SECOND_MS);
    world_assert_nothing_ended();
    world_pass(3 * HOUR_MS + MINUTE_MS);
    world_sweep(1, 0);
    assert_int_equal(calls_count("ledger_vm_advance", " reason=deadline: it ran"), 6);
}

/* The ledger was emptied, or is another one: the VMs go on, and end at their deadline. */
static void orphans_are_held_like_missing_vms(void **state)
{
    for (int i = 0; i < 8; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", i);
        (void)world_add_running(name, VM_GONE, 10 * MINUTE_MS);
        scripted_vms.list[i].info.started_ms = clock_wall_ms() - 10 * MINUTE_MS;
    }
    sweep_times(3);
    world_assert_nothing_ended();
    assert_int_equal(held(), 8);
    world_pass(3 * HOUR_MS);
    sweep_times(1);
    assert_int_equal(calls_done("vm_terminate", NULL), 8);
}

static void what_the_provider_or_github_says_is_not_held(void **state)
{
    for (int i = 0; i < 16; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", i);
        (void)world_add_vm(name, VM_BUSY, 301 * SECOND_MS);
        if (i < 8) {
            world_list_vm(name, VM_RUN_ENDED)->ended_ms = clock_wall_ms();
        } else {
            (void)world_list_vm(name, VM_RUN_RUNNING); /* its runner is gone */
        }
    }
    sweep_times(2);
    assert_int_equal(world_ended(), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(quarter_of_the_vms_may_be_missing),
        CASE(more_than_a_quarter_are_held_all),
        CASE(held_orphans_are_released_although_not_every_sweep_judges_them),
        CASE(notices_are_those_of_the_own_lease),
        CASE(held_vms_that_are_listed_again_are_not_ended),
        CASE(fewer_that_are_missing_still_are_held),
        CASE(incomplete_list_begins_the_time_anew),
        CASE(deadline_ends_a_held_vm),
        CASE(orphans_are_held_like_missing_vms),
        CASE(what_the_provider_or_github_says_is_not_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

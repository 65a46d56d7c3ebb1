/*
 * Rows of VMs that nobody can reach: when their slots are free, and what says so before.
 */
#include <stdlib.h>

#include "common/ledger/hosts.h"
#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

#define GRACE_MS SECOND_MS

static int64_t beat(const char *id, const char *boot, const char *classes, int64_t version)
{
    struct err e;
    struct ledger_program p = {.version = "1",
                               .oldest_format = 1,
                               .newest_format = 1,
                               .interval_ms = 10000,
                               .is_host = true,
                               .host_name = "box"};
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    (void)snprintf(p.boot_id, sizeof p.boot_id, "%s", boot);
    (void)snprintf(p.classes, sizeof p.classes, "%s", classes);
    MUST(ledger_program_beat(world.ledger, &p, &version, &e));
    return version;
}

static struct ledger_vm *add_vm_there(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_vm(name, state, age_ms);
    memcpy(vm->host, "there", 6);
    return vm;
}

/* The notice about that subject, or "". */
static const char *notice(const char *subject)
{
    static struct ledger_cell cell;
    char name[LEDGER_CELL_NAME];
    struct err e;
    (void)snprintf(name, sizeof name, "sweep: %.40s", subject);
    MUST(ledger_cell_get(world.ledger, LEDGER_KIND_NOTICE, name, &cell, &e));
    return cell.value;
}

static void vm_of_a_gone_host_holds_its_slot_until_its_deadline_and_grace_have_passed(void **state)
{
    (void)state;
    struct ledger_vm *busy = add_vm_there("mf-c28ee50a-t-a", VM_BUSY, 0);
    struct ledger_vm *ending = add_vm_there("mf-c28ee50a-t-b", VM_ENDING, 0);
    world_sweep(1, HOUR_MS + GRACE_MS);
    sweep_times(1); /* at the last moment */
    assert_int_equal(busy->state, VM_BUSY);
    assert_int_equal(ending->state, VM_ENDING);
    assert_non_null(strstr(notice("there"), "2 VMs"));
    assert_non_null(strstr(notice("there"), "mayflyctl host forget there"));
    int64_t before = world_task_done("unreachable");
    sweep_times(1);
    assert_int_equal(busy->state, VM_GONE);
    assert_string_equal(busy->end_reason, "deadline: its host has no heartbeat");
    assert_int_equal(ending->state, VM_GONE);
    assert_int_equal(world_task_done("unreachable"), before + 2);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    sweep_times(1);
    assert_string_equal(notice("there"), "");
}

static void vm_of_a_host_that_lives_is_left_to_it(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_vm_there("mf-c28ee50a-t-a", VM_BUSY, 3 * HOUR_MS);
    int64_t version = beat("mayfly-reaper/there/1", "b", "small", 0);
    sweep_times(2);
    assert_int_equal(vm->state, VM_BUSY);
    world_pass(LEDGER_HEARTBEAT_VALID_MS - 20); /* the last moment at which it is listed */
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    (void)beat("mayfly-reaper/there/1", "b", "small", version);
    world_pass(LEDGER_HEARTBEAT_VALID_MS - 20);
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    world_pass(HOUR_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

static void heartbeats_that_cannot_be_read_are_no_silence(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_vm_there("mf-c28ee50a-t-a", VM_BUSY, 3 * HOUR_MS);
    world_fail("ledger_cell_list", "program", ERR_RETRY);
    sweep_times(3);
    assert_int_equal(vm->state, VM_BUSY);
    world_heal();
    world_take_lease("sweep"); /* another reaper does it */
    sweep_times(3);
    assert_int_equal(vm->state, VM_BUSY);
}

static void launch_on_a_gone_host_is_over_when_no_vm_of_it_can_run(void **state)
{
    (void)state;
    struct ledger_vm *reserved = add_vm_there("mf-c28ee50a-t-a", VM_RESERVED, 0);
    struct ledger_vm *registered = add_vm_there("mf-c28ee50a-t-b", VM_REGISTERED, 0);
    world_pass(5 * MINUTE_MS + GRACE_MS + 1); /* startup_timeout */
    sweep_times(1);
    assert_int_equal(reserved->state, VM_GONE);
    assert_int_equal(registered->state, VM_REGISTERED);
    world_pass(HOUR_MS); /* max_duration */
    sweep_times(1);
    assert_int_equal(registered->state, VM_GONE);
}

static struct ledger_vm *add_vm_of_removed_class(const char *name, enum ledger_vm_state state,
                                                 int64_t age_ms)
{
    struct ledger_vm *vm = world_add_large_vm(name, state, age_ms);
    memcpy(vm->class_name, "former", 7);
    return vm;
}

static void vm_of_a_removed_class_is_gone_after_its_deadline(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_vm_of_removed_class("mf-c28ee50a-t-a", VM_BUSY, 0);
    struct ledger_vm *unrecorded = add_vm_of_removed_class("mf-c28ee50a-t-b", VM_REGISTERED, 0);
    int64_t left_ms = vm->deadline_ms - clock_wall_ms();
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    assert_non_null(strstr(notice("former"), "class former is not configured any more: 2 VMs"));
    world_pass(left_ms + GRACE_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_string_equal(vm->end_reason, "deadline: its class is not configured any more");
    assert_int_equal(unrecorded->state, VM_REGISTERED); /* as long as any class permits */
    world_pass(5 * 24 * HOUR_MS);
    sweep_times(1);
    assert_int_equal(unrecorded->state, VM_GONE);
}

static void vm_of_a_removed_target_is_gone_after_its_deadline(void **state)
{
    (void)state;
    struct ledger_vm *vm = world_add_large_vm("mf-c28ee50a-t-a", VM_BUSY, 0);
    memcpy(vm->target, "west", 5);
    int64_t left_ms = vm->deadline_ms - clock_wall_ms();
    (void)beat("mayfly-worker/there/1", "b", vm->class_name, 0); /* its class is known */
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    assert_non_null(strstr(notice("west"), "target west is not configured any more: 1 VMs"));
    world_pass(left_ms + GRACE_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_string_equal(vm->end_reason, "deadline: its target is not configured any more");
}

static void vm_of_a_class_that_another_program_has_is_left_to_it(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_vm_of_removed_class("mf-c28ee50a-t-a", VM_BUSY, 9 * HOUR_MS);
    int64_t version = beat("mayfly-worker/there/1", "b", "a,former,b", 0);
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    version = beat("mayfly-worker/there/1", "b", "a,...", version); /* it has more than are said */
    sweep_times(1);
    assert_int_equal(vm->state, VM_BUSY);
    (void)beat("mayfly-worker/there/1", "b", "a,former-1", version);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

static void worker_beside_this_reaper_with_another_host_id_is_named(void **state)
{
    static int any;
    (void)state;
    reaper.presence = (struct presence *)&any;
    world.self = (struct ledger_program){.is_host = true, .boot_id = "b1"};
    (void)snprintf(world.self.host, sizeof world.self.host, "%s", fleet_host(reaper.fleet));
    (void)beat("mayfly-worker/there/1", "b2", "small", 0); /* another machine */
    (void)beat("mayfly-worker/this-host/2", "b1", "small", 0);
    sweep_times(1);
    assert_string_equal(reaper.other_host, "");
    (void)beat("mayfly-worker/two/3", "b1", "small", 0); /* two hosts on one machine */
    (void)beat("mayfly-reaper/two/4", "b1", "small", 0);
    sweep_times(1);
    assert_string_equal(reaper.other_host, "");
    (void)beat("mayfly-worker/other/3", "b1", "small", 0);
    sweep_times(1);
    assert_string_equal(reaper.other_host, "other");
    assert_non_null(strstr(notice("mayfly-worker/other/3"), "state_dir"));
}

static size_t count_hosts(void)
{
    struct ledger_host *list = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_host_list(world.ledger, &list, &n, &e));
    free(list);
    return n;
}

static void host_is_forgotten_without_heartbeat_and_rows_unless_it_is_drained(void **state)
{
    struct err e;
    struct ledger_host h;
    (void)state;
    MUST(ledger_host_seen(world.ledger, "there", "box", &e));
    MUST(ledger_host_seen(world.ledger, "lives", "box", &e));
    MUST(ledger_host_seen(world.ledger, "drained", "box", &e));
    MUST(ledger_host_seen(world.ledger, "idle", "box", &e));
    MUST(ledger_host_drain(world.ledger, "drained", true, &e));
    assert_int_equal(ledger_host_drain(world.ledger, "nobody", true, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    (void)add_vm_there("mf-c28ee50a-t-a", VM_BUSY, 0);
    (void)beat("mayfly-worker/lives/1", "b", "small", 0);
    sweep_times(1);
    assert_int_equal(count_hosts(), 3);
    MUST(ledger_host_get(world.ledger, "idle", &h, &e));
    assert_string_equal(h.name, "");
    MUST(ledger_host_seen(world.ledger, "drained", "new name", &e));
    MUST(ledger_host_get(world.ledger, "drained", &h, &e));
    assert_string_equal(h.name, "new name");
    assert_true(h.drained_ms > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(vm_of_a_gone_host_holds_its_slot_until_its_deadline_and_grace_have_passed),
        CASE(vm_of_a_host_that_lives_is_left_to_it),
        CASE(heartbeats_that_cannot_be_read_are_no_silence),
        CASE(launch_on_a_gone_host_is_over_when_no_vm_of_it_can_run),
        CASE(vm_of_a_removed_class_is_gone_after_its_deadline),
        CASE(vm_of_a_removed_target_is_gone_after_its_deadline),
        CASE(vm_of_a_class_that_another_program_has_is_left_to_it),
        CASE(worker_beside_this_reaper_with_another_host_id_is_named),
        CASE(host_is_forgotten_without_heartbeat_and_rows_unless_it_is_drained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Before a class's VMs are launched the ledger has a row for each that runs, whatever happened to it.
 */
#include <stdlib.h>

#include "common/fleet/reconcile.h"
#include "common/ledger/circuit.h"
#include "common/ledger/kinds.h"
#include "tests/unit/worker/world.h"
#include "worker/reconcile.h"

#define NEVER (-1)
#define MINUTE_MS 60000LL
#define HOUR_MS (60 * MINUTE_MS)

static const char *history = "";

int __wrap_ledger_history(struct ledger *l, char out[LEDGER_HISTORY_SIZE], struct err *e);
int __wrap_ledger_history(struct ledger *l, char out[LEDGER_HISTORY_SIZE], struct err *e)
{
    (void)l;
    (void)e;
    (void)snprintf(out, LEDGER_HISTORY_SIZE, "%s", history);
    return 0;
}

static int64_t known_since_ms; /* what look has found */

static const struct config_class *class_of(const char *name)
{
    return config_class_by_name(world.config, slice_of(name));
}

/* The wait before a launch of the class; 0: now. */
static int64_t look(const char *class_name)
{
    struct subjects s = {.names = {{'\0'}}};
    subjects_of_class(class_of(class_name), fleet_provider(world.worker.fleet, class_name),
                      fleet_host(world.worker.fleet), &s);
    return reconcile_wait_ms(&world.worker, world.config, class_of(class_name), &s,
                             &known_since_ms);
}

static struct vm_info *add_vm(const char *class_name, const char *name, int64_t age_ms)
{
    struct vm_info *vm = scripted_vms_add(class_name, name, VM_RUN_RUNNING);
    vm->started_ms = world.now_ms - age_ms;
    if (strcmp(class_name, "large") == 0) {
        vm->name[0] = '\0';
    }
    return vm;
}

static int64_t slots_used(const char *class_name)
{
    struct ledger_caps caps = {.fleet = 9, .class_max = 9};
    struct ledger_capacity capacity;
    struct err e;
    MUST(ledger_capacity(world.worker.ledger, class_name, &caps, &capacity, &e));
    return capacity.class_used;
}

static void ledger_that_knows_the_class_is_asked_once(void **state)
{
    assert_int_equal(look("large"), 0);
    calls_assert("ledger_cell_get kind=reconciled name=large\n");
}

/* A deployment that is new has no VM: its first launch waits for one list. */
static void new_ledger_without_vms_is_reconciled_at_once(void **state)
{
    world_reconcile("large", NEVER);
    add_vm("large", "of-old", 1000)->state = VM_RUN_ENDED;
    add_vm("large", "ending", 1000)->state = VM_RUN_ENDING;
    assert_int_equal(look("large"), 0);
    assert_int_equal(calls_count("vm_list", "class=large"), 1);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
    assert_int_equal(look("large"), 0);
    assert_int_equal(calls_count("vm_list", NULL), 1);
}

/* What was launched a moment before may not be listed yet. */
static void lost_ledger_gets_rows_until_a_comparison_finds_no_more(void **state)
{
    world_reconcile("large", NEVER);
    (void)add_vm("large", "a", 1000);
    add_vm("large", "b", 5000)->max_duration_ms = 7 * MINUTE_MS;
    assert_true(look("large") > 0);
    assert_int_equal(slots_used("large"), 2);
    assert_int_equal(calls_done("ledger_vm_adopt", NULL), 2);
    (void)add_vm("large", "late", 1000);
    assert_true(look("large") > 0); /* a pause between two comparisons */
    assert_int_equal(calls_count("vm_list", NULL), 1);
    world.now_ms += LEASE_MS / 3 + 1;
    assert_true(look("large") > 0);
    assert_int_equal(slots_used("large"), 3);
    world.now_ms += LEASE_MS / 3 + 1;
    assert_int_equal(look("large"), 0);
    assert_int_equal(slots_used("large"), 3);

    struct ledger_vm *list = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_vm_list(world.worker.ledger, 1u << VM_BUSY, "", 10, &list, &n, &e));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        bool is_b = strcmp(list[i].vm_id, "id-b") == 0;
        int64_t longest_ms = is_b ? 7 * MINUTE_MS : MINUTE_MS;
        assert_int_equal(list[i].deadline_ms - list[i].launched_ms, longest_ms);
        assert_true(ledger_vm_is_adopted(&list[i]));
    }
    free(list);
}

/* A deployment went back to a ledger that it had left. */
static void ledger_that_was_not_in_use_is_compared_again(void **state)
{
    (void)add_vm("large", "a", 1000);
    world.now_ms += 5 * MINUTE_MS;
    assert_int_equal(look("large"), 0);
    world.now_ms += 1;
    assert_true(look("large") > 0);
    assert_int_equal(slots_used("large"), 1);
}

/* A fail-over lost the rows of what was launched last. */
static void ledger_that_may_have_lost_writes_is_compared_again(void **state)
{
    struct fleet_knowledge known;
    struct err e;
    (void)add_vm("large", "a", 1000);
    history = "of-another-server";
    MUST(fleet_still_reconciled(world.worker.fleet, "large", &e)); /* a worker's task */
    MUST(fleet_reconciled(world.worker.fleet, "large", &known, &e));
    assert_int_equal(known.state, FLEET_HISTORY_BROKEN);
    assert_int_equal(reconcile_check(&world.worker, class_of("large"), &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.from, ERR_FROM_LEDGER);
    assert_true(look("large") > 0);
    assert_int_equal(slots_used("large"), 1);
    world.now_ms += LEASE_MS / 3 + 1;
    assert_int_equal(look("large"), 0);
    assert_int_equal(look("large"), 0);
    assert_int_equal(calls_count("vm_list", NULL), 2);
    assert_int_equal(reconcile_check(&world.worker, class_of("large"), &e), 0);
    history = "";
}

static struct ledger_vm *add_row(const char *name, const char *class_name, const char *vm_id)
{
    struct ledger_vm *vm = memory_vm(world.url, name);
    vm->state = vm_id[0] != '\0' ? VM_LAUNCHED : VM_REGISTERED;
    (void)snprintf(vm->class_name, sizeof vm->class_name, "%s", class_name);
    (void)snprintf(vm->scope, sizeof vm->scope, "acme");
    (void)snprintf(vm->vm_id, sizeof vm->vm_id, "%s", vm_id);
    vm->reserved_ms = vm->registered_ms = world.now_ms - 1000;
    return vm;
}

static void vm_of_a_row_needs_no_second_one(void **state)
{
    world_reconcile("large", NEVER);
    world_reconcile("small", NEVER);
    (void)add_row("of-a", "large", "id-a");
    (void)add_vm("large", "a", 1000);
    (void)add_row("b", "small", "");
    (void)add_vm("small", "b", 1000);
    assert_int_equal(look("large"), 0);
    assert_int_equal(look("small"), 0);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
}

/* A launch is under way, or got no response. */
static void vm_that_may_be_of_a_row_without_an_id_needs_no_second_one(void **state)
{
    world_reconcile("large", NEVER);
    (void)add_row("r", "large", "");
    (void)add_vm("large", "a", 1000);
    assert_int_equal(look("large"), 0);
    world_reconcile("large", NEVER);
    world.now_ms += LEASE_MS;
    (void)add_vm("large", "earlier", HOUR_MS);
    assert_true(look("large") > 0);
    assert_int_equal(calls_done("ledger_vm_adopt", NULL), 1);
    assert_int_equal(calls_count("ledger_vm_adopt", "id-earlier"), 1);
}

/* As a fail-over leaves them that lost some launches' last writes, and all of others'. */
static void row_without_an_id_accounts_for_one_vm(void **state)
{
    world_reconcile("large", NEVER);
    (void)add_row("r", "large", "");
    (void)add_vm("large", "a", 1000);
    (void)add_vm("large", "b", 1000);
    (void)add_vm("large", "c", 1000);
    assert_true(look("large") > 0);
    assert_int_equal(calls_done("ledger_vm_adopt", NULL), 2);
    assert_int_equal(slots_used("large"), 3);
    world.now_ms += LEASE_MS;
    assert_int_equal(look("large"), 0);
    assert_int_equal(slots_used("large"), 3);
}

/* Its own VM may not be listed yet, and the one that is may have no row. */
static void launch_under_way_decides_first_which_vm_it_has(void **state)
{
    world_reconcile("large", NEVER);
    struct ledger_vm *row = add_row("r", "large", "");
    row->heartbeat_ms = world.now_ms;
    (void)add_vm("large", "lost", 1000);
    assert_true(look("large") > 0);
    world.now_ms += LEASE_MS / 3 + 1;
    assert_true(look("large") > 0);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
    (void)snprintf(row->vm_id, sizeof row->vm_id, "id-own");
    world.now_ms += LEASE_MS / 3 + 1;
    assert_true(look("large") > 0);
    assert_int_equal(slots_used("large"), 2);
    world.now_ms += LEASE_MS / 3 + 1;
    assert_int_equal(look("large"), 0);
}

static void launch_of_a_dead_worker_keeps_no_class_waiting(void **state)
{
    world_reconcile("large", NEVER);
    add_row("r", "large", "")->heartbeat_ms = world.now_ms;
    (void)add_vm("large", "a", 1000);
    world.now_ms += LEASE_MS;
    assert_true(look("large") > 0);
    world.now_ms += LEASE_MS / 3 + 1;
    assert_int_equal(look("large"), 0);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
}

static void many_rows_are_all_read(void **state)
{
    char name[32];
    world_reconcile("large", NEVER);
    for (int i = 0; i < 600; i++) {
        (void)snprintf(name, sizeof name, "r-%03d", i);
        (void)add_row(name, "large", name);
    }
    (void)snprintf(add_row("r-599", "large", "")->vm_id, 8, "id-a");
    (void)add_vm("large", "a", 1000);
    assert_int_equal(look("large"), 0);
    assert_int_equal(calls_count("ledger_vm_list", NULL), 2);
}

static void vm_that_ends_meanwhile_gets_no_row(void **state)
{
    world_reconcile("large", NEVER);
    (void)add_vm("large", "a", 1000);
    calls_plan(&(struct call_plan){.function = "vm_describe", .fails = ERR_NOT_FOUND});
    assert_int_equal(look("large"), 0);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
}

static int64_t circuit_wait(const char *class_name)
{
    struct subjects s = {.names = {{'\0'}}};
    subjects_of_class(class_of(class_name), fleet_provider(world.worker.fleet, class_name),
                      fleet_host(world.worker.fleet), &s);
    return circuits_stop_of(world.worker.circuits, &s).wait_ms;
}

/* `mayflyctl status` and `why` name it then. */
static void list_that_fails_opens_the_targets_circuit(void **state)
{
    world_reconcile("large", NEVER);
    world_fail("vm_list", ERR_RETRY);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(circuit_wait("large"), 0);
        assert_true(look("large") > 0);
        assert_int_equal(calls_count("vm_list", NULL), i); /* no pause after a failure */
        world.now_ms += 1000;
    }
    assert_true(circuit_wait("large") > 0);
    world_heal();
    assert_int_equal(look("large"), 0);
}

static void forbidden_list_opens_the_circuit_at_once(void **state)
{
    world_reconcile("large", NEVER);
    world_fail("vm_list", ERR_AUTH);
    assert_true(look("large") > 0);
    assert_true(circuit_wait("large") > 0);
}

/* Nobody else's trouble. */
static void ledger_in_trouble_opens_no_circuit(void **state)
{
    static const char *const calls[] = {"ledger_cell_get", "ledger_lease", "ledger_vm_list",
                                        "ledger_vm_adopt", "ledger_cell_put"};
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        world_reconcile("large", NEVER);
        if (i == 0) {
            (void)add_vm("large", "a", 1000);
        } else if (i == COUNT_OF(calls) - 1) {
            scripted_vms.count = 0;
        }
        world.now_ms += LEASE_MS;
        world_fail(calls[i], ERR_AUTH);
        assert_true(look("large") > 0);
        assert_true(calls_count(calls[i], NULL) > 0);
        world_heal();
        assert_int_equal(circuit_wait("large"), 0);
    }
}

static void reaper_renews_a_cell_that_is_valid_alone(void **state)
{
    struct fleet_knowledge known;
    struct err e;
    static const struct {
        int64_t age_ms;
        size_t writes;
    } cases[] = {{NEVER, 0}, {MINUTE_MS, 0}, {MINUTE_MS + 1, 1}, {5 * MINUTE_MS + 1, 0}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        world_reconcile("large", cases[i].age_ms);
        calls_reset();
        MUST(fleet_still_reconciled(world.worker.fleet, "large", &e));
        assert_int_equal(calls_done("ledger_cell_put", NULL), cases[i].writes);
    }
    world_reconcile("large", 2 * MINUTE_MS);
    MUST(fleet_still_reconciled(world.worker.fleet, "large", &e));
    world.now_ms += 4 * MINUTE_MS;
    MUST(fleet_reconciled(world.worker.fleet, "large", &known, &e));
    assert_int_equal(known.state, FLEET_RECONCILED);
}

/* A request that is older may be for a job whose end was lost. */
static void ledger_knows_everything_since_the_first_comparison_after_a_loss(void **state)
{
    struct err e;
    world_reconcile("large", NEVER);
    int64_t first_ms = world.now_ms;
    assert_int_equal(look("large"), 0);
    assert_int_equal(known_since_ms, first_ms);
    world.now_ms += 2 * MINUTE_MS;
    MUST(fleet_still_reconciled(world.worker.fleet, "large", &e));
    known_since_ms = 0;
    assert_int_equal(look("large"), 0);
    assert_int_equal(known_since_ms, first_ms);
    world.now_ms += 10 * MINUTE_MS; /* not in use: nothing was lost */
    known_since_ms = 0;
    assert_int_equal(look("large"), 0);
    assert_int_equal(known_since_ms, first_ms);
    history = "of-another-server";
    world.now_ms += LEASE_MS / 3 + 1;
    assert_int_equal(look("large"), 0);
    assert_int_equal(known_since_ms, world.now_ms);
    history = "";
}

static void cells_that_nobody_renews_are_removed(void **state)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    world_reconcile("large", 24 * HOUR_MS + 1);
    world_reconcile("small", 24 * HOUR_MS);
    MUST(fleet_tidy_reconciled(world.worker.ledger, &e));
    MUST(ledger_cell_list(world.worker.ledger, LEDGER_KIND_RECONCILED, &cells, &n, &e));
    assert_int_equal(n, 2); /* small's, and other's */
    free(cells);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(ledger_that_knows_the_class_is_asked_once),
        CASE(new_ledger_without_vms_is_reconciled_at_once),
        CASE(lost_ledger_gets_rows_until_a_comparison_finds_no_more),
        CASE(ledger_that_was_not_in_use_is_compared_again),
        CASE(ledger_that_may_have_lost_writes_is_compared_again),
        CASE(vm_of_a_row_needs_no_second_one),
        CASE(vm_that_may_be_of_a_row_without_an_id_needs_no_second_one),
        CASE(row_without_an_id_accounts_for_one_vm),
        CASE(launch_under_way_decides_first_which_vm_it_has),
        CASE(launch_of_a_dead_worker_keeps_no_class_waiting),
        CASE(many_rows_are_all_read),
        CASE(vm_that_ends_meanwhile_gets_no_row),
        CASE(list_that_fails_opens_the_targets_circuit),
        CASE(forbidden_list_opens_the_circuit_at_once),
        CASE(ledger_in_trouble_opens_no_circuit),
        CASE(reaper_renews_a_cell_that_is_valid_alone),
        CASE(ledger_knows_everything_since_the_first_comparison_after_a_loss),
        CASE(cells_that_nobody_renews_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

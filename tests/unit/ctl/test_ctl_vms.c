/* `mayflyctl vm terminate`: what it spares, and what it asks of the reaper. */
#include "tests/lib/cmocka.h"

#include "common/ledger/hosts.h"
#include "common/ledger/kinds.h"
#include "deploy/ctl/ctl.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"

#define LEDGER "memory://ctl-vms"
#define VM "mf-t-small-1"

static char vm_name[] = VM;
static char *arguments[] = {vm_name};
static struct config config; /* reaper.interval 0: no wait for a reaper */
static struct ctl ctl = {.config = &config, .argc = 1, .argv = arguments};

static int setup(void **state)
{
    struct err e;
    ctl.given_count = 0;
    MUST(ledger_open(LEDGER, &ctl.ledger, &e));
    *memory_vm(LEDGER, VM) = (struct ledger_vm){
        .name = VM, .class_name = "small", .scope = "acme", .vm_id = "id", .job_id = 42};
    return 0;
}

static int teardown(void **state)
{
    ledger_close(ctl.ledger);
    return 0;
}

static void list_names_the_host_of_each_vm(void **state)
{
    struct err e;
    json_t *answer = NULL;
    (void)snprintf(memory_vm(LEDGER, VM)->host, sizeof memory_vm(LEDGER, VM)->host, "0123-4567");
    MUST(ledger_host_seen(ctl.ledger, "0123-4567", "box-1", &e));
    MUST(ctl_vms(&ctl, &answer, &e));
    const json_t *vm = json_array_get(answer, 0);
    assert_string_equal(ctl_str(vm, "host"), "0123-4567");
    assert_string_equal(ctl_str(vm, "host_name"), "box-1");
    json_decref(answer);
}

static bool is_requested(void)
{
    struct ledger_cell cell;
    struct err e;
    MUST(ledger_cell_get(ctl.ledger, LEDGER_KIND_TERMINATE, VM, &cell, &e));
    return cell.version != 0;
}

static int terminate(struct err *e)
{
    json_t *answer = NULL;
    *e = (struct err){0};
    int rc = ctl_vm_terminate(&ctl, &answer, e);
    json_decref(answer);
    return rc;
}

static void busy_vm_is_spared_and_said_so(void **state)
{
    struct err e;
    memory_vm(LEDGER, VM)->state = VM_BUSY;
    must_fail_saying(terminate(&e), &e, ERR_CONFLICT, "runs job 42 and");
    assert_int_equal(memory_vm(LEDGER, VM)->state, VM_BUSY);
    assert_false(is_requested());
}

static void vm_that_may_be_idle_is_left_to_the_reaper(void **state)
{
    static const enum ledger_vm_state states[] = {VM_REGISTERED, VM_LAUNCHED};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        struct err e;
        memory_vm(LEDGER, VM)->state = states[i];
        MUST(terminate(&e));
        assert_true(is_requested());
        assert_int_equal(memory_vm(LEDGER, VM)->state, states[i]);
        MUST(terminate(&e)); /* again, before a reaper came */
    }
}

static void vm_without_a_runner_is_ended_at_once(void **state)
{
    struct err e;
    memory_vm(LEDGER, VM)->state = VM_RESERVED;
    MUST(terminate(&e));
    assert_int_equal(memory_vm(LEDGER, VM)->state, VM_ENDING);
}

static void force_ends_a_busy_vm(void **state)
{
    struct err e;
    ctl.given = &(struct ctl_given){"--force", ""};
    ctl.given_count = 1;
    memory_vm(LEDGER, VM)->state = VM_BUSY;
    MUST(terminate(&e));
    assert_int_equal(memory_vm(LEDGER, VM)->state, VM_ENDING);
    memory_vm(LEDGER, VM)->state = VM_GONE;
    must_fail(terminate(&e), &e, ERR_CONFLICT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(list_names_the_host_of_each_vm),
        CASE(busy_vm_is_spared_and_said_so),
        CASE(vm_that_may_be_idle_is_left_to_the_reaper),
        CASE(vm_without_a_runner_is_ended_at_once),
        CASE(force_ends_a_busy_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

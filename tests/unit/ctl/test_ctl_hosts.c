/* `mayflyctl hosts`, `workers` and `host …`. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/ledger/circuit.h"
#include "common/ledger/hosts.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/ctl.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"

#define ONE "11110000000000000000000000000000"
#define TWO "22220000000000000000000000000000"

static struct ctl ctl;
static char url[48];

static int setup(void **state)
{
    static int times;
    struct err e;
    (void)state;
    (void)snprintf(url, sizeof url, "memory://ctl-hosts-%d", ++times);
    ctl = (struct ctl){.config = NULL};
    MUST(ledger_open(url, &ctl.ledger, &e));
    MUST(ledger_host_seen(ctl.ledger, ONE, "box-1", &e));
    MUST(ledger_host_seen(ctl.ledger, TWO, "box-2", &e));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ledger_close(ctl.ledger);
    return 0;
}

static void beat(const char *id, bool is_host)
{
    int64_t version = 0;
    struct err e;
    struct ledger_program p = {.version = "1.2",
                               .oldest_format = 1,
                               .newest_format = 1,
                               .interval_ms = 10000,
                               .is_host = is_host,
                               .host_name = "box-1",
                               .classes = "small,large"};
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    MUST(ledger_program_beat(ctl.ledger, &p, &version, &e));
}

static struct ledger_vm *add_vm(const char *name, const char *host, enum ledger_vm_state state)
{
    struct ledger_vm *vm = memory_vm(url, name);
    (void)snprintf(vm->class_name, sizeof vm->class_name, "small");
    (void)snprintf(vm->scope, sizeof vm->scope, "acme");
    (void)snprintf(vm->host, sizeof vm->host, "%s", host);
    vm->state = state;
    vm->reserved_ms = 1;
    return vm;
}

static const json_t *host(const json_t *answer, const char *id)
{
    size_t i;
    json_t *o;
    json_array_foreach(answer, i, o)
    {
        if (strcmp(ctl_str(o, "host"), id) == 0) {
            return o;
        }
    }
    return NULL;
}

static int run(ctl_build_fn *command, const char *argument, struct err *e)
{
    char word[64];
    char *argv[] = {word};
    json_t *out = NULL;
    (void)snprintf(word, sizeof word, "%s", argument);
    ctl.argc = 1;
    ctl.argv = argv;
    int rc = command(&ctl, &out, e);
    json_decref(out);
    return rc;
}

static void hosts_are_known_by_their_cells_programs_and_vms(void **state)
{
    struct err e;
    json_t *out = NULL;
    (void)state;
    beat("mayfly-worker/" ONE "/1", true);
    beat("mayfly-reaper/" ONE "/2", true);
    beat("mayfly-worker/task-7/3", false); /* no host */
    (void)add_vm("a", "33330000", VM_BUSY);
    (void)add_vm("b", "33330000", VM_GONE);
    (void)add_vm("c", "", VM_BUSY);
    MUST(ctl_hosts(&ctl, &out, &e));
    assert_int_equal(json_array_size(out), 3);
    assert_string_equal(ctl_str(host(out, ONE), "state"), "up");
    assert_int_equal(ctl_int(host(out, ONE), "programs"), 2);
    assert_string_equal(ctl_str(host(out, TWO), "state"), "silent");
    assert_string_equal(ctl_str(host(out, TWO), "name"), "box-2");
    assert_int_equal(ctl_int(host(out, "33330000"), "vms"), 1);
    ctl_hosts_print(out);
    json_decref(out);
}

static void workers_are_listed_with_and_without_a_host(void **state)
{
    struct err e;
    json_t *out = NULL;
    (void)state;
    beat("mayfly-worker/" ONE "/1", true);
    beat("mayfly-reaper/task-7/3", false);
    MUST(ctl_workers(&ctl, &out, &e));
    assert_int_equal(json_array_size(out), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *o = json_array_get(out, i);
        bool worker = strcmp(ctl_str(o, "program"), "mayfly-worker") == 0;
        assert_string_equal(ctl_str(o, "host"), worker ? ONE : "");
        assert_string_equal(ctl_str(o, "name"), worker ? "box-1" : "task-7");
        assert_string_equal(ctl_str(o, "version"), "1.2");
        assert_string_equal(ctl_str(o, "classes"), "small,large");
    }
    ctl_workers_print(out);
    json_decref(out);
}

static void host_is_drained_by_id_beginning_or_name(void **state)
{
    static const char *const names[] = {ONE, "1111", "box-1"};
    struct ledger_host h;
    struct err e;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        MUST(run(ctl_host_drain, names[i], &e));
        MUST(ledger_host_get(ctl.ledger, ONE, &h, &e));
        assert_true(h.drained_ms > 0);
        MUST(run(ctl_host_undrain, names[i], &e));
        MUST(ledger_host_get(ctl.ledger, ONE, &h, &e));
        assert_int_equal(h.drained_ms, 0);
    }
    MUST(ledger_host_get(ctl.ledger, TWO, &h, &e));
    assert_int_equal(h.drained_ms, 0);
    MUST(ledger_host_seen(ctl.ledger, TWO, "box-1", &e));
    static const char *const wrong[] = {"box-1", "111", "nobody"}; /* two of that name; too short */
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(run(ctl_host_drain, wrong[i], &e), -1);
        assert_int_equal(e.class, ERR_NOT_FOUND);
    }
}

static bool has_circuit(const char *subject)
{
    struct ledger_cell cell;
    struct err e;
    MUST(ledger_cell_get(ctl.ledger, CIRCUIT_KIND, subject, &cell, &e));
    return cell.version != 0;
}

static void forgotten_host_holds_no_slot_and_no_circuit(void **state)
{
    static const char *const circuits[] = {"host:" ONE, "class:small@" ONE, "host:" TWO,
                                           "class:small@" TWO, "class:large"};
    struct err e;
    struct ledger_host h;
    (void)state;
    struct ledger_vm *busy = add_vm("a", ONE, VM_BUSY);
    struct ledger_vm *ending = add_vm("b", ONE, VM_ENDING);
    struct ledger_vm *other = add_vm("c", TWO, VM_BUSY);
    for (size_t i = 0; i < COUNT_OF(circuits); i++) {
        MUST(ledger_cell_put(ctl.ledger, CIRCUIT_KIND, circuits[i], "x", 0, NULL, &e));
    }
    MUST(run(ctl_host_forget, "box-1", &e));
    assert_int_equal(busy->state, VM_GONE);
    assert_int_equal(ending->state, VM_GONE);
    assert_int_equal(other->state, VM_BUSY);
    for (size_t i = 0; i < COUNT_OF(circuits); i++) {
        assert_int_equal(has_circuit(circuits[i]), i >= 2);
    }
    MUST(ledger_host_get(ctl.ledger, ONE, &h, &e));
    assert_string_equal(h.name, "");
}

static void host_that_lives_is_not_forgotten(void **state)
{
    struct err e;
    (void)state;
    struct ledger_vm *busy = add_vm("a", ONE, VM_BUSY);
    beat("mayfly-reaper/" ONE "/1", true);
    assert_int_equal(run(ctl_host_forget, ONE, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(busy->state, VM_BUSY);
}

/* Of which nothing but rows is left; the argument is a shell's variable that is not set. */
static void host_without_a_name_is_not_meant_by_an_empty_one(void **state)
{
    struct err e;
    (void)state;
    struct ledger_vm *busy = add_vm("a", "33330000", VM_BUSY);
    assert_int_equal(run(ctl_host_forget, "", &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(busy->state, VM_BUSY);
    MUST(run(ctl_host_forget, "3333", &e));
    assert_int_equal(busy->state, VM_GONE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hosts_are_known_by_their_cells_programs_and_vms),
        CASE(workers_are_listed_with_and_without_a_host),
        CASE(host_is_drained_by_id_beginning_or_name),
        CASE(forgotten_host_holds_no_slot_and_no_circuit),
        CASE(host_that_lives_is_not_forgotten),
        CASE(host_without_a_name_is_not_meant_by_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

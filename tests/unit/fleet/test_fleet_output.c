/*
 * What is kept of a VM that failed, when it is terminated (common/fleet/output.h). GitHub and the
 * providers are scripted (tests/lib), the ledger is one in memory, and the script has the clock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/fleet/fleet.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"
#include "tests/lib/scripted_vms.h"

#define LEDGER "memory://fleet-output"
#define VM "mf-t-arm-1"

static struct script {
    int64_t now_ms;
    struct ledger *ledger;
    struct fleet *fleet;
} script = {.now_ms = 1790000000000};

static int64_t wall(void)
{
    return script.now_ms;
}

static int64_t mono(void)
{
    return script.now_ms * 1000;
}

static char text_arm[] = "arm";
static char text_metal[] = "metal";
static char text_lambda[] = "lambda";
static char text_qemu[] = "qemu";
static char text_t[] = "t";

static int setup(void **state)
{
    static const struct clock_source source = {mono, wall};
    struct err e;
    struct config_class classes[] = {
        {.name = text_arm, .provider = text_lambda, .max_duration_ms = 600000},
        {.name = text_metal, .provider = text_qemu, .max_duration_ms = 600000},
    };
    struct config c = {.deployment = text_t, .classes = classes, .class_count = COUNT_OF(classes)};
    const struct config_class *places[] = {&classes[0], &classes[1]};
    c.places = places;
    c.place_count = COUNT_OF(places);
    (void)state;
    script = (struct script){.now_ms = script.now_ms + 3600000};
    clock_set_source(&source);
    calls_reset();
    scripted_vms_reset();
    scripted_github_reset();
    MUST(ledger_open(LEDGER, &script.ledger, &e));
    return fleet_open(&c, "this-host", script.ledger, NULL, &script.fleet, &e);
}

static int teardown(void **state)
{
    (void)state;
    fleet_close(script.fleet);
    ledger_close(script.ledger);
    clock_set_source(NULL);
    return 0;
}

/* A row in that state whose runner had its job. */
static struct ledger_vm row(enum ledger_vm_state state, const char *vm_id)
{
    struct ledger_vm vm = {.name = VM,
                           .class_name = "arm",
                           .scope = "acme",
                           .state = state,
                           .job_id = 7,
                           .runner_id = 77,
                           .reserved_ms = script.now_ms - 1000};
    assert_true(slice_to_cstr(slice_of(vm_id), vm.vm_id, sizeof vm.vm_id));
    *memory_vm(LEDGER, VM) = vm;
    return vm;
}

static enum ledger_vm_state row_state(void)
{
    struct ledger_vm vm;
    struct err e;
    MUST(ledger_vm_get(script.ledger, VM, &vm, &e));
    return vm.state;
}

static int terminate_vm(const struct ledger_vm *vm, bool failed)
{
    struct err e = {0};
    struct fleet_termination how = {.reason = "test", .evidence = FLEET_OVER, .failed = failed};
    return fleet_terminate_vm(script.fleet, vm, &how, &e);
}

static int end_failed(const struct ledger_vm *vm)
{
    return terminate_vm(vm, true);
}

static size_t lines_kept(const char *with)
{
    return calls_count("ledger_log_event", with);
}

static void console_of_a_failed_vm_goes_into_its_timeline(void **state)
{
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    (void)state;
    scripted_vms.console = "Booting\nKernel \x1b[31mpanic\n";
    assert_int_equal(end_failed(&vm), 0);
    assert_int_equal(calls_count("vm_console", "class=arm id=microvm-1 name=" VM), 1);
    assert_int_equal(lines_kept("job=0 vm=" VM " what=console detail=Booting\nKernel panic"), 1);
    assert_int_equal(lines_kept(NULL), 1);
}

static void long_console_takes_several_lines_of_the_timeline(void **state)
{
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    char text[6000];
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        text[i] = i % 80 == 79 ? '\n' : (char)('a' + i / 80 % 26);
    }
    text[sizeof text - 1] = '\0';
    scripted_vms.console = text;
    assert_int_equal(end_failed(&vm), 0);
    assert_in_range(lines_kept("what=console"), 4096 / 320, 4096 / 320 + 6);
}

static void vm_without_a_console_says_so_in_its_timeline(void **state)
{
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    (void)state;
    assert_int_equal(end_failed(&vm), 0);
    assert_int_equal(lines_kept("what=console detail=none: no console"), 1);
    assert_int_equal(row_state(), VM_GONE);
}

/* The end of a VM of this host is known, whoever terminates its row; of a good one nothing is kept. */
static void end_of_a_vm_of_this_host_decides_whether_its_console_is_kept(void **state)
{
    static const struct {
        const char *reason;
        size_t kept;
    } cases[] = {{"job-done", 0}, {"died: qemu was killed by signal 9", 1}};
    (void)state;
    scripted_vms.console = "panic";
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ledger_vm vm = row(VM_ENDING, "id-x");
        assert_true(slice_to_cstr(SLICE("metal"), vm.class_name, sizeof vm.class_name));
        assert_true(slice_to_cstr(slice_of(fleet_host(script.fleet)), vm.host, sizeof vm.host));
        scripted_vms.count = 0;
        struct vm_info *info = scripted_vms_add("metal", "x", VM_RUN_ENDED);
        (void)snprintf(info->reason, sizeof info->reason, "%s", cases[i].reason);
        assert_int_equal(terminate_vm(&vm, false), 0);
        assert_int_equal(lines_kept("detail=panic"), cases[i].kept);
    }
}

static void console_that_cannot_be_written_keeps_no_slot(void **state)
{
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    (void)state;
    scripted_vms.console = "panic";
    calls_plan(&(struct call_plan){.function = "ledger_log_event", .fails = ERR_RETRY});
    assert_int_equal(end_failed(&vm), 0);
    assert_int_equal(row_state(), VM_GONE);
}

static void consoles_of_many_failures_are_bounded_a_minute(void **state)
{
    (void)state;
    scripted_vms.console = "panic";
    for (int i = 0; i < 40; i++) {
        struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
        assert_int_equal(end_failed(&vm), 0);
    }
    assert_int_equal(calls_count("vm_console", NULL), 30);
    script.now_ms += 60000;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    assert_int_equal(end_failed(&vm), 0);
    assert_int_equal(calls_count("vm_console", NULL), 31);
}

#define WITH_FLEET(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FLEET(console_of_a_failed_vm_goes_into_its_timeline),
        WITH_FLEET(long_console_takes_several_lines_of_the_timeline),
        WITH_FLEET(vm_without_a_console_says_so_in_its_timeline),
        WITH_FLEET(end_of_a_vm_of_this_host_decides_whether_its_console_is_kept),
        WITH_FLEET(console_that_cannot_be_written_keeps_no_slot),
        WITH_FLEET(consoles_of_many_failures_are_bounded_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a VM's supervisor notices of its QEMU: errors of the disk, and pauses. Of the stand-in only. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/conformance/vm_suite.h"

/* Reads the notices of vm-1 until there is one of that event. */
struct awaited {
    const char *event;
    char text[256];
};

static void await_event(void *arg, const struct vm_notice *n)
{
    struct awaited *a = arg;
    if (n->event != NULL && strcmp(n->event, a->event) == 0) {
        (void)snprintf(a->text, sizeof a->text, "%s", n->text);
    }
}

static void must_report(struct vm_fixture *f, const char *event, const char *text)
{
    struct awaited a = {.event = event};
    int64_t deadline_ms = clock_mono_ms() + 60000;
    while (a.text[0] == '\0') {
        assert_true(clock_mono_ms() < deadline_ms);
        vm_notices(f->p, await_event, &a);
        clock_sleep_until(clock_mono_ms() + 5);
    }
    assert_memory_equal(a.text, text, strlen(text));
}

static void vm_paused_by_its_disk_is_resumed(void **state)
{
    struct vm_fixture *f = *state;
    vm_fixture_faults(f, "io-pause! 1\n");
    must_run(f, "vm-1");
    must_report(f, "resumed", "after ");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

static void error_of_the_disk_is_reported(void **state)
{
    struct vm_fixture *f = *state;
    vm_fixture_faults(f, "io-error! 1\n");
    must_run(f, "vm-1");
    must_report(f, "io_error", "write: No space left on device");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

static void vm_that_qemu_cannot_run_any_more_is_ended(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    vm_fixture_faults(f, "broken-pause! 1\n");
    must_run(f, "vm-1");
    struct vm_info info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_memory_equal(info.reason, "paused: QEMU cannot run it any more", 35);
    MUST(vm_forget(f->p, "vm-1", &e));
}

#define ON_FIXTURE(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, vm_fixture_setup, vm_fixture_teardown)

const struct CMUnitTest vm_tests_events[] = {
    ON_FIXTURE(vm_paused_by_its_disk_is_resumed),
    ON_FIXTURE(error_of_the_disk_is_reported),
    ON_FIXTURE(vm_that_qemu_cannot_run_any_more_is_ended),
};
const size_t vm_tests_events_count = COUNT_OF(vm_tests_events);

/* What a VM's supervisor notices of its QEMU: errors of the disk, and pauses; and room on a host that is
 * kept for a launch before it has a VM. Of the stand-in only. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/conformance/vm_suite.h"

/* Reads the notices of vm-1 until there is one of that event. */
struct awaited {
    const char *event;
    bool came;
    char text[256];
};

static void await_event(void *arg, const struct vm_notice *n)
{
    struct awaited *a = arg;
    if (n->event != NULL && strcmp(n->event, a->event) == 0) {
        a->came = true;
        (void)snprintf(a->text, sizeof a->text, "%s", n->text);
    }
}

void vm_must_report(struct vm_fixture *f, const char *event, const char *text)
{
    struct awaited a = {.event = event};
    int64_t deadline_ms = clock_mono_ms() + 60000;
    while (!a.came) {
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
    vm_must_report(f, "resumed", "after ");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

static void error_of_the_disk_is_reported(void **state)
{
    struct vm_fixture *f = *state;
    vm_fixture_faults(f, "io-error! 1\n");
    must_run(f, "vm-1");
    vm_must_report(f, "io_error", "write: No space left on device");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

struct dropped {
    int64_t console, status;
};

static void add_dropped(void *arg, const struct vm_notice *n)
{
    struct dropped *d = arg;
    if (n->event != NULL && strcmp(n->event, "console_dropped") == 0) {
        d->console += n->count;
    } else if (n->event != NULL && strcmp(n->event, "status_dropped") == 0) {
        d->status += n->count;
    }
}

/* Of 128 KiB to each, 64 KiB of status lines are kept, and 4 to 8 KiB of the console. */
static void must_count_what_was_dropped(struct vm_fixture *f)
{
    struct dropped d = {0, 0};
    int64_t deadline_ms = clock_mono_ms() + 60000;
    while (d.status < 65536 || d.console < 122880) {
        assert_true(clock_mono_ms() < deadline_ms);
        vm_notices(f->p, add_dropped, &d);
        clock_sleep_until(clock_mono_ms() + 5);
    }
    assert_true(d.status <= 131072 && d.console <= 131072);
}

/* What a job prints, as root on the status port too, neither ends its VM nor says how it ended. */
static void false_end_of_a_job_neither_ends_nor_labels_its_vm(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    f->settings.max_console_size_bytes = 8192;
    vm_fixture_open(f);
    vm_fixture_faults(f, "false-end 1\n");
    must_run(f, "vm-1");
    must_count_what_was_dropped(f);
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    MUST(vm_terminate(f->p, "vm-1", 0, &e));
    assert_string_equal(must_describe(f, "vm-1").reason, "terminated");
    MUST(vm_forget(f->p, "vm-1", &e));
    must_run(f, "vm-1");
    assert_int_equal(kill(vm_pid(f, "vm-1", "qemu"), SIGKILL), 0);
    assert_string_equal(must_reach(f, "vm-1", VM_RUN_ENDED).reason,
                        "died: qemu was killed by signal 9");
    MUST(vm_forget(f->p, "vm-1", &e));
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

/* --- room ------------------------------------------------------------------------------------ */

void vm_leave_room_for_two(struct vm_fixture *f)
{
    struct statvfs fs;
    assert_int_equal(statvfs(f->store.dir, &fs), 0);
    int64_t unused = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    f->settings.disk_size_bytes = unused / 8;
    f->settings.reserved_disk_bytes = unused - f->settings.disk_size_bytes * 5 / 2;
    vm_fixture_open(f);
}

/* --- children -------------------------------------------------------------------------------- */

/* Arguments: image, binary, state directory, deployment, accel, memory, disk, max duration, payload. */
int vm_child_open(int argc, char **argv, struct vm_provider **out)
{
    struct err e;
    int64_t memory;
    int64_t disk;
    if (argc != 9 || !slice_to_int64(slice_of(argv[5]), &memory) ||
        !slice_to_int64(slice_of(argv[6]), &disk)) {
        return 2;
    }
    static char small[] = "small";
    static char qemu[] = "qemu";
    static char internet[] = "internet";
    static char none[] = "";
    static struct qemu_settings settings;
    settings = (struct qemu_settings){.image = argv[0],
                                      .binary = argv[1],
                                      .accel = argv[4],
                                      .cpus = 1,
                                      .memory_bytes = memory,
                                      .disk_size_bytes = disk,
                                      .memory_overcommit = 1,
                                      .disk_overcommit = 1,
                                      .restore = true,
                                      .network = internet,
                                      .max_console_size_bytes = 65536,
                                      .boot_timeout_ms = 60000};
    static struct config_class class;
    class = (struct config_class){.name = small,
                                  .state_dir = argv[2],
                                  .provider = qemu,
                                  .runner_group = none,
                                  .proxy = {none, none, none},
                                  .settings = &settings};
    if (vm_open(&class, argv[3], out, &e) != 0) {
        (void)printf("open: %s\n", e.message);
        return 1;
    }
    return 0;
}

void vm_child_spawn(const struct vm_fixture *f, const char *name, const char *max_duration_ms,
                    struct conformance_process *child)
{
    char memory[32];
    char disk[32];
    (void)snprintf(memory, sizeof memory, "%lld", (long long)f->settings.memory_bytes);
    (void)snprintf(disk, sizeof disk, "%lld", (long long)f->settings.disk_size_bytes);
    const char *const args[] = {f->image,          f->binary, f->state_dir, f->deployment,
                                f->settings.accel, memory,    disk,         max_duration_ms,
                                f->payload.data,   NULL};
    conformance_spawn(child, name, f->store.url, args);
}

int vm_child_room(const char *url, int argc, char **argv)
{
    struct vm_provider *p;
    struct err e;
    (void)url;
    if (vm_child_open(argc, argv, &p) != 0) {
        return 1;
    }
    (void)printf("%s\n", vm_room(p, &e) == 0 ? "room" : e.message);
    (void)fflush(stdout);
    for (;;) {
        (void)pause();
    }
}

/* --- the tests ------------------------------------------------------------------------------- */

static void must_be_full(struct vm_fixture *f)
{
    struct err e;
    assert_int_equal(vm_room(f->p, &e), -1);
    assert_int_equal(e.class, ERR_CAPACITY);
    assert_int_equal(e.code, ENOSPC);
}

/* Launches that were given room, and have not run yet, leave none to others. */
static void room_is_kept_until_its_run_or_its_release(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    vm_leave_room_for_two(f);
    MUST(vm_room(f->p, &e));
    MUST(vm_room(f->p, &e));
    must_be_full(f);
    must_run(f, "vm-1");
    must_be_full(f);
    vm_room_release(f->p);
    MUST(vm_room(f->p, &e));
    vm_room_release(f->p);
    must_end(f, "vm-1");
}

static void must_list_no_vm(struct vm_fixture *f)
{
    struct vm_info *list;
    size_t n;
    struct err e;
    MUST(vm_list(f->p, &list, &n, &e));
    assert_int_equal(n, 0);
    free(list);
}

/* Whichever process of the host has it, and only as long as that lives. */
static void room_of_another_process_counts_until_that_is_killed(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    struct conformance_process other;
    vm_leave_room_for_two(f);
    vm_child_spawn(f, "room", "1000", &other);
    assert_true(conformance_read_line(&other));
    assert_string_equal(other.line, "room");
    must_list_no_vm(f);
    MUST(vm_room(f->p, &e));
    must_be_full(f);
    assert_int_equal(kill(other.pid, SIGKILL), 0);
    assert_int_equal(conformance_wait(&other), -SIGKILL);
    MUST(vm_room(f->p, &e));
    must_be_full(f);
    vm_room_release(f->p);
    vm_room_release(f->p);
}

#define ON_FIXTURE(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, vm_fixture_setup, vm_fixture_teardown)

const struct CMUnitTest vm_tests_events[] = {
    ON_FIXTURE(false_end_of_a_job_neither_ends_nor_labels_its_vm),
    ON_FIXTURE(vm_paused_by_its_disk_is_resumed),
    ON_FIXTURE(error_of_the_disk_is_reported),
    ON_FIXTURE(vm_that_qemu_cannot_run_any_more_is_ended),
};
const size_t vm_tests_events_count = COUNT_OF(vm_tests_events);

const struct CMUnitTest vm_tests_room[] = {
    ON_FIXTURE(room_is_kept_until_its_run_or_its_release),
    ON_FIXTURE(room_of_another_process_counts_until_that_is_killed),
};
const size_t vm_tests_room_count = COUNT_OF(vm_tests_room);

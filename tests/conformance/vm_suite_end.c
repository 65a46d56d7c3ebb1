/*
 * Conformance of a vm provider: how VMs end, and who needs to live for that.
 */
#include "tests/conformance/vm_suite.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"

static void terminate_with_grace_asks_the_agent(void **state)
{
    struct vm_fixture *f = *state;
    char path[2048];
    struct buf said;
    struct err e;
    must_run(f, "vm-1");
    pid_t supervisor = vm_pid(f, "vm-1", "supervisor");
    MUST(vm_terminate(f->p, "vm-1", 30000, &e));
    assert_false(process_is_there(supervisor));
    struct vm_info info = must_describe(f, "vm-1");
    assert_int_equal(info.state, VM_RUN_ENDED);
    assert_string_equal(info.reason, "terminated");
    buf_init(&said, 65536);
    vm_file(f, "vm-1", "status", path);
    read_whole(path, &said);
    assert_non_null(strstr(said.data, " terminated\n"));
    vm_file(f, "vm-1", "run", path);
    assert_int_not_equal(access(path, F_OK), 0);
    buf_fini(&said);
    MUST(vm_terminate(f->p, "vm-1", 30000, &e));
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void terminate_without_grace_ends_at_once(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    MUST(vm_terminate(f->p, "vm-1", 0, &e));
    assert_false(process_is_there(qemu));
    assert_string_equal(must_describe(f, "vm-1").reason, "terminated");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void end_of_what_is_not_there_is_success(void **state)
{
    struct vm_fixture *f = *state;
    struct vm_info info;
    struct buf console;
    struct err e;
    static const char *const ids[] = {"vm-9", "../small", "a/b", "..", "."};
    buf_init(&console, 100);
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        MUST(vm_terminate(f->p, ids[i], 1000, &e));
        MUST(vm_forget(f->p, ids[i], &e));
        must_fail(vm_describe(f->p, ids[i], &info, &e), &e, ERR_NOT_FOUND);
        must_fail(vm_console(f->p, ids[i], ids[i], 100, &console, &e), &e, ERR_NOT_FOUND);
    }
    buf_fini(&console);
}

static void vm_whose_id_is_unknown_is_not_one_that_does_not_exist(void **state)
{
    struct vm_fixture *f = *state;
    struct vm_info info;
    struct buf console;
    struct err e;
    buf_init(&console, 100);
    must_fail(vm_terminate(f->p, "", 1000, &e), &e, ERR_PERMANENT);
    must_fail(vm_forget(f->p, "", &e), &e, ERR_PERMANENT);
    must_fail(vm_describe(f->p, "", &info, &e), &e, ERR_PERMANENT);
    must_fail(vm_console(f->p, "", "vm-1", 100, &console, &e), &e, ERR_PERMANENT);
    buf_fini(&console);
}

/* A VM that cannot be read is no VM that ended: without it the list would be a shorter one. */
static void list_with_a_vm_that_cannot_be_read_is_an_error(void **state)
{
    struct vm_fixture *f = *state;
    char path[2048];
    char aside[2048 + 8];
    struct vm_info *list;
    struct vm_info info;
    size_t n;
    struct err e;
    must_run(f, "vm-1");
    vm_file(f, "vm-1", "process.json", path);
    (void)snprintf(aside, sizeof aside, "%s.aside", path);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    must_fail(vm_describe(f->p, "vm-1", &info, &e), &e, ERR_RETRY);
    must_fail(vm_list(f->p, &list, &n, &e), &e, ERR_RETRY);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(aside, path), 0);
    MUST(vm_list(f->p, &list, &n, &e));
    assert_int_equal(n, 1);
    free(list);
    must_end(f, "vm-1");
}

static void forget_of_a_running_vm_is_refused(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    must_fail(vm_forget(f->p, "vm-1", &e), &e, ERR_CONFLICT);
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

/* --- without those who launched it ---------------------------------------------------------- */

int vm_child_launch(const char *url, int argc, char **argv)
{
    struct vm_provider *p;
    struct err e;
    char id[VM_ID_MAX + 1];
    int64_t duration;
    (void)url;
    if (vm_child_open(argc, argv, &p) != 0 || !slice_to_int64(slice_of(argv[7]), &duration)) {
        return 1;
    }
    struct vm_spec spec = {.name = "vm-1",
                           .client_token = "token-1",
                           .payload = slice_of(argv[8]),
                           .max_duration_ms = duration};
    (void)printf("launching\n");
    (void)fflush(stdout);
    int rc = vm_run(p, &spec, id, &e);
    (void)printf("%s\n", rc == 0 ? id : e.message);
    (void)fflush(stdout);
    for (;;) {
        (void)pause();
    }
}

static void spawn_launcher(const struct vm_fixture *f, const char *max_duration_ms,
                           struct conformance_process *child)
{
    vm_child_spawn(f, "launch", max_duration_ms, child);
    assert_true(conformance_read_line(child));
    assert_string_equal(child->line, "launching");
}

static void launch_and_kill_launcher(const struct vm_fixture *f, const char *max_duration_ms)
{
    struct conformance_process child;
    spawn_launcher(f, max_duration_ms, &child);
    assert_true(conformance_read_line(&child));
    assert_string_equal(child.line, "vm-1");
    assert_int_equal(kill(child.pid, SIGKILL), 0);
    assert_int_equal(conformance_wait(&child), -SIGKILL);
}

static void launcher_killed_vm_lives_on(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    launch_and_kill_launcher(f, "600000");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    assert_true(process_is_there(vm_pid(f, "vm-1", "qemu")));
    MUST(vm_terminate(f->p, "vm-1", 30000, &e));
    assert_string_equal(must_describe(f, "vm-1").reason, "terminated");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void max_duration_is_kept_without_any_of_us(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    /* Long enough for the launch to be over, short enough to wait for. */
    launch_and_kill_launcher(f, "4000");
    struct vm_info info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_string_equal(info.reason, "max-duration");
    assert_true(info.ended_ms - info.started_ms >= 3900);
    MUST(vm_forget(f->p, "vm-1", &e));
}

/* The child of the VM's supervisor that is its gateway; 0 if there is none. */
static pid_t gateway_pid(const struct vm_fixture *f)
{
    char path[64];
    char wanted[64];
    struct buf text;
    const struct dirent *entry;
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    (void)snprintf(wanted, sizeof wanted, "(mayfly-vm-net) S %d ",
                   (int)vm_pid(f, "vm-1", "supervisor"));
    buf_init(&text, 65536);
    while (found == 0 && (entry = readdir(proc)) != NULL) {
        int64_t pid;
        if (slice_to_int64(slice_of(entry->d_name), &pid)) {
            (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
            read_whole(path, &text);
            found = text.len > 0 && strstr(text.data, wanted) != NULL ? (pid_t)pid : 0;
        }
    }
    closedir(proc);
    buf_fini(&text);
    return found;
}

static pid_t must_have_gateway(const struct vm_fixture *f)
{
    int64_t deadline_ms = clock_mono_ms() + 10000;
    pid_t pid = 0; /* it is found while it waits, which is nearly always */
    while ((pid = gateway_pid(f)) == 0 && clock_mono_ms() < deadline_ms) {
        clock_sleep_until(clock_mono_ms() + 5);
    }
    assert_true(pid > 0);
    return pid;
}

static void supervisor_killed_vm_has_vanished(void **state)
{
    struct vm_fixture *f = *state;
    struct vm_info *list;
    size_t n;
    struct err e;
    must_run(f, "vm-1");
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    pid_t gateway = must_have_gateway(f);
    assert_int_equal(kill(vm_pid(f, "vm-1", "supervisor"), SIGKILL), 0);
    struct vm_info info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_string_equal(info.reason, "vanished");
    MUST(vm_list(f->p, &list, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(list[0].state, VM_RUN_ENDED);
    free(list);
    must_die(qemu);
    must_die(gateway);
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void terminate_of_a_vanished_vm_cleans(void **state)
{
    struct vm_fixture *f = *state;
    char path[2048];
    struct err e;
    must_run(f, "vm-1");
    assert_int_equal(kill(vm_pid(f, "vm-1", "supervisor"), SIGKILL), 0);
    (void)must_reach(f, "vm-1", VM_RUN_ENDED);
    MUST(vm_terminate(f->p, "vm-1", 1000, &e));
    vm_file(f, "vm-1", "run", path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_string_equal(must_describe(f, "vm-1").reason, "vanished");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void qemu_killed_is_told_with_its_signal(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    assert_int_equal(kill(vm_pid(f, "vm-1", "qemu"), SIGKILL), 0);
    struct vm_info info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_string_equal(info.reason, "died: qemu was killed by signal 9");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void gateway_killed_ends_the_vm_with_that_reason(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    assert_int_equal(kill(must_have_gateway(f), SIGKILL), 0);
    struct vm_info info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_string_equal(info.reason, "network-gateway-ended (signal 9)");
    must_die(qemu);
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void qemu_killed_ends_its_gateway(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    pid_t gateway = must_have_gateway(f);
    assert_int_equal(kill(vm_pid(f, "vm-1", "qemu"), SIGKILL), 0);
    (void)must_reach(f, "vm-1", VM_RUN_ENDED);
    must_die(gateway);
    MUST(vm_forget(f->p, "vm-1", &e));
}

#define ON_FIXTURE(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, vm_fixture_setup, vm_fixture_teardown)

const struct CMUnitTest vm_tests_end[] = {
    ON_FIXTURE(gateway_killed_ends_the_vm_with_that_reason),
    ON_FIXTURE(qemu_killed_ends_its_gateway),
    ON_FIXTURE(terminate_with_grace_asks_the_agent),
    ON_FIXTURE(terminate_without_grace_ends_at_once),
    ON_FIXTURE(end_of_what_is_not_there_is_success),
    ON_FIXTURE(vm_whose_id_is_unknown_is_not_one_that_does_not_exist),
    ON_FIXTURE(list_with_a_vm_that_cannot_be_read_is_an_error),
    ON_FIXTURE(forget_of_a_running_vm_is_refused),
    ON_FIXTURE(launcher_killed_vm_lives_on),
    ON_FIXTURE(max_duration_is_kept_without_any_of_us),
    ON_FIXTURE(supervisor_killed_vm_has_vanished),
    ON_FIXTURE(terminate_of_a_vanished_vm_cleans),
    ON_FIXTURE(qemu_killed_is_told_with_its_signal),
};
const size_t vm_tests_end_count = COUNT_OF(vm_tests_end);

/* --- with faults, which only the stand-in knows --------------------------------------------- */

static void must_have_left_nothing(struct vm_fixture *f)
{
    struct vm_info info;
    struct err e;
    must_fail(vm_describe(f->p, "vm-1", &info, &e), &e, ERR_NOT_FOUND);
}

static void run_qemu_dies_at_start_is_told(void **state)
{
    struct vm_fixture *f = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    struct buf console;
    struct vm_spec spec = vm_fixture_spec(f, "vm-1");
    vm_fixture_faults(f, "die-at-start! 100\n");
    buf_init(&console, 4096);
    spec.console = &console;
    must_fail(vm_run(f->p, &spec, id, &e), &e, ERR_RETRY);
    assert_non_null(strstr(e.message, "died at the start"));
    assert_non_null(strstr(console.data, "died at the start"));
    buf_fini(&console);
    must_have_left_nothing(f);
}

static void run_image_never_ready_is_given_up(void **state)
{
    struct vm_fixture *f = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    struct vm_spec spec = vm_fixture_spec(f, "vm-1");
    f->settings.boot_timeout_ms = 500;
    vm_fixture_open(f);
    vm_fixture_faults(f, "no-ready\ndeaf\n");
    must_fail(vm_run(f->p, &spec, id, &e), &e, ERR_RETRY);
    must_have_left_nothing(f);
}

static void restore_failing_once_makes_the_machine_anew(void **state)
{
    struct vm_fixture *f = *state;
    vm_fixture_faults(f, "bad-restore! 1\n");
    must_run(f, "vm-1");
    must_have_started_by(f, "restore");
    must_end(f, "vm-1");
}

static void restore_failing_twice_boots(void **state)
{
    struct vm_fixture *f = *state;
    vm_fixture_faults(f, "bad-restore! 2\n");
    must_run(f, "vm-1");
    must_have_started_by(f, "boot");
    must_end(f, "vm-1");
    /* For a while it is not tried again, though it would work now. */
    must_run(f, "vm-1");
    must_have_started_by(f, "boot");
    must_end(f, "vm-1");
}

static void restore_of_another_machine_is_made_anew(void **state)
{
    struct vm_fixture *f = *state;
    must_run(f, "vm-1");
    must_end(f, "vm-1");
    f->settings.memory_bytes += 16 * MIB;
    vm_fixture_open(f);
    must_run(f, "vm-1");
    must_have_started_by(f, "restore");
    must_end(f, "vm-1");
}

static void terminate_of_a_hanging_vm_insists(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    vm_fixture_faults(f, "hang\n");
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    int64_t before_ms = clock_mono_ms();
    MUST(vm_terminate(f->p, "vm-1", 300, &e));
    assert_true(clock_mono_ms() - before_ms >= 300);
    assert_false(process_is_there(qemu));
    assert_string_equal(must_describe(f, "vm-1").reason, "terminated");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void *terminate_slowly(void *arg)
{
    struct vm_fixture *f = arg;
    struct err e;
    return vm_terminate(f->p, "vm-1", 60000, &e) == 0 ? f : NULL;
}

static void vm_that_was_asked_is_ending(void **state)
{
    struct vm_fixture *f = *state;
    pthread_t thread;
    void *ended;
    struct err e;
    must_run(f, "vm-1");
    vm_fixture_faults(f, "hang\n");
    assert_int_equal(pthread_create(&thread, NULL, terminate_slowly, f), 0);
    (void)must_reach(f, "vm-1", VM_RUN_ENDING);
    /* Who asks again may shorten the time that is left. */
    MUST(vm_terminate(f->p, "vm-1", 0, &e));
    assert_int_equal(pthread_join(thread, &ended), 0);
    assert_ptr_equal(ended, f);
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_ENDED);
    MUST(vm_forget(f->p, "vm-1", &e));
}

/* A supervisor that does not respond is killed, and its QEMU and gateway go with it. */
static void terminate_with_a_stopped_supervisor_ends_all(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    must_run(f, "vm-1");
    pid_t supervisor = vm_pid(f, "vm-1", "supervisor");
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    pid_t gateway = must_have_gateway(f);
    assert_int_equal(kill(supervisor, SIGSTOP), 0);
    MUST(vm_terminate(f->p, "vm-1", 100, &e));
    assert_false(process_is_there(supervisor) || process_is_there(qemu));
    must_die(gateway);
    assert_string_equal(must_describe(f, "vm-1").reason, "terminated");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void qemu_that_died_is_told_with_its_words(void **state)
{
    struct vm_fixture *f = *state;
    struct err e;
    vm_fixture_faults(f, "die-after-start! 1\n");
    must_run(f, "vm-1");
    struct vm_info info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_memory_equal(info.reason, "died: qemu failed (1)", 21);
    MUST(vm_forget(f->p, "vm-1", &e));
}

/* Until the counted fault has happened: the file is as expected. */
static void wait_for_fault(const struct vm_fixture *f, const char *expected)
{
    char path[1200];
    struct buf now;
    int64_t deadline_ms = clock_mono_ms() + 60000;
    (void)snprintf(path, sizeof path, "%s/faults", f->image);
    buf_init(&now, 4096);
    while (now.len == 0 || strcmp(now.data, expected) != 0) {
        assert_true(clock_mono_ms() < deadline_ms);
        clock_sleep_until(clock_mono_ms() + 5);
        read_whole(path, &now);
    }
    buf_fini(&now);
}

static void launcher_killed_halfway_leaves_room_for_another(void **state)
{
    struct vm_fixture *f = *state;
    struct conformance_process child;
    /* The first machine is saved now, so that the child is soon where it cannot go on. */
    must_run(f, "vm-1");
    must_end(f, "vm-1");
    vm_fixture_faults(f, "deaf! 1\n");
    spawn_launcher(f, "600000", &child);
    wait_for_fault(f, "deaf! 0\n");
    pid_t first = vm_pid(f, "vm-1", "qemu");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_PENDING);
    assert_int_equal(kill(child.pid, SIGKILL), 0);
    assert_int_equal(conformance_wait(&child), -SIGKILL);
    must_run(f, "vm-1");
    assert_false(process_is_there(first));
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

static int64_t size_of(const struct vm_fixture *f, const char *file)
{
    char path[2048];
    struct buf text;
    buf_init(&text, (size_t)16 << 20);
    vm_file(f, "vm-1", file, path);
    read_whole(path, &text);
    int64_t size = (int64_t)text.len;
    buf_fini(&text);
    return size;
}

static void console_keeps_its_newest_part_within_the_cap(void **state)
{
    struct vm_fixture *f = *state;
    struct buf console;
    struct err e;
    f->settings.max_console_size_bytes = 20000;
    vm_fixture_open(f);
    vm_fixture_faults(f, "chatter 300000\n");
    must_run(f, "vm-1");
    MUST(vm_terminate(f->p, "vm-1", 30000, &e));
    int64_t size = size_of(f, "console.log") + size_of(f, "console.log.1");
    assert_in_range(size, 10000, 20000);
    buf_init(&console, 20000);
    MUST(vm_console(f->p, "vm-1", "vm-1", 20000, &console, &e));
    assert_int_equal(console.len, size);
    assert_non_null(strstr(console.data, "console line 16370\n"));
    assert_null(strstr(console.data, "console line 100\n"));
    buf_fini(&console);
    MUST(vm_forget(f->p, "vm-1", &e));
}

const struct CMUnitTest vm_tests_faults[] = {
    ON_FIXTURE(run_qemu_dies_at_start_is_told),
    ON_FIXTURE(run_image_never_ready_is_given_up),
    ON_FIXTURE(restore_failing_once_makes_the_machine_anew),
    ON_FIXTURE(restore_failing_twice_boots),
    ON_FIXTURE(restore_of_another_machine_is_made_anew),
    ON_FIXTURE(terminate_of_a_hanging_vm_insists),
    ON_FIXTURE(vm_that_was_asked_is_ending),
    ON_FIXTURE(terminate_with_a_stopped_supervisor_ends_all),
    ON_FIXTURE(qemu_that_died_is_told_with_its_words),
    ON_FIXTURE(launcher_killed_halfway_leaves_room_for_another),
    ON_FIXTURE(console_keeps_its_newest_part_within_the_cap),
};
const size_t vm_tests_faults_count = COUNT_OF(vm_tests_faults);

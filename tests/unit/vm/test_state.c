/* What is written down about a VM: records, processes, the agent's lines, the order to a supervisor. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/qemu/launch.h"
#include "common/vm/qemu/state.h"
#include "tests/lib/cmocka.h"

static char dir[256];

static int make_dir(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-state-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void put(const char *name, const char *text)
{
    char path[512];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(fs_write_atomic(path, slice_of(text), 0644, &e), 0);
}

static void records_come_back_as_written(void **state)
{
    struct err e;
    struct qemu_vm_record vm = {.name = "vm-1",
                                .token = "t\"\\",
                                .image = "demo 7",
                                .mode = "restore",
                                .accel = "tcg",
                                .started_ms = 1795201632087};
    struct qemu_process_record process = {
        .supervisor = {12, 34, "boot"}, .qemu = {56, 78, "boot"}, .cgroup = "/sys/fs/cgroup/x"};
    struct qemu_exit_record end = {.ended_ms = 99, .status = 9, .reason = "job-done"};
    struct qemu_vm_record vm2;
    struct qemu_process_record process2;
    struct qemu_exit_record end2;
    assert_int_equal(qemu_vm_record_write(dir, &vm, &e), 0);
    assert_int_equal(qemu_process_record_write(dir, &process, &e), 0);
    assert_int_equal(qemu_exit_record_write(dir, &end, &e), 0);
    assert_int_equal(qemu_vm_record_read(dir, &vm2, &e), 0);
    assert_int_equal(qemu_process_record_read(dir, &process2, &e), 0);
    assert_int_equal(qemu_exit_record_read(dir, &end2, &e), 0);
    assert_string_equal(vm2.token, "t\"\\");
    assert_string_equal(vm2.mode, "restore");
    assert_int_equal(vm2.started_ms, vm.started_ms);
    assert_int_equal(process2.qemu.pid, 56);
    assert_int_equal(process2.supervisor.start_ticks, 34);
    assert_string_equal(process2.cgroup, "/sys/fs/cgroup/x");
    assert_int_equal(end2.status, 9);
    assert_string_equal(end2.reason, "job-done");
}

static void records_missing_or_damaged_are_errors(void **state)
{
    static const char *const bad[] = {
        "", "{", "[]", "{}", "{\"version\":2}", "{\"version\":\"1\"}", "{\"version\":1} x"};
    struct qemu_vm_record vm;
    struct qemu_launch launch;
    struct err e;
    assert_int_equal(qemu_vm_record_read(dir, &vm, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        put("vm.json", bad[i]);
        put("launch.json", bad[i]);
        assert_int_equal(qemu_vm_record_read(dir, &vm, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_int_equal(qemu_launch_read(dir, &launch, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
    }
    put("process.json",
        "{\"version\":1,\"supervisor\":{\"pid\":-5},\"qemu\":{\"pid\":99999999999}}");
    struct qemu_process_record process;
    assert_int_equal(qemu_process_record_read(dir, &process, &e), 0);
    assert_int_equal(process.supervisor.pid, 0);
    assert_int_equal(process.qemu.pid, 0);
}

static void launch_comes_back_as_written(void **state)
{
    char one[] = "/bin/true";
    char two[] = "-append=a b \"c\"";
    char *argv[] = {one, two, NULL};
    char mode[] = "mode=internet";
    char *gateway[] = {one, mode, NULL};
    char file[] = "/image/kernel";
    char *files[] = {file, NULL};
    char cgroup[] = "mayfly-vm-1";
    struct qemu_launch launch = {.argv = argv,
                                 .gateway = gateway,
                                 .files = files,
                                 .cgroup = cgroup,
                                 .console_limit_bytes = 1,
                                 .max_duration_ms = INT64_C(1) << 40,
                                 .start_ms = 3,
                                 .cpus = 4,
                                 .memory_limit_bytes = 5,
                                 .address_limit_bytes = 6,
                                 .file_limit_bytes = 7,
                                 .confine = true,
                                 .keep_run = true};
    struct qemu_launch back;
    struct err e;
    assert_int_equal(qemu_launch_write(dir, &launch, &e), 0);
    assert_int_equal(qemu_launch_read(dir, &back, &e), 0);
    assert_string_equal(back.argv[1], two);
    assert_null(back.argv[2]);
    assert_string_equal(back.gateway[1], mode);
    assert_null(back.gateway[2]);
    assert_string_equal(back.files[0], file);
    assert_null(back.files[1]);
    assert_string_equal(back.cgroup, cgroup);
    assert_int_equal(back.max_duration_ms, INT64_C(1) << 40);
    assert_int_equal(back.file_limit_bytes, 7);
    assert_true(back.confine);
    assert_true(back.keep_run);
    qemu_launch_fini(&back);
    qemu_launch_fini(&back);
}

static void agent_lines_are_understood(void **state)
{
    struct qemu_agent_status said;
    qemu_agent_status_parse(SLICE(""), &said);
    assert_false(said.ready || said.started || said.exited);
    qemu_agent_status_parse(SLICE("READY 0.1.0\n"), &said);
    assert_true(said.ready && !said.started);
    qemu_agent_status_parse(SLICE("READY 0.1.0\r\nSTARTED\nLISTENING\nJOB\nEXIT 0 job-done\n"),
                            &said);
    assert_true(said.started && said.exited);
    assert_string_equal(said.reason, "job-done");
    /* A line that is still being written says nothing yet. */
    qemu_agent_status_parse(SLICE("STARTED\nEXIT 0 job-do"), &said);
    assert_false(said.exited);
    /* The last word counts. */
    qemu_agent_status_parse(SLICE("EXIT 1 runner-failed\nEXIT 0 terminated\n"), &said);
    assert_string_equal(said.reason, "terminated");
    qemu_agent_status_parse(SLICE("EXIT 1 evil\x1b[2J\xff\n"), &said);
    assert_string_equal(said.reason, "evil?[2J?");
    qemu_agent_status_parse(SLICE("EXIT 7\n"), &said);
    assert_true(said.exited);
    assert_string_equal(said.reason, "");
}

static void agent_reason_too_long_is_cut(void **state)
{
    char line[400] = "EXIT 0 ";
    struct qemu_agent_status said;
    memset(line + 7, 'r', sizeof line - 8);
    line[sizeof line - 1] = '\n';
    qemu_agent_status_parse((struct slice){line, sizeof line}, &said);
    assert_int_equal(strlen(said.reason), sizeof said.reason - 1);
}

static void process_is_told_by_pid_start_and_boot(void **state)
{
    struct proc_id me;
    struct proc_id other;
    assert_true(proc_id_of(getpid(), &me));
    assert_true(proc_id_alive(&me));
    other = me;
    other.start_ticks--;
    assert_false(proc_id_alive(&other));
    assert_int_equal(proc_id_open(&other), -1);
    other = me;
    other.boot[0] = other.boot[0] == 'f' ? 'e' : 'f';
    assert_false(proc_id_alive(&other));
    assert_false(proc_id_of(0, &other));
    assert_int_equal(proc_id_open(&(struct proc_id){.pid = 0}), -1);
}

static void process_that_ended_is_not_alive_even_unwaited_for(void **state)
{
    struct proc_id id;
    siginfo_t info;
    pid_t pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    assert_true(proc_id_of(pid, &id));
    int fd = proc_id_open(&id);
    assert_true(fd >= 0);
    assert_false(proc_wait(fd, clock_mono_ms()));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(proc_wait(fd, clock_mono_ms() + 60000));
    close(fd);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(proc_id_alive(&id));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(proc_id_alive(&id));
}

static void stop_of_what_does_not_run_is_success(void **state)
{
    struct err e;
    assert_int_equal(qemu_supervisor_stop(dir, 0, &e), 0);
    /* Another process has the pid by now. */
    struct qemu_process_record process = {.supervisor = {.pid = getpid(), .start_ticks = 1},
                                          .qemu = {.pid = getppid(), .start_ticks = 1}};
    assert_int_equal(qemu_process_record_write(dir, &process, &e), 0);
    assert_int_equal(qemu_supervisor_stop(dir, 0, &e), 0);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(records_come_back_as_written),
        IN_DIR(records_missing_or_damaged_are_errors),
        IN_DIR(launch_comes_back_as_written),
        cmocka_unit_test(agent_lines_are_understood),
        cmocka_unit_test(agent_reason_too_long_is_cut),
        cmocka_unit_test(process_is_told_by_pid_start_and_boot),
        cmocka_unit_test(process_that_ended_is_not_alive_even_unwaited_for),
        IN_DIR(stop_of_what_does_not_run_is_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

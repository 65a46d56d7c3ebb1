/*
 * Conformance of a vm provider: running, looking, what a VM may know and touch.
 */
#include "tests/conformance/vm_suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/launcher.h"

static void run_accepted_is_running_and_listed(void **state)
{
    struct vm_fixture *f = *state;
    struct vm_info *list;
    size_t n;
    struct err e;
    int64_t before_ms = clock_wall_ms();
    must_run(f, "vm-1");
    struct vm_info info = must_describe(f, "vm-1");
    assert_int_equal(info.state, VM_RUN_RUNNING);
    assert_string_equal(info.id, "vm-1");
    assert_string_equal(info.name, "vm-1");
    assert_true(info.started_ms >= before_ms && info.started_ms <= clock_wall_ms());
    assert_int_equal(info.ended_ms, 0);
    must_run(f, "vm-2");
    MUST(vm_list(f->p, &list, &n, &e));
    assert_int_equal(n, 2);
    assert_true(strcmp(list[0].id, list[1].id) != 0);
    free(list);
    must_end(f, "vm-1");
    must_end(f, "vm-2");
    MUST(vm_list(f->p, &list, &n, &e));
    assert_int_equal(n, 0);
    free(list);
}

static void run_job_done_ends_with_its_reason(void **state)
{
    struct vm_fixture *f = *state;
    struct buf console;
    struct vm_info info;
    struct err e;
    must_run(f, "vm-1");
    info = must_reach(f, "vm-1", VM_RUN_ENDED);
    assert_string_equal(info.reason, "job-done");
    assert_true(info.ended_ms >= info.started_ms);
    buf_init(&console, 65536);
    MUST(vm_console(f->p, "vm-1", "vm-1", 65536, &console, &e));
    assert_non_null(strstr(console.data, "Running job: 42"));
    buf_reset(&console);
    MUST(vm_console(f->p, "vm-1", "vm-1", 10, &console, &e));
    assert_int_equal(console.len, 10);
    buf_fini(&console);
    MUST(vm_forget(f->p, "vm-1", &e));
    must_fail(vm_describe(f->p, "vm-1", &info, &e), &e, ERR_NOT_FOUND);
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void run_again_with_its_token_is_the_same_vm(void **state)
{
    struct vm_fixture *f = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    must_run(f, "vm-1");
    pid_t first = vm_pid(f, "vm-1", "qemu");
    must_run(f, "vm-1");
    assert_int_equal(vm_pid(f, "vm-1", "qemu"), first);
    struct vm_spec other = vm_fixture_spec(f, "vm-1");
    other.client_token = "token-2";
    must_fail(vm_run(f->p, &other, id, &e), &e, ERR_CONFLICT);
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    MUST(vm_terminate(f->p, "vm-1", 0, &e));
    /* Ended and not forgotten: still the same VM, no second one. */
    must_run(f, "vm-1");
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_ENDED);
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void run_bad_spec_is_permanent(void **state)
{
    struct vm_fixture *f = *state;
    char id[VM_ID_MAX + 1] = "untouched";
    char long_name[80];
    struct err e;
    memset(long_name, 'a', sizeof long_name);
    long_name[65] = '\0';
    const char *const names[] = {"", "..", "a/b", "-a", "a b", "a.b", long_name};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct vm_spec spec = vm_fixture_spec(f, names[i]);
        must_fail(vm_run(f->p, &spec, id, &e), &e, ERR_PERMANENT);
    }
    struct vm_spec spec = vm_fixture_spec(f, "vm-1");
    spec.payload = (struct slice){"", 0};
    must_fail(vm_run(f->p, &spec, id, &e), &e, ERR_PERMANENT);
    spec = vm_fixture_spec(f, "vm-1");
    spec.max_duration_ms = 0;
    must_fail(vm_run(f->p, &spec, id, &e), &e, ERR_PERMANENT);
    assert_string_equal(id, "untouched");
}

static void run_payload_the_agent_refuses_leaves_nothing(void **state)
{
    struct vm_fixture *f = *state;
    char id[VM_ID_MAX + 1];
    struct vm_info info;
    struct err e;
    struct vm_spec spec = vm_fixture_spec(f, "vm-1");
    spec.payload = SLICE("bm90IGEgcGF5bG9hZA==");
    must_fail(vm_run(f->p, &spec, id, &e), &e, ERR_PERMANENT);
    must_fail(vm_describe(f->p, "vm-1", &info, &e), &e, ERR_NOT_FOUND);
}

/* Booting at its first use saves the machine; both ways must lead to a VM. */
static void run_without_restore_boots(void **state)
{
    struct vm_fixture *f = *state;
    f->settings.restore = false;
    vm_fixture_open(f);
    must_run(f, "vm-1");
    must_have_started_by(f, "boot");
    must_end(f, "vm-1");
}

/* --- what a VM may know --------------------------------------------------------------------- */

static bool holds(const char *path, const char *needle)
{
    struct buf text;
    buf_init(&text, (size_t)256 << 20);
    read_whole(path, &text);
    bool found = text.len > 0 && memmem(text.data, text.len, needle, strlen(needle)) != NULL;
    buf_fini(&text);
    return found;
}

static void assert_no_file_holds(const char *dir_path, const char *needle)
{
    char path[3072];
    const struct dirent *entry;
    DIR *dir = opendir(dir_path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_REG) {
            (void)snprintf(path, sizeof path, "%s/%s", dir_path, entry->d_name);
            assert_false(holds(path, needle));
        }
    }
    closedir(dir);
}

static void payload_is_on_no_disk_and_in_no_argv(void **state)
{
    struct vm_fixture *f = *state;
    char path[2048];
    char packed[41];
    assert_int_equal(setenv("MAYFLY_SUITE_TOKEN", f->secret, 1), 0);
    must_run(f, "vm-1");
    assert_int_equal(unsetenv("MAYFLY_SUITE_TOKEN"), 0);
    (void)snprintf(packed, sizeof packed, "%.40s", f->payload.data);
    const char *const roles[] = {"supervisor", "qemu"};
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        int pid = (int)vm_pid(f, "vm-1", roles[i]);
        (void)snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
        assert_true(holds(path, i == 0 ? "run" : "-nodefaults"));
        assert_false(holds(path, packed) || holds(path, f->secret));
        (void)snprintf(path, sizeof path, "/proc/%d/environ", pid);
        assert_false(holds(path, packed) || holds(path, f->secret));
        (void)snprintf(path, sizeof path, "/proc/%d/limits", pid);
        assert_true(i == 0 || holds(path, "Max core file size        0                    0"));
    }
    const char *const dirs[] = {NULL, "run"};
    for (size_t i = 0; i < COUNT_OF(dirs); i++) {
        vm_file(f, "vm-1", dirs[i], path);
        assert_no_file_holds(path, packed);
        assert_no_file_holds(path, f->secret);
    }
    must_end(f, "vm-1");
}

struct open_file {
    dev_t device;
    ino_t inode;
};

/* Regular files that a process has open for writing. */
static size_t writable_files(pid_t pid, struct open_file *out, size_t room)
{
    char path[512];
    struct buf info;
    size_t n = 0;
    const struct dirent *entry;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    buf_init(&info, 65536);
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        (void)snprintf(path, sizeof path, "/proc/%d/fdinfo/%s", (int)pid, entry->d_name);
        read_whole(path, &info);
        const char *flags = info.len > 0 ? strstr(info.data, "flags:") : NULL;
        assert_non_null(flags);
        if (flags != NULL && (strtoul(flags + 6, NULL, 8) & O_ACCMODE) != O_RDONLY) {
            assert_true(n < room);
            out[n++] = (struct open_file){st.st_dev, st.st_ino};
        }
    }
    buf_fini(&info);
    closedir(dir);
    return n;
}

static void two_vms_share_no_writable_file(void **state)
{
    struct vm_fixture *f = *state;
    struct open_file first[64];
    struct open_file second[64];
    must_run(f, "vm-1");
    must_run(f, "vm-2");
    size_t n1 = writable_files(vm_pid(f, "vm-1", "qemu"), first, COUNT_OF(first));
    size_t n2 = writable_files(vm_pid(f, "vm-2", "qemu"), second, COUNT_OF(second));
    assert_true(n1 >= 1 && n2 >= 1); /* the overlays */
    for (size_t i = 0; i < n1; i++) {
        for (size_t j = 0; j < n2; j++) {
            assert_false(first[i].device == second[j].device && first[i].inode == second[j].inode);
        }
    }
    must_end(f, "vm-1");
    must_end(f, "vm-2");
}

/* --- many, and far ------------------------------------------------------------------------- */

struct racer {
    struct vm_fixture *f;
    const char *name;
    int rc;
    struct err e;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    char id[VM_ID_MAX + 1];
    struct vm_spec spec = vm_fixture_spec(r->f, r->name);
    r->rc = vm_run(r->f->p, &spec, id, &r->e);
    return NULL;
}

static void run_racing_for_one_name_makes_one_vm(void **state)
{
    struct vm_fixture *f = *state;
    pthread_t threads[6];
    struct racer racers[6];
    int won = 0;
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        racers[i] = (struct racer){.f = f, .name = "vm-1"};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        won += racers[i].rc == 0;
        assert_true(racers[i].rc == 0 || racers[i].e.class == ERR_RETRY);
    }
    assert_true(won >= 1);
    assert_int_equal(must_describe(f, "vm-1").state, VM_RUN_RUNNING);
    must_end(f, "vm-1");
}

static void run_many_at_once_saves_the_machine_once(void **state)
{
    struct vm_fixture *f = *state;
    static const char *const names[] = {"vm-1", "vm-2", "vm-3", "vm-4", "vm-5", "vm-6", "vm-7"};
    pthread_t threads[COUNT_OF(names)];
    struct racer racers[COUNT_OF(names)];
    char path[1100];
    const struct dirent *entry;
    int machines = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        racers[i] = (struct racer){.f = f, .name = names[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        must_succeed(racers[i].rc, &racers[i].e, "vm_run");
    }
    (void)snprintf(path, sizeof path, "%s/saved", f->state_dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        machines += entry->d_type == DT_DIR && entry->d_name[0] != '.';
    }
    closedir(dir);
    assert_int_equal(machines, 1);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        must_end(f, names[i]);
    }
}

static void run_many_on_a_host_with_room_for_two_starts_two(void **state)
{
    struct vm_fixture *f = *state;
    static const char *const names[] = {"vm-1", "vm-2", "vm-3", "vm-4", "vm-5", "vm-6"};
    pthread_t threads[COUNT_OF(names)];
    struct racer racers[COUNT_OF(names)];
    struct err e;
    size_t started = 0;
    vm_leave_room_for_two(f);
    MUST(vm_room(f->p, &e));
    vm_room_release(f->p);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        racers[i] = (struct racer){.f = f, .name = names[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        started += racers[i].rc == 0;
        if (racers[i].rc != 0) {
            assert_int_equal(racers[i].e.class, ERR_CAPACITY);
            assert_memory_equal(racers[i].e.message, "host full: ", 11);
        }
    }
    assert_int_equal(started, 2);
    assert_int_equal(vm_room(f->p, &e), -1);
    assert_int_equal(e.class, ERR_CAPACITY);
    assert_int_equal(e.from, ERR_FROM_HOST);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (racers[i].rc == 0) {
            must_end(f, names[i]);
        }
    }
    MUST(vm_room(f->p, &e));
    vm_room_release(f->p);
}

/* The first file of that name in the directories of snapshots. */
static void find_saved(const struct vm_fixture *f, const char *name, char *out, size_t size)
{
    char path[1100];
    const struct dirent *entry;
    out[0] = '\0';
    (void)snprintf(path, sizeof path, "%s/saved", f->state_dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            (void)snprintf(out, size, "%s/%s/%s", path, entry->d_name, name);
        }
    }
    closedir(dir);
    assert_int_not_equal(out[0], '\0');
}

static void snapshot_that_was_changed_is_made_anew(void **state)
{
    struct vm_fixture *f = *state;
    char path[1600];
    char byte = 'X';
    must_run(f, "vm-1");
    must_end(f, "vm-1");
    find_saved(f, "disk.qcow2", path, sizeof path);
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, 500), 1);
    close(fd);
    must_run(f, "vm-1");
    must_have_started_by(f, "restore");
    must_end(f, "vm-1");
    vm_must_report(f, "snapshot_refused", path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 500), 1);
    assert_int_not_equal(byte, 'X');
    close(fd);
}

/* sockaddr_un holds 108 bytes; a state directory may be anywhere. */
static void run_in_a_deep_state_directory_works(void **state)
{
    struct vm_fixture *f = *state;
    char part[61];
    memset(part, 'd', sizeof part - 1);
    part[sizeof part - 1] = '\0';
    (void)snprintf(f->state_dir, sizeof f->state_dir, "%s/%s/%s/%s/%s", f->store.dir, part, part,
                   part, part);
    vm_fixture_open(f);
    must_run(f, "vm-1");
    struct err e;
    MUST(vm_terminate(f->p, "vm-1", 10000, &e));
    assert_string_equal(must_describe(f, "vm-1").reason, "terminated");
    MUST(vm_forget(f->p, "vm-1", &e));
}

static void assert_user(const struct vm_fixture *f, const char *of, const char *wanted)
{
    char path[64];
    struct buf text;
    buf_init(&text, 65536);
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)vm_pid(f, "vm-1", of));
    read_whole(path, &text);
    if (strstr(text.data, wanted) == NULL) {
        fail_msg("%s: \"%s\" is not in %s", of, wanted, text.data);
    }
    buf_fini(&text);
}

/* QEMU has the VM's user and its group alone; its supervisor uses files as the worker, and has no
 * rights besides. */
static void run_with_a_user_of_its_own_drops_the_rights(void **state)
{
    struct vm_fixture *f = *state;
    char path[2048];
    char text[128];
    struct stat st;
    struct id_range range;
    if (!vm_launcher_present()) {
        skip();
    }
    assert_true(id_range_parse(SLICE(SUITE_UIDS), &range));
    vm_fixture_open(f);
    must_run(f, "vm-1");
    (void)snprintf(path, sizeof path, "/proc/%d", (int)vm_pid(f, "vm-1", "qemu"));
    assert_int_equal(stat(path, &st), 0);
    unsigned id = st.st_uid;
    assert_true(id >= range.first && id <= range.last);
    (void)snprintf(text, sizeof text, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", id, id, id,
                   id, id, id, id, id);
    assert_user(f, "qemu", text);
    assert_user(f, "qemu", "NoNewPrivs:\t1");
    assert_user(f, "qemu", "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000");
    (void)snprintf(text, sizeof text, "Uid:\t%u\t%u\t%u\t%u\n", id, geteuid(), geteuid(),
                   geteuid());
    assert_user(f, "supervisor", text);
    assert_user(f, "supervisor", "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000");
    assert_user(f, "supervisor", "CapAmb:\t0000000000000000");
    vm_file(f, "vm-1", NULL, path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_uid == geteuid() && (st.st_mode & S_IRWXO) == 0);
    must_end(f, "vm-1");
}

#define ON_FIXTURE(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, vm_fixture_setup, vm_fixture_teardown)

const struct CMUnitTest vm_tests_run[] = {
    ON_FIXTURE(run_accepted_is_running_and_listed),
    cmocka_unit_test_setup_teardown(run_job_done_ends_with_its_reason, vm_fixture_setup_with_job,
                                    vm_fixture_teardown),
    ON_FIXTURE(run_again_with_its_token_is_the_same_vm),
    ON_FIXTURE(run_bad_spec_is_permanent),
    ON_FIXTURE(run_payload_the_agent_refuses_leaves_nothing),
    ON_FIXTURE(run_without_restore_boots),
    ON_FIXTURE(payload_is_on_no_disk_and_in_no_argv),
    ON_FIXTURE(two_vms_share_no_writable_file),
    ON_FIXTURE(run_racing_for_one_name_makes_one_vm),
};
const size_t vm_tests_run_count = COUNT_OF(vm_tests_run);

static const struct CMUnitTest fake_only[] = {
    ON_FIXTURE(run_many_at_once_saves_the_machine_once),
    ON_FIXTURE(run_many_on_a_host_with_room_for_two_starts_two),
    ON_FIXTURE(snapshot_that_was_changed_is_made_anew),
    ON_FIXTURE(run_in_a_deep_state_directory_works),
    ON_FIXTURE(run_with_a_user_of_its_own_drops_the_rights),
};

int main(int argc, char **argv)
{
    struct CMUnitTest tests[64];
    size_t n = 0;
    int rc = suite_start(argc, argv);
    if (rc >= 0) {
        return rc;
    }
    assert_true(vm_tests_run_count + vm_tests_end_count + vm_tests_faults_count +
                    vm_tests_users_count + vm_tests_probes_count + vm_tests_events_count +
                    vm_tests_room_count + COUNT_OF(fake_only) <=
                COUNT_OF(tests));
    memset(tests, 0, sizeof tests);
    memcpy(tests, vm_tests_run, sizeof vm_tests_run);
    n += vm_tests_run_count;
    memcpy(tests + n, vm_tests_end, vm_tests_end_count * sizeof *tests);
    n += vm_tests_end_count;
    if (suite_is_fake()) {
        memcpy(tests + n, fake_only, sizeof fake_only);
        n += COUNT_OF(fake_only);
        memcpy(tests + n, vm_tests_faults, vm_tests_faults_count * sizeof *tests);
        n += vm_tests_faults_count;
        memcpy(tests + n, vm_tests_users, vm_tests_users_count * sizeof *tests);
        n += vm_tests_users_count;
        memcpy(tests + n, vm_tests_probes, vm_tests_probes_count * sizeof *tests);
        n += vm_tests_probes_count;
        memcpy(tests + n, vm_tests_events, vm_tests_events_count * sizeof *tests);
        n += vm_tests_events_count;
        memcpy(tests + n, vm_tests_room, vm_tests_room_count * sizeof *tests);
        n += vm_tests_room_count;
    }
    /* cmocka's macro counts an array; here the count is known at run time. */
    return _cmocka_run_group_tests("vm", tests, n, NULL, suite_stop);
}

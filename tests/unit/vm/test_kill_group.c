/*
 * A supervisor that does not respond: the control group of its VM is killed, and no other, whatever
 * the record says that the VM's own user wrote. Needs root and a writable cgroup2 hierarchy.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/vm/qemu/launch.h"
#include "tests/lib/cmocka.h"

#define OTHER_USER ((uid_t)64970) /* whose record it is: its pids are not signalled */

struct vm {
    char dir[128];
    char cgroup[512];
    pid_t process; /* stands for its supervisor and QEMU; in the group */
    int listen_fd; /* nobody accepts */
    pthread_t thread;
    int rc;
    struct err e;
};

static char base[64];
static char mount_point[256];

static bool find_hierarchy(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    const struct mntent *m;
    bool found = false;
    while (mounts != NULL && !found && (m = getmntent(mounts)) != NULL) {
        found = strcmp(m->mnt_type, "cgroup2") == 0;
        (void)snprintf(mount_point, sizeof mount_point, "%s", m->mnt_dir);
    }
    if (mounts != NULL) {
        (void)endmntent(mounts);
    }
    return found;
}

static bool enter_group(const char *cgroup, pid_t pid)
{
    char path[600];
    char text[32];
    (void)snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int n = snprintf(text, sizeof text, "%d", (int)pid);
    bool good = fd >= 0 && write(fd, text, (size_t)n) == n;
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

static void listen_without_accepting(struct vm *vm)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.90s/control", vm->dir);
    vm->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(vm->listen_fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(vm->listen_fd, 8), 0);
}

/* False if this system has no such groups to make. */
static bool make_vm(struct vm *vm, int number)
{
    const char *unique = base + strlen(base) - 6;
    (void)snprintf(vm->dir, sizeof vm->dir, "%s/%s-%d", base, unique, number);
    (void)snprintf(vm->cgroup, sizeof vm->cgroup, "%s/mayfly-%s-%d", mount_point, unique, number);
    vm->process = fork();
    if (vm->process == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* when the test fails */
        (void)pause();
        _exit(0);
    }
    assert_int_equal(mkdir(vm->dir, 0755), 0);
    listen_without_accepting(vm);
    return (mkdir(vm->cgroup, 0755) == 0 || errno == EEXIST) &&
           enter_group(vm->cgroup, vm->process);
}

static void record_vm(const struct vm *vm, const char *cgroup)
{
    struct qemu_process_record record;
    char path[160];
    struct err e;
    memset(&record, 0, sizeof record);
    assert_true(proc_id_of(vm->process, &record.supervisor));
    (void)snprintf(record.cgroup, sizeof record.cgroup, "%s", cgroup);
    assert_int_equal(qemu_process_record_write(vm->dir, &record, &e), 0);
    (void)snprintf(path, sizeof path, "%s/process.json", vm->dir);
    assert_int_equal(chown(path, OTHER_USER, (gid_t)-1), 0);
}

/* As a supervisor of another process namespace: its number is nobody's here. */
static void record_out_of_sight(const struct vm *vm)
{
    struct qemu_process_record record;
    struct err e;
    memset(&record, 0, sizeof record);
    assert_true(proc_id_of(vm->process, &record.supervisor));
    record.supervisor.pid = INT_MAX;
    assert_int_equal(qemu_process_record_write(vm->dir, &record, &e), 0);
}

static void remove_vm(struct vm *vm)
{
    close(vm->listen_fd);
    (void)kill(vm->process, SIGKILL);
    (void)waitpid(vm->process, NULL, 0);
    (void)rmdir(vm->cgroup);
}

static void *stop_vm(void *arg)
{
    struct vm *vm = arg;
    vm->rc = qemu_supervisor_stop(vm->dir, 0, &vm->e);
    return NULL;
}

static void group_of_the_vm_is_killed_and_no_other(void **state)
{
    struct vm own = {.listen_fd = -1};
    struct vm lying = {.listen_fd = -1};
    struct vm linked = {.listen_fd = -1};
    struct vm hidden = {.listen_fd = -1};
    char link[160];
    if (geteuid() != 0 || !find_hierarchy()) {
        skip();
    }
    bool made = make_vm(&own, 1);
    made = make_vm(&lying, 2) && made;
    made = make_vm(&linked, 3) && made;
    made = make_vm(&hidden, 4) && made;
    if (made) {
        record_vm(&own, own.cgroup);
        record_vm(&lying, linked.cgroup); /* another VM's */
        (void)snprintf(link, sizeof link, "%s/mayfly-%s-3", base, base + strlen(base) - 6);
        assert_int_equal(symlink(lying.cgroup, link), 0);
        record_vm(&linked, link); /* its name, at a place of its own choice */
        record_out_of_sight(&hidden);
        struct vm *const all[] = {&own, &lying, &linked, &hidden};
        for (size_t i = 0; i < COUNT_OF(all); i++) {
            assert_int_equal(pthread_create(&all[i]->thread, NULL, stop_vm, all[i]), 0);
        }
        for (size_t i = 0; i < COUNT_OF(all); i++) {
            assert_int_equal(pthread_join(all[i]->thread, NULL), 0);
        }
        struct proc_id id;
        assert_int_equal(own.rc, 0);
        assert_false(proc_id_of(own.process, &id));
        assert_int_equal(lying.rc, -1);
        assert_non_null(strstr(lying.e.message, "may not kill it"));
        assert_true(proc_id_of(lying.process, &id));
        assert_int_equal(linked.rc, -1);
        assert_true(proc_id_of(linked.process, &id));
        assert_int_equal(hidden.rc, -1);
        assert_int_equal(hidden.e.class, ERR_RETRY);
        assert_non_null(strstr(hidden.e.message, "does not see its processes"));
    }
    remove_vm(&own);
    remove_vm(&lying);
    remove_vm(&linked);
    remove_vm(&hidden);
    if (!made) {
        skip();
    }
}

static int make_base(void **state)
{
    (void)snprintf(base, sizeof base, "/tmp/mayfly-test-kill-XXXXXX");
    return mkdtemp(base) == NULL ? -1 : 0;
}

static int remove_base(void **state)
{
    struct err e;
    return fs_remove_tree(base, &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(group_of_the_vm_is_killed_and_no_other, make_base,
                                        remove_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

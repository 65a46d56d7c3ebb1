/* Whether one more VM may start: the sum of what all may use, as records and processes say it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/vm/qemu/admission.h"
#include "common/vm/qemu/state.h"
#include "tests/lib/cmocka.h"

#define MIB ((int64_t)1 << 20)

static const struct qemu_admission exact = {
    .memory_overcommit = 1, .disk_overcommit = 1, .kept = {100 * MIB, 100 * MIB}};

/* 1000 MiB of each; two VMs, which use 50 of their 300 each. */
static struct qemu_host_use two_vms(void)
{
    return (struct qemu_host_use){.vms = 2,
                                  .most = {600 * MIB, 600 * MIB},
                                  .now = {100 * MIB, 100 * MIB},
                                  .free = {900 * MIB, 900 * MIB},
                                  .total = {1000 * MIB, 1000 * MIB}};
}

static int admit(const struct qemu_admission *a, const struct qemu_host_use *use,
                 int64_t memory_mib, int64_t disk_mib, struct err *e)
{
    const struct qemu_amount vm = {memory_mib * MIB, disk_mib * MIB};
    return qemu_admit(a, use, &vm, e);
}

static void what_vms_may_still_grow_is_reserved(void **state)
{
    const struct qemu_host_use use = two_vms();
    struct err e;
    assert_int_equal(admit(&exact, &use, 300, 300, &e), 0);
    assert_int_equal(admit(&exact, &use, 301, 300, &e), -1);
    assert_int_equal(e.class, ERR_CAPACITY);
    assert_int_equal(e.code, ENOMEM);
    assert_memory_equal(e.message, "host full: ", 11);
    assert_non_null(strstr(e.message, "the 2 VMs here 600 MiB, of 900 MiB for VMs"));
    assert_int_equal(admit(&exact, &use, 300, 301, &e), -1);
    assert_int_equal(e.class, ERR_CAPACITY);
    assert_int_equal(e.code, ENOSPC);
    assert_non_null(strstr(e.message, "of disk"));
}

/* What a VM uses leaves what it may still grow smaller, and what is free too. */
static void use_of_what_was_promised_changes_nothing(void **state)
{
    struct qemu_host_use use = two_vms();
    struct err e;
    use.now = (struct qemu_amount){550 * MIB, 550 * MIB};
    use.free = (struct qemu_amount){450 * MIB, 450 * MIB};
    assert_int_equal(admit(&exact, &use, 300, 300, &e), 0);
    assert_int_equal(admit(&exact, &use, 301, 300, &e), -1);
    assert_int_equal(admit(&exact, &use, 300, 301, &e), -1);
}

static void overcommit_promises_more_but_not_what_the_host_keeps(void **state)
{
    struct qemu_host_use use = two_vms();
    struct qemu_admission twice = exact;
    struct err e;
    twice.memory_overcommit = 2;
    assert_int_equal(admit(&twice, &use, 800, 300, &e), 0);
    assert_int_equal(admit(&twice, &use, 800, 301, &e), -1);
    twice.disk_overcommit = 1.5;
    assert_int_equal(qemu_admission_limit(&twice, &use).memory, 1800 * MIB);
    assert_int_equal(qemu_admission_limit(&twice, &use).disk, 1350 * MIB);
    assert_int_equal(admit(&twice, &use, 300, 750, &e), 0);
    assert_int_equal(admit(&twice, &use, 300, 751, &e), -1);
    use.now.disk = 600 * MIB;
    use.free.disk = 99 * MIB;
    assert_int_equal(admit(&twice, &use, 300, 1, &e), -1);
    assert_int_equal(e.class, ERR_CAPACITY);
}

/* Nothing becomes free by waiting: the class is wrong for this host. */
static void vm_larger_than_the_host_is_permanent(void **state)
{
    const struct qemu_host_use use = two_vms();
    struct err e;
    assert_int_equal(admit(&exact, &use, 901, 1, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(admit(&exact, &use, 1, 901, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
}

static void full_host_has_no_negative_room(void **state)
{
    const struct qemu_host_use use = {.total = {1000 * MIB, 1000 * MIB},
                                      .free = {10 * MIB, 10 * MIB}};
    struct err e;
    assert_int_equal(qemu_admission_limit(&exact, &use).memory, 0);
    assert_int_equal(admit(&exact, &use, 1, 1, &e), -1);
}

/* --- what is counted ------------------------------------------------------------------------ */

static char dir[256];

static int make_dir(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-admission-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void make_vm(const char *name, char *path, size_t size)
{
    struct err e;
    char run[512];
    const struct qemu_vm_record record = {.name = "vm", .most = {64 * MIB, 32 * MIB}};
    (void)snprintf(path, size, "%s/%s", dir, name);
    (void)snprintf(run, sizeof run, "%s/run", path);
    assert_int_equal(fs_mkdirs(run, 0755, &e), 0);
    assert_int_equal(qemu_vm_record_write(path, &record, &e), 0);
}

/* This process as the VM's. */
static void give_process(const char *path)
{
    struct err e;
    struct qemu_process_record process = {.cgroup = ""};
    assert_true(proc_id_of(getpid(), &process.supervisor));
    process.qemu = process.supervisor;
    assert_int_equal(qemu_process_record_write(path, &process, &e), 0);
}

static void vms_that_run_are_counted_in_every_class(void **state)
{
    struct qemu_host_use use;
    struct err e;
    char path[300];
    char overlay[400];
    static const char data[100000] = {1};
    make_vm("d.small/vm-1", path, sizeof path);
    give_process(path);
    (void)snprintf(overlay, sizeof overlay, "%s/run/overlay.qcow2", path);
    assert_int_equal(fs_write_atomic(overlay, (struct slice){data, sizeof data}, 0600, &e), 0);
    make_vm("other.large/vm-2", path, sizeof path);
    give_process(path);
    make_vm("saved/abc", path, sizeof path);
    give_process(path);
    make_vm("d.small/vm-3-ended", path, sizeof path);
    assert_int_equal(qemu_host_use(dir, &use, &e), 0);
    assert_int_equal(use.vms, 2);
    assert_int_equal(use.most.memory, 128 * MIB);
    assert_int_equal(use.most.disk, 64 * MIB);
    assert_true(use.now.disk >= (int64_t)sizeof data && use.now.disk < MIB);
    assert_true(use.now.memory > 0 && use.now.memory <= use.most.memory);
    assert_true(use.free.memory > 0 && use.total.memory > use.free.memory);
    assert_true(use.total.disk >= use.free.disk);
}

/* From the moment that its name is claimed. */
static void vm_that_starts_is_counted(void **state)
{
    struct qemu_host_use use;
    struct err e;
    char path[300];
    char lock[400];
    make_vm("d.small/vm-1", path, sizeof path);
    (void)snprintf(lock, sizeof lock, "%s/run", path);
    assert_int_equal(fs_remove_tree(lock, &e), 0);
    (void)snprintf(lock, sizeof lock, "%s/lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(qemu_host_use(dir, &use, &e), 0);
    assert_int_equal(use.vms, 0);
    assert_int_equal(
        fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}), 0);
    assert_int_equal(qemu_host_use(dir, &use, &e), 0);
    assert_int_equal(use.vms, 1);
    assert_int_equal(use.most.memory, 64 * MIB);
    assert_int_equal(use.now.memory, 0);
    close(fd);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_vms_may_still_grow_is_reserved),
        cmocka_unit_test(use_of_what_was_promised_changes_nothing),
        cmocka_unit_test(overcommit_promises_more_but_not_what_the_host_keeps),
        cmocka_unit_test(vm_larger_than_the_host_is_permanent),
        cmocka_unit_test(full_host_has_no_negative_room),
        IN_DIR(vms_that_run_are_counted_in_every_class),
        IN_DIR(vm_that_starts_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

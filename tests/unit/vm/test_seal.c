/* The seal of a snapshot: what was changed is refused, and what was found good is not read again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/vm/qemu/seal.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

static char dir[64];
static struct qemu_seal seal;

static const char *path_of(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    struct err e;
    MUST(fs_write_atomic(path_of(name), slice_of(text), 0600, &e));
}

static int make_snapshot(void **state)
{
    struct err e;
    char fresh[128];
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-seal-XXXXXX");
    assert_non_null(mkdtemp(dir));
    write_file("disk.qcow2", "a disk");
    write_file("state", "a state of the machine");
    write_file("overlay.new", "an overlay");
    MUST(qemu_seal_make(dir, "overlay.new", &e));
    (void)snprintf(fresh, sizeof fresh, "%s", path_of("overlay.new"));
    assert_int_equal(rename(fresh, path_of("overlay.qcow2")), 0);
    qemu_seal_init(&seal);
    return 0;
}

static int remove_snapshot(void **state)
{
    struct err e;
    qemu_seal_fini(&seal);
    return fs_remove_tree(dir, &e);
}

/* Changes a byte in place and puts the size and the time of the last change back, as far as it can. */
static void change_in_place(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    assert_int_equal(chmod(path_of(name), 0600), 0);
    int fd = open(path_of(name), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "A", 1, 0), 1);
    const struct timespec times[] = {st.st_atim, st.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    assert_int_equal(chmod(path_of(name), 0444), 0);
}

static void snapshot_as_it_was_saved_is_good_and_read_only(void **state)
{
    static const char *const names[] = {"disk.qcow2", "state", "overlay.qcow2", "SHA256SUMS"};
    struct stat st;
    struct err e;
    MUST(qemu_seal_check(&seal, dir, &e));
    MUST(qemu_seal_check(&seal, dir, &e));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(stat(path_of(names[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0444);
    }
}

/* Of `printf "a disk" | sha256sum` and so on. */
static void sums_are_those_of_sha256sum(void **state)
{
    struct buf sums;
    struct err e;
    buf_init(&sums, 4096);
    MUST(fs_read(path_of("SHA256SUMS"), &sums, &e));
    assert_string_equal(
        sums.data,
        "d614d695eb483126af8a5376433956a60f472ea41b5147893a461e1823006387  disk.qcow2\n"
        "30b7cae8f6ae109c16bef768c8901ea8761166519ec216e0cb0b775f933110cc  state\n"
        "477e3f7d93b797f24952ac1a05fd3cb109a88d799f9d7cdc203e9906a95d4501  overlay.qcow2\n");
    buf_fini(&sums);
}

static void file_that_was_changed_is_refused(void **state)
{
    static const char *const names[] = {"disk.qcow2", "state", "overlay.qcow2"};
    struct err e;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        MUST(qemu_seal_check(&seal, dir, &e));
        change_in_place(names[i]);
        must_fail_saying(qemu_seal_check(&seal, dir, &e), &e, ERR_RETRY, names[i]);
        assert_non_null(strstr(e.message, "is not what was saved: its SHA-256 is "));
        assert_non_null(strstr(e.message, "…, SHA256SUMS has "));
        assert_int_equal(remove_snapshot(state), 0);
        assert_int_equal(make_snapshot(state), 0);
    }
}

static void file_that_was_replaced_is_refused(void **state)
{
    struct err e;
    MUST(qemu_seal_check(&seal, dir, &e));
    write_file("state", "another of the machine");
    must_fail_saying(qemu_seal_check(&seal, dir, &e), &e, ERR_RETRY, "is not what was saved");
    assert_int_equal(unlink(path_of("state")), 0);
    must_fail_saying(qemu_seal_check(&seal, dir, &e), &e, ERR_RETRY, "state");
}

static void snapshot_without_sums_is_refused(void **state)
{
    struct err e;
    assert_int_equal(unlink(path_of("SHA256SUMS")), 0);
    must_fail_saying(qemu_seal_check(&seal, dir, &e), &e, ERR_RETRY, "SHA256SUMS");
    write_file("SHA256SUMS", "");
    must_fail_saying(qemu_seal_check(&seal, dir, &e), &e, ERR_RETRY, "is not what was saved");
}

/* The hashes are compared once, then only by the next process: with sums that fit nothing the same
 * files stay good for this one. */
static void what_was_found_good_is_not_hashed_again(void **state)
{
    struct qemu_seal later;
    struct err e;
    MUST(qemu_seal_check(&seal, dir, &e));
    write_file("SHA256SUMS", "0000  disk.qcow2\n0000  state\n0000  overlay.qcow2\n");
    MUST(qemu_seal_check(&seal, dir, &e));
    qemu_seal_init(&later);
    must_fail_saying(qemu_seal_check(&later, dir, &e), &e, ERR_RETRY, "is not what was saved");
    qemu_seal_fini(&later);
}

#define ON_SNAPSHOT(test) cmocka_unit_test_setup_teardown(test, make_snapshot, remove_snapshot)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SNAPSHOT(snapshot_as_it_was_saved_is_good_and_read_only),
        ON_SNAPSHOT(sums_are_those_of_sha256sum),
        ON_SNAPSHOT(file_that_was_changed_is_refused),
        ON_SNAPSHOT(file_that_was_replaced_is_refused),
        ON_SNAPSHOT(snapshot_without_sums_is_refused),
        ON_SNAPSHOT(what_was_found_good_is_not_hashed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

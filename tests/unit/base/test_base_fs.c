/* Small files: whole, atomic, and gone when removed. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/fs.h"
#include "common/base/syscall_filter.h"
#include "tests/lib/cmocka.h"

static char directory[] = "/tmp/mayfly-fs-XXXXXX";

static int make_directory(void **state)
{
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state)
{
    struct err e;
    return fs_remove_tree(directory, &e);
}

static const char *in_directory(char *out, size_t size, const char *name)
{
    int n = snprintf(out, size, "%s/%s", directory, name);
    assert_true(n > 0 && (size_t)n < size);
    return out;
}

#define PATH(name) in_directory((char[256]){0}, 256, name)

static void written_file_reads_back_whole(void **state)
{
    struct buf b;
    struct err e;
    struct stat st;
    const char *path = PATH("whole");
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 50000; i++) {
        buf_append_byte(&b, (char)i);
    }
    assert_int_equal(fs_write_atomic(path, buf_slice(&b), 0600, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct buf back;
    buf_init(&back, 1 << 20);
    buf_append_cstr(&back, "x");
    assert_int_equal(fs_read(path, &back, &e), 0);
    assert_int_equal(back.len, b.len + 1);
    assert_memory_equal(back.data + 1, b.data, b.len);
    buf_fini(&b);
    buf_fini(&back);
}

static void write_replaces_and_leaves_no_other_file(void **state)
{
    struct buf b;
    struct err e;
    const char *path = PATH("one/file");
    assert_int_equal(fs_mkdirs(PATH("one"), 0700, &e), 0);
    assert_int_equal(fs_write_atomic(path, SLICE("old and long"), 0600, &e), 0);
    assert_int_equal(fs_write_atomic(path, SLICE("new"), 0600, &e), 0);
    buf_init(&b, 100);
    assert_int_equal(fs_read(path, &b, &e), 0);
    assert_string_equal(b.data, "new");
    buf_fini(&b);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(PATH("one")), 0); /* fails if anything is left in it */
}

static void write_into_a_missing_directory_names_the_path(void **state)
{
    struct err e;
    assert_int_equal(fs_write_atomic(PATH("none/file"), SLICE("x"), 0600, &e), -1);
    assert_non_null(strstr(e.message, "none/file"));
    assert_int_equal(e.code, ENOENT);
}

static void *write_often(void *arg)
{
    struct err e;
    for (int i = 0; i < 50; i++) {
        char text[64];
        memset(text, 'a' + i % 26, sizeof text);
        if (fs_write_atomic(arg, (struct slice){text, sizeof text}, 0600, &e) != 0) {
            return arg;
        }
    }
    return NULL;
}

static void writers_of_one_file_never_mix(void **state)
{
    pthread_t threads[2];
    struct buf b;
    struct err e;
    char path[256];
    in_directory(path, sizeof path, "shared");
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_often, path), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    buf_init(&b, 100);
    assert_int_equal(fs_read(path, &b, &e), 0);
    assert_int_equal(b.len, 64);
    assert_int_equal(strspn(b.data, (char[]){b.data[0], '\0'}), 64);
    buf_fini(&b);
}

static void missing_file_is_not_found(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 10);
    assert_int_equal(fs_read(PATH("missing"), &b, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "missing"));
    buf_fini(&b);
}

static void directory_is_no_file(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 10);
    assert_int_equal(fs_read(directory, &b, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    buf_fini(&b);
}

static void file_over_the_ceiling_is_refused_even_if_it_never_ends(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 1000);
    assert_int_equal(fs_read("/dev/zero", &b, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "larger than the 1000 bytes"));
    buf_fini(&b);
}

static void files_without_a_size_are_read(void **state)
{
    struct buf b;
    struct err e;
    buf_init(&b, 1 << 16);
    assert_int_equal(fs_read("/proc/self/status", &b, &e), 0);
    assert_non_null(strstr(b.data, "Pid:"));
    buf_fini(&b);
}

static void directories_are_made_all_the_way(void **state)
{
    struct stat st;
    struct err e;
    assert_int_equal(fs_mkdirs(PATH("a/b//c/"), 0700, &e), 0);
    assert_int_equal(stat(PATH("a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(fs_mkdirs(PATH("a/b/c"), 0700, &e), 0);
    assert_int_equal(fs_mkdirs("/", 0700, &e), 0);
    assert_int_equal(fs_mkdirs("", 0700, &e), -1);
}

static void file_in_the_way_of_a_directory_is_an_error(void **state)
{
    struct err e;
    assert_int_equal(fs_write_atomic(PATH("plain"), SLICE("x"), 0600, &e), 0);
    assert_int_equal(fs_mkdirs(PATH("plain"), 0700, &e), -1);
    assert_non_null(strstr(e.message, "plain"));
    assert_int_equal(fs_mkdirs(PATH("plain/below"), 0700, &e), -1);
}

static void tree_is_removed_but_not_what_it_links_to(void **state)
{
    struct stat st;
    struct err e;
    assert_int_equal(fs_mkdirs(PATH("keep"), 0700, &e), 0);
    assert_int_equal(fs_write_atomic(PATH("keep/file"), SLICE("x"), 0600, &e), 0);
    assert_int_equal(fs_mkdirs(PATH("gone/deep"), 0700, &e), 0);
    assert_int_equal(fs_write_atomic(PATH("gone/deep/file"), SLICE("x"), 0600, &e), 0);
    assert_int_equal(symlink(PATH("keep"), PATH("gone/link")), 0);
    assert_int_equal(fs_remove_tree(PATH("gone"), &e), 0);
    assert_int_equal(stat(PATH("gone"), &st), -1);
    assert_int_equal(stat(PATH("keep/file"), &st), 0);
    assert_int_equal(fs_remove_tree(PATH("gone"), &e), 0); /* missing is success */
}

static void link_to_a_tree_is_removed_alone(void **state)
{
    struct stat st;
    struct err e;
    assert_int_equal(fs_mkdirs(PATH("target/deep"), 0700, &e), 0);
    assert_int_equal(symlink(PATH("target"), PATH("alias")), 0);
    assert_int_equal(fs_remove_tree(PATH("alias"), &e), 0);
    assert_int_equal(lstat(PATH("alias"), &st), -1);
    assert_int_equal(stat(PATH("target/deep"), &st), 0);
}

/* --- shared directories ---------------------------------------------------------------------- */

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void what_is_made_in_a_shared_directory_is_for_its_group(void **state)
{
    static const mode_t masks[] = {0007, 0022, 0077};
    struct err e;
    assert_int_equal(mkdir(PATH("of-group"), 0700), 0);
    assert_int_equal(chmod(PATH("of-group"), 02770), 0);
    mode_t before = umask(0);
    for (size_t i = 0; i < COUNT_OF(masks); i++) {
        (void)umask(masks[i]);
        assert_int_equal(fs_mkdirs(PATH("of-group/a/b"), 0700, &e), 0);
        assert_int_equal(fs_write_atomic(PATH("of-group/a/b/file"), SLICE("x"), 0600, &e), 0);
        assert_int_equal(mode_of(PATH("of-group/a")), 02770);
        assert_int_equal(mode_of(PATH("of-group/a/b")), 02770);
        assert_int_equal(mode_of(PATH("of-group/a/b/file")), 0660);
        assert_int_equal(fs_remove_tree(PATH("of-group/a"), &e), 0);
    }
    (void)umask(before);
}

/* Setgid alone, or rights of the group alone, share nothing. */
static void other_directories_keep_the_mode_that_was_asked_for(void **state)
{
    static const mode_t modes[] = {0770, 02750, 0700};
    struct err e;
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        assert_int_equal(mkdir(PATH("own"), 0700), 0);
        assert_int_equal(chmod(PATH("own"), modes[i]), 0);
        assert_int_equal(fs_mkdirs(PATH("own/a"), 0700, &e), 0);
        assert_int_equal(fs_write_atomic(PATH("own/file"), SLICE("x"), 0600, &e), 0);
        assert_int_equal(mode_of(PATH("own/a")) & 0777, 0700);
        assert_int_equal(mode_of(PATH("own/file")), 0600);
        assert_int_equal(fs_remove_tree(PATH("own"), &e), 0);
    }
}

/* As systemd's RestrictSUIDSGID= does: no call that sets the bit. In a child, since it stays. */
static bool forbid_setgid(void)
{
    static const int calls[] = {
#ifdef SYS_chmod
        SYS_chmod,
#endif
        SYS_fchmod, SYS_fchmodat};
    struct syscall_filter filter;
    syscall_filter_begin(&filter);
    syscall_filter_deny_all(&filter, calls, COUNT_OF(calls));
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall_filter_install(&filter) == 0;
}

static void shared_directory_needs_no_right_to_set_setgid(void **state)
{
    int status = 0;
    struct err e;
    assert_int_equal(mkdir(PATH("confined"), 0700), 0);
    assert_int_equal(chmod(PATH("confined"), 02770), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)umask(0007);
        _exit(!forbid_setgid() ? 2 : fs_mkdirs(PATH("confined/a"), 0700, &e) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
        skip(); /* a kernel or a container without seccomp */
    }
    assert_int_equal(status, 0);
    assert_int_equal(mode_of(PATH("confined/a")), 02770);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_file_reads_back_whole),
        cmocka_unit_test(write_replaces_and_leaves_no_other_file),
        cmocka_unit_test(write_into_a_missing_directory_names_the_path),
        cmocka_unit_test(writers_of_one_file_never_mix),
        cmocka_unit_test(missing_file_is_not_found),
        cmocka_unit_test(directory_is_no_file),
        cmocka_unit_test(file_over_the_ceiling_is_refused_even_if_it_never_ends),
        cmocka_unit_test(files_without_a_size_are_read),
        cmocka_unit_test(directories_are_made_all_the_way),
        cmocka_unit_test(file_in_the_way_of_a_directory_is_an_error),
        cmocka_unit_test(tree_is_removed_but_not_what_it_links_to),
        cmocka_unit_test(link_to_a_tree_is_removed_alone),
        cmocka_unit_test(what_is_made_in_a_shared_directory_is_for_its_group),
        cmocka_unit_test(other_directories_keep_the_mode_that_was_asked_for),
        cmocka_unit_test(shared_directory_needs_no_right_to_set_setgid),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

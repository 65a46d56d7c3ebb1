/*
 * What makes a VM unique: the text of /etc/hosts, and all steps together on files of this test's
 * own, which namespaces put in place of the machine's (as root; skipped where that is not allowed).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/log.h"
#include "deploy/image/agent/agent_hosts.h"
#include "deploy/image/agent/agent_unique.h"
#include "tests/lib/cmocka.h"

#define NOT_ALLOWED 77

static void expect_hosts(const char *old, const char *old_name, const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    agent_hosts_rename(slice_of(old), slice_of(old_name), SLICE("mf-1"), &out);
    assert_string_equal(out.data, want);
    buf_fini(&out);
}

static void hosts_keeps_its_lines(void **state)
{
    expect_hosts("127.0.0.1 localhost\n# ours\n10.1.2.3\tregistry.internal registry # cache\n",
                 "image",
                 "127.0.0.1 localhost\n# ours\n10.1.2.3\tregistry.internal registry # cache\n"
                 "127.0.1.1 mf-1\n");
}

static void hosts_loses_the_old_name_alone(void **state)
{
    expect_hosts("127.0.0.1 localhost image\n127.0.1.1 image # made by the installer\n"
                 "172.17.0.2 image image.internal\n10.0.0.1 images\n",
                 "image",
                 "127.0.0.1 localhost\n172.17.0.2 image.internal\n10.0.0.1 images\n"
                 "127.0.1.1 mf-1\n");
}

static void hosts_knows_localhost(void **state)
{
    const char *local = "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 mf-1\n";
    expect_hosts("", "image", local);
    expect_hosts("127.0.0.1 localhost\n", "localhost", "127.0.0.1 localhost\n127.0.1.1 mf-1\n");
    expect_hosts("# 127.0.0.1 localhost", "",
                 "# 127.0.0.1 localhost\n127.0.0.1 localhost\n"
                 "::1 localhost\n127.0.1.1 mf-1\n");
}

static void hosts_renamed_twice_is_the_same(void **state)
{
    const char *once = "127.0.0.1 localhost\n127.0.1.1 mf-1\n";
    expect_hosts(once, "mf-1", once);
}

/* --- in namespaces ------------------------------------------------------------------------------
 */

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

/* Until nothing more fits. */
static void fill_run(void)
{
    static const char zeros[4096];
    int fd = open("/run/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    while (write(fd, zeros, sizeof(zeros)) > 0) {
    }
    close(fd);
}

/* Its own host name, /etc and /run: nothing of the machine is changed. */
static bool enter_copy(void)
{
    return unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("etc", "/etc", "tmpfs", 0, NULL) == 0 &&
           mount("run", "/run", "tmpfs", 0, "size=16k") == 0 && sethostname("image", 5) == 0 &&
           put("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 image\n10.1.2.3 registry\n");
}

/* In a child; its exit status: 0 if the steps did what they should. */
static int apply_in_copy(bool full, bool lenient)
{
    struct err e = {0};
    struct buf text;
    char name[64] = "";
    const struct agent_unique u = {
        .entropy = SLICE("entropy of the test"), .hostname = "mf-1", .lenient = lenient};
    if (!enter_copy()) {
        return NOT_ALLOWED;
    }
    if (full) {
        fill_run();
    }
    log_open("test", 2);
    if (agent_unique_apply(&u, &e) != 0) {
        fprintf(stderr, "%s\n", e.message);
        /* qemu-user does not know how to reseed; every kernel does. */
        return e.code == ENOSPC ? 2 : e.code == EPERM || e.code == ENOSYS ? NOT_ALLOWED : 1;
    }
    buf_init(&text, 4096);
    bool same = fs_read("/etc/hosts", &text, &e) == 0 && gethostname(name, sizeof(name)) == 0 &&
                strcmp(name, "mf-1") == 0 &&
                strcmp(text.data, "127.0.0.1 localhost\n10.1.2.3 registry\n127.0.1.1 mf-1\n") == 0;
    buf_reset(&text);
    same = same && fs_read("/etc/machine-id", &text, &e) == 0 && text.len == 33;
    buf_fini(&text);
    return same ? 0 : 3;
}

static void expect_applied(bool full, bool lenient, int want)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(apply_in_copy(full, lenient));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_ALLOWED) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), want);
}

static void vm_gets_its_names(void **state)
{
    expect_applied(false, true, 0);
}

static void full_run_is_forgiven_with_lenient(void **state)
{
    expect_applied(true, true, 0);
}

static void full_run_is_an_error_without(void **state)
{
    expect_applied(true, false, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_keeps_its_lines),
        cmocka_unit_test(hosts_loses_the_old_name_alone),
        cmocka_unit_test(hosts_knows_localhost),
        cmocka_unit_test(hosts_renamed_twice_is_the_same),
        cmocka_unit_test(vm_gets_its_names),
        cmocka_unit_test(full_run_is_forgiven_with_lenient),
        cmocka_unit_test(full_run_is_an_error_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

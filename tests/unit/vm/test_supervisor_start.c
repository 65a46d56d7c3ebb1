/* Starts of a gateway and of QEMU, with other programs in their place: without the first there is no second, and the second is
 * in a network of its own where that is permitted, whoever starts it. */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "tests/lib/cmocka.h"
#include "worker/supervisor/supervisor.h"

#define NOBODY 65534

static char dir[256];

static int make_dir(void **state)
{
    char run[300];
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-start-XXXXXX");
    if (mkdtemp(dir) == NULL || chmod(dir, 0777) != 0) {
        return -1;
    }
    (void)snprintf(run, sizeof run, "%s/run", dir);
    return mkdir(run, 0777) != 0 || chmod(run, 0777) != 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void read_made(const char *name, struct buf *out)
{
    char path[320];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/run/%s", dir, name);
    buf_init(out, 65536);
    if (fs_read(path, out, &e) != 0) {
        buf_reset(out);
    }
}

/* QEMU's place is taken by a shell, whose working directory is `run`. */
static int start(const char *gateway, const char *script, struct supervisor_processes *out,
                 struct err *e)
{
    char words[4][128] = {"/bin/sh", "-c"};
    char none[] = "";
    (void)snprintf(words[2], sizeof words[2], "%s", script);
    (void)snprintf(words[3], sizeof words[3], "%s", gateway);
    char *gateway_argv[] = {words[3], NULL};
    char *argv[] = {words[0], words[1], words[2], NULL};
    char *files[] = {NULL};
    struct supervisor_pipes pipes;
    memset(&pipes, 0xff, sizeof pipes);
    const struct qemu_launch launch = {.argv = argv,
                                       .gateway = gateway_argv,
                                       .files = files,
                                       .cgroup = none,
                                       .network_namespace = true};
    return supervisor_start(dir, &launch, &pipes, out, e);
}

static void without_its_gateway_no_vm_starts_and_the_error_names_it(void **state)
{
    struct supervisor_processes p;
    struct err e;
    struct buf made;
    assert_int_equal(start("/nowhere/mayfly-vm-net", "echo it ran > made", &p, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_string_equal(e.message,
                        "cannot start /nowhere/mayfly-vm-net: No such file or directory");
    assert_int_equal(p.gateway, 0);
    assert_int_equal(p.qemu, 0);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    read_made("made", &made);
    assert_int_equal(made.len, 0);
    buf_fini(&made);
}

/* In a child, since a user is changed once: exits 0 when QEMU had loopback alone, or this process
 * was said why not. */
static int start_as(uid_t uid)
{
    struct supervisor_processes p;
    struct err e;
    struct buf made;
    int status;
    if (geteuid() == 0 && uid != 0 &&
        (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0)) {
        return 2;
    }
    if (start("/bin/true", "tail -n +3 /proc/net/dev | grep -c . > made", &p, &e) != 0) {
        (void)fprintf(stderr, "%s\n", e.message);
        return 3;
    }
    if (waitpid(p.qemu, &status, 0) != p.qemu || status != 0) {
        return 4;
    }
    read_made("made", &made);
    bool alone = made.len > 0 && strcmp(made.data, "1\n") == 0;
    buf_fini(&made);
    (void)fprintf(stderr, "as %d: %s\n", (int)uid,
                  p.shared_network[0] == '\0' ? "an empty network" : p.shared_network);
    return alone || p.shared_network[0] != '\0' ? 0 : 5;
}

static void qemu_has_no_interface_but_loopback_or_it_is_said_why(void **state)
{
    const uid_t users[] = {NOBODY, geteuid()};
    for (size_t i = 0; i < 2; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            _exit(start_as(users[i]));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(without_its_gateway_no_vm_starts_and_the_error_names_it),
        IN_DIR(qemu_has_no_interface_but_loopback_or_it_is_said_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

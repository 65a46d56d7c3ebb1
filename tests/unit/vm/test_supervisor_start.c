/* Starts of a gateway and of QEMU, with another program in their place: without the first there is no
 * second, both are confined, and the second is in a network of its own where that is permitted, whoever
 * starts it. */
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/protect.h"
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

/* This program in the place of both, with one word that says what to try. */
static int start(const char *gateway, const char *word, bool confine,
                 struct supervisor_processes *out, struct err *e)
{
    char self[256] = "";
    char gateway_path[256];
    char words[2][16];
    char none[] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    (void)snprintf(gateway_path, sizeof gateway_path, "%s", gateway != NULL ? gateway : self);
    (void)snprintf(words[0], sizeof words[0], "%s", word);
    (void)snprintf(words[1], sizeof words[1], "%s", word);
    char *gateway_argv[] = {gateway_path, words[0], NULL};
    char *argv[] = {self, words[1], NULL};
    char *files[] = {NULL};
    struct supervisor_pipes pipes;
    memset(&pipes, 0xff, sizeof pipes);
    const struct qemu_launch launch = {
        .argv = argv, .gateway = gateway_argv, .files = files, .cgroup = none, .confine = confine};
    return supervisor_start(dir, &launch, &pipes, out, e);
}

/* --- in the place of QEMU and its gateway ----------------------------------------------------- */

static int count_interfaces(void)
{
    int n = 0;
    struct if_nameindex *all = if_nameindex();
    while (all != NULL && all[n].if_index != 0) {
        n++;
    }
    if_freenameindex(all);
    return n;
}

/* One bit for each thing that it reached. */
static int try_to_reach(void)
{
    struct rlimit limit;
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    int reached = child > 0 ? 1 : 0;
    reached |= open("../secret", O_RDONLY | O_CLOEXEC) >= 0 ? 2 : 0;
    reached |= open("made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 ? 4 : 0;
    reached |= kill(getppid(), 0) == 0 ? 8 : 0;
    return reached | (prlimit(getppid(), RLIMIT_CORE, NULL, &limit) == 0 ? 16 : 0);
}

#define ALL 31

static rlim_t limit_of(__rlimit_resource_t what)
{
    struct rlimit now = {0, 0};
    assert_int_equal(getrlimit(what, &now), 0);
    assert_true(now.rlim_cur == now.rlim_max);
    return now.rlim_max;
}

/* One bit for each limit that a gateway has. */
static int count_limits(void)
{
    return (limit_of(RLIMIT_CORE) == 0 ? 1 : 0) | (limit_of(RLIMIT_NOFILE) <= 2048 ? 2 : 0) |
           (limit_of(RLIMIT_FSIZE) == 0 ? 4 : 0) | (limit_of(RLIMIT_AS) <= (rlim_t)1 << 30 ? 8 : 0);
}

static int play(const char *word)
{
    if (strcmp(word, "limits") == 0) {
        return count_limits();
    }
    return strcmp(word, "interfaces") == 0 ? count_interfaces() : try_to_reach();
}

/* --- the cases -------------------------------------------------------------------------------- */

static void without_its_gateway_no_vm_starts_and_the_error_names_it(void **state)
{
    struct supervisor_processes p;
    struct err e;
    char made[300];
    assert_int_equal(start("/nowhere/mayfly-vm-net", "reach", false, &p, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_string_equal(e.message,
                        "cannot start /nowhere/mayfly-vm-net: No such file or directory");
    assert_int_equal(p.gateway, 0);
    assert_int_equal(p.qemu, 0);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    (void)snprintf(made, sizeof made, "%s/run/made", dir);
    assert_int_not_equal(access(made, F_OK), 0);
}

static int exit_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void confined_programs_reach_nothing_and_unconfined_ones_all(void **state)
{
    struct supervisor_processes p;
    struct err e;
    char secret[300];
    (void)snprintf(secret, sizeof secret, "%s/secret", dir);
    assert_int_equal(fs_write_atomic(secret, SLICE("secret"), 0600, &e), 0);
    assert_int_equal(start(NULL, "reach", false, &p, &e), 0);
    assert_int_equal(exit_code(p.qemu), ALL);
    (void)exit_code(p.gateway);
    if (MAYFLY_SANITIZED) {
        skip(); /* nothing is confined then */
    }
    (void)snprintf(secret, sizeof secret, "%s/run/made", dir);
    (void)unlink(secret);
    assert_int_equal(start(NULL, "reach", true, &p, &e), 0);
    int qemu = exit_code(p.qemu);
    int gateway = exit_code(p.gateway);
    int files = protect_landlock_abi() > 0 ? 0 : 6;
    assert_int_equal(qemu, files);
    assert_int_equal(gateway, files);
}

static void gateway_has_limits_of_its_own(void **state)
{
    struct supervisor_processes p;
    struct err e;
    assert_int_equal(start(NULL, "limits", true, &p, &e), 0);
    assert_int_equal(exit_code(p.gateway), MAYFLY_SANITIZED ? 3 : 15);
    assert_int_equal(exit_code(p.qemu), 1);
}

/* In a child, since they stay. */
static void supervisor_limits_itself_to_what_it_needs(void **state)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        const struct qemu_launch launch = {.console_limit_bytes = 1000};
        supervisor_limit_itself(&launch);
        bool all = limit_of(RLIMIT_CORE) == 0 && limit_of(RLIMIT_FSIZE) == 1000 + (1 << 20) &&
                   limit_of(RLIMIT_NOFILE) == 64;
        bool most = limit_of(RLIMIT_AS) == (rlim_t)512 << 20 && limit_of(RLIMIT_NPROC) == 0;
        _exit(all && (MAYFLY_SANITIZED || most) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* In a child, since a user is changed once: exits 0 when QEMU had loopback alone, or this process
 * was said why not. */
static int start_as(uid_t uid)
{
    struct supervisor_processes p;
    struct err e;
    int status;
    if (geteuid() == 0 && uid != 0 &&
        (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0)) {
        return 2;
    }
    if (start(NULL, "interfaces", true, &p, &e) != 0) {
        (void)fprintf(stderr, "%s\n", e.message);
        return 3;
    }
    if (waitpid(p.qemu, &status, 0) != p.qemu || !WIFEXITED(status)) {
        return 4;
    }
    (void)fprintf(stderr, "as %d: %s\n", (int)uid,
                  p.shared_network[0] == '\0' ? "an empty network" : p.shared_network);
    return WEXITSTATUS(status) == 1 || p.shared_network[0] != '\0' ? 0 : 5;
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

int main(int argc, char **argv)
{
    if (argc > 1) {
        return play(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        IN_DIR(without_its_gateway_no_vm_starts_and_the_error_names_it),
        IN_DIR(confined_programs_reach_nothing_and_unconfined_ones_all),
        IN_DIR(gateway_has_limits_of_its_own),
        cmocka_unit_test(supervisor_limits_itself_to_what_it_needs),
        IN_DIR(qemu_has_no_interface_but_loopback_or_it_is_said_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

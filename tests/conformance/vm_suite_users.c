/*
 * A host with three users, as deploy/systemd sets it up: the worker's launches a VM, the reaper's
 * looks at it and ends it, both in the group that the VMs' directory is shared with; a third may not.
 * As root only.
 */
#include "tests/conformance/vm_suite.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/launcher.h"
#include "common/vm/qemu/control.h"
#include "worker/launcher/launcher.h"

#define GROUP 64980 /* of the directory; nobody's primary one */

struct user {
    uid_t id;
    gid_t group;
    mode_t umask;
};
static const struct user worker = {64981, GROUP, 0077};
static const struct user reaper = {64982, GROUP, 0022};
static const struct user stranger = {64983, 64983, 0007};

/* The stand-in, where everybody may execute it. */
static void copy_binary(struct vm_fixture *f)
{
    char path[512];
    struct buf program;
    struct err e;
    buf_init(&program, (size_t)256 << 20);
    read_whole(f->binary, &program);
    (void)snprintf(path, sizeof path, "%s/fake-qemu", f->store.dir);
    MUST(fs_write_atomic(path, buf_slice(&program), 0755, &e));
    free(f->settings.binary);
    f->settings.binary = slice_dup(slice_of(path));
    buf_fini(&program);
}

static int setup_users(void **state)
{
    struct err e;
    if (geteuid() != 0 || vm_fixture_setup(state) != 0) {
        return geteuid() != 0 ? 0 : -1;
    }
    struct vm_fixture *f = *state;
    copy_binary(f);
    vm_close(f->p);
    f->p = NULL;
    MUST(fs_remove_tree(f->state_dir, &e));
    assert_int_equal(mkdir(f->state_dir, 0700), 0);
    assert_int_equal(chown(f->state_dir, 0, GROUP), 0);
    assert_int_equal(chmod(f->state_dir, 02770), 0);
    return 0;
}

static int teardown_users(void **state)
{
    struct vm_fixture *f = *state;
    if (f == NULL) {
        return 0;
    }
    vm_fixture_open(f);
    return vm_fixture_teardown(state);
}

typedef int step_fn(struct vm_fixture *f, struct err *e);

static struct vm_fixture *must_be_root(void **state)
{
    if (*state == NULL) {
        skip();
        abort(); /* which clang-tidy does not know to be out of reach */
    }
    return *state;
}

/* With a launcher, as the worker's unit starts it: the user keeps two capabilities for one of its own. */
static bool become(const struct user *user)
{
    bool launches = vm_launcher_present();
    struct launcher launcher;
    if (prctl(PR_SET_KEEPCAPS, launches ? 1 : 0, 0, 0, 0) != 0 || setgroups(1, &user->group) != 0 ||
        setgid((gid_t)user->id) != 0 || setuid(user->id) != 0) {
        return false;
    }
    if (!launches) {
        return true;
    }
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const uint32_t kept = (1U << CAP_SETUID) | (1U << CAP_SETGID);
    const struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {{kept, kept, kept}};
    if (syscall(SYS_capset, &head, caps) != 0) {
        return false;
    }
    launcher_fork(&launcher);
    return launcher_open(&launcher, SUITE_UIDS);
}

/* In another process as that user, with a provider of its own. */
static int do_as(const struct user *user, struct vm_fixture *f, step_fn *step, struct err *e)
{
    int fds[2];
    int status = 0;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err why = {.code = 0};
        f->p = NULL;
        (void)umask(user->umask);
        int rc = become(user) ? step(f, &why) : -1;
        _exit(write(fds[1], &why, sizeof why) == (ssize_t)sizeof why && rc == 0 ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], e, sizeof *e), sizeof *e);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int open_provider(struct vm_fixture *f, struct err *e)
{
    return vm_open(&f->class, f->deployment, &f->p, e);
}

static int launch(struct vm_fixture *f, struct err *e)
{
    char id[VM_ID_MAX + 1];
    struct vm_spec spec = vm_fixture_spec(f, "vm-1");
    return open_provider(f, e) != 0 ? -1 : vm_run(f->p, &spec, id, e);
}

/* The reaper's way: what it sees, then the end with a grace, then what is left. */
static int see_running(struct vm_fixture *f, struct err *e)
{
    struct vm_info *list;
    size_t n;
    if (open_provider(f, e) != 0 || vm_list(f->p, &list, &n, e) != 0) {
        return -1;
    }
    bool good = n == 1 && list[0].state == VM_RUN_RUNNING && list[0].started_ms > 0;
    free(list);
    return good ? 0 : err_set(e, ERR_PERMANENT, 0, "%zu VMs, or not running", n);
}

static int terminate(struct vm_fixture *f, struct err *e)
{
    return open_provider(f, e) != 0 ? -1 : vm_terminate(f->p, "vm-1", 30000, e);
}

static int kill_at_once(struct vm_fixture *f, struct err *e)
{
    return open_provider(f, e) != 0 ? -1 : vm_terminate(f->p, "vm-1", 0, e);
}

static int forget(struct vm_fixture *f, struct err *e)
{
    return open_provider(f, e) != 0 ? -1 : vm_forget(f->p, "vm-1", e);
}

static int ask_supervisor(struct vm_fixture *f, struct err *e)
{
    char dir[2048];
    vm_file(f, "vm-1", NULL, dir);
    return qemu_control_end(dir, 0, "terminated", e);
}

/* As root: of the VM that the worker launched. */
static void must_be_ended(struct vm_fixture *f, const char *reason)
{
    vm_fixture_open(f);
    struct vm_info info = must_describe(f, "vm-1");
    assert_int_equal(info.state, VM_RUN_ENDED);
    assert_string_equal(info.reason, reason);
}

static void reaper_of_another_user_ends_a_vm_through_its_supervisor(void **state)
{
    struct vm_fixture *f = must_be_root(state);
    char path[2048];
    struct buf said;
    struct err e;
    MUST(do_as(&worker, f, launch, &e));
    MUST(do_as(&reaper, f, see_running, &e));
    MUST(do_as(&reaper, f, terminate, &e));
    must_be_ended(f, "terminated");
    buf_init(&said, 65536);
    vm_file(f, "vm-1", "status", path);
    read_whole(path, &said);
    assert_non_null(strstr(said.data, " terminated\n")); /* its agent was asked */
    buf_fini(&said);
    MUST(do_as(&reaper, f, forget, &e));
}

/* Whoever of the programs comes first makes the directories. */
static void worker_uses_directories_that_the_reaper_made(void **state)
{
    struct vm_fixture *f = must_be_root(state);
    struct err e;
    MUST(do_as(&reaper, f, open_provider, &e));
    MUST(do_as(&worker, f, launch, &e));
    MUST(do_as(&worker, f, kill_at_once, &e));
    MUST(do_as(&worker, f, forget, &e));
}

static void open_for_all(const struct vm_fixture *f)
{
    char path[2048];
    assert_int_equal(chmod(f->state_dir, 02775), 0);
    (void)snprintf(path, sizeof path, "%s/%s.small", f->state_dir, f->deployment);
    assert_int_equal(chmod(path, 02775), 0);
    vm_file(f, "vm-1", NULL, path);
    assert_int_equal(chmod(path, 02775), 0);
    vm_file(f, "vm-1", "control", path);
    assert_int_equal(chmod(path, 0666), 0);
}

static void strangers_can_neither_see_nor_end_a_vm(void **state)
{
    struct vm_fixture *f = must_be_root(state);
    struct err e;
    MUST(do_as(&worker, f, launch, &e));
    assert_int_equal(do_as(&stranger, f, open_provider, &e), -1);
    must_fail_saying(do_as(&stranger, f, ask_supervisor, &e), &e, ERR_RETRY, "Permission denied");
    open_for_all(f);
    must_fail_saying(do_as(&stranger, f, ask_supervisor, &e), &e, ERR_AUTH,
                     "user 64983 is neither");
    MUST(do_as(&reaper, f, see_running, &e));
    MUST(do_as(&reaper, f, kill_at_once, &e));
    MUST(do_as(&reaper, f, forget, &e));
}

/* The reaper cannot kill another user's process, and says who can. Its request is not lost. */
static void stopped_supervisor_is_left_to_its_own_user(void **state)
{
    struct vm_fixture *f = must_be_root(state);
    struct err e;
    MUST(do_as(&worker, f, launch, &e));
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    pid_t supervisor = vm_pid(f, "vm-1", "supervisor");
    assert_int_equal(kill(supervisor, SIGSTOP), 0);
    must_fail_saying(do_as(&reaper, f, kill_at_once, &e), &e, ERR_RETRY, "may not kill it");
    assert_true(process_is_there(qemu));
    assert_int_equal(kill(supervisor, SIGCONT), 0);
    must_die(supervisor);
    must_be_ended(f, "terminated");
    MUST(do_as(&reaper, f, forget, &e));
}

/* Its worker is gone too: the reaper removes what a supervisor that was killed left behind. */
static void reaper_removes_what_a_killed_supervisor_left(void **state)
{
    struct vm_fixture *f = must_be_root(state);
    char path[2048];
    struct err e;
    MUST(do_as(&worker, f, launch, &e));
    pid_t qemu = vm_pid(f, "vm-1", "qemu");
    assert_int_equal(kill(vm_pid(f, "vm-1", "supervisor"), SIGKILL), 0);
    must_die(qemu);
    vm_file(f, "vm-1", "run", path);
    assert_int_equal(access(path, F_OK), 0);
    MUST(do_as(&reaper, f, terminate, &e));
    assert_int_not_equal(access(path, F_OK), 0);
    must_be_ended(f, "vanished");
    MUST(do_as(&reaper, f, forget, &e));
}

/* --- a full disk ----------------------------------------------------------------------------- */

/* All of its blocks and all of its inodes. */
static void fill_disk(const char *dir)
{
    char path[1200];
    static const char block[65536];
    (void)snprintf(path, sizeof path, "%s/filler", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0; i++) {
        while (write(fd, block, sizeof block) > 0) {
        }
        close(fd);
        (void)snprintf(path, sizeof path, "%s/filler-%d", dir, i);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    }
    assert_int_equal(errno, ENOSPC);
}

static void vm_on_a_full_disk_is_ended(void **state)
{
    struct vm_fixture *f = must_be_root(state);
    char path[2048];
    struct err e;
    if (mount("none", f->state_dir, "tmpfs", 0, "size=160m,nr_inodes=100,mode=2770,gid=64980") !=
        0) {
        skip(); /* a container */
    }
    MUST(do_as(&worker, f, launch, &e));
    fill_disk(f->state_dir);
    MUST(do_as(&reaper, f, terminate, &e));
    must_be_ended(f, "terminated");
    vm_file(f, "vm-1", "run", path);
    assert_int_not_equal(access(path, F_OK), 0);
    MUST(do_as(&reaper, f, forget, &e));
}

static int teardown_full(void **state)
{
    struct vm_fixture *f = *state;
    if (f != NULL) {
        (void)umount2(f->state_dir, MNT_DETACH);
    }
    return teardown_users(state);
}

#define AS_USERS(test) cmocka_unit_test_setup_teardown(test, setup_users, teardown_users)

const struct CMUnitTest vm_tests_users[] = {
    AS_USERS(reaper_of_another_user_ends_a_vm_through_its_supervisor),
    AS_USERS(worker_uses_directories_that_the_reaper_made),
    AS_USERS(strangers_can_neither_see_nor_end_a_vm),
    AS_USERS(stopped_supervisor_is_left_to_its_own_user),
    AS_USERS(reaper_removes_what_a_killed_supervisor_left),
    cmocka_unit_test_setup_teardown(vm_on_a_full_disk_is_ended, setup_users, teardown_full),
};
const size_t vm_tests_users_count = COUNT_OF(vm_tests_users);

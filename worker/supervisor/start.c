#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/vm/qemu/args.h"

#define MAX_DESCRIPTORS 4096

/* Everything the child needs, opened before the fork. */
struct start {
    const char *dir;
    const struct qemu_launch *launch;
    int null_fd;
    int console_fd;
    int stderr_fd;
    int status_fd;
    int incoming_fd; /* -1: none */
    int cgroup_fd;   /* -1: none */
    int failure_fd;  /* errno of a start that failed; closed by a successful exec */
    bool drop;
    uid_t uid;
    gid_t gid;
    pid_t supervisor;
};

static int find_user(struct start *s, struct err *e)
{
    const char *name = s->launch->user;
    if (*name == '\0' || geteuid() != 0) {
        return 0;
    }
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "there is no user %s to run VMs as", name);
    }
    s->drop = true;
    s->uid = user->pw_uid;
    s->gid = user->pw_gid;
    return 0;
}

/* QEMU may write to `run` only. */
static int chown_run_dir(const struct start *s, struct err *e)
{
    char path[PATH_MAX];
    char overlay[PATH_MAX];
    if (!s->drop) {
        return 0;
    }
    (void)qemu_path(path, s->dir, "run");
    (void)qemu_path(overlay, path, QEMU_OVERLAY);
    if (lchown(overlay, s->uid, s->gid) != 0 || lchown(path, s->uid, s->gid) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot give %s to the user of the VMs", path);
    }
    return 0;
}

static void set_limit(int what, int64_t value)
{
    struct rlimit now;
    if (value > 0 && getrlimit((__rlimit_resource_t)what, &now) == 0) {
        rlim_t wanted = (rlim_t)value;
        wanted = wanted > now.rlim_max ? now.rlim_max : wanted;
        (void)setrlimit((__rlimit_resource_t)what, &(struct rlimit){wanted, wanted});
    }
}

static void set_limits(const struct qemu_launch *launch)
{
    /* A core file would hold the job's secrets. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    set_limit(RLIMIT_AS, launch->address_limit_bytes);
    set_limit(RLIMIT_FSIZE, launch->file_limit_bytes);
    set_limit(RLIMIT_NOFILE, MAX_DESCRIPTORS);
}

static void reset_signals(void)
{
    sigset_t none;
    for (int sig = 1; sig < NSIG; sig++) {
        (void)signal(sig, SIG_DFL);
    }
    /* At its file size limit QEMU gets an error that it can pass to its guest. */
    (void)signal(SIGXFSZ, SIG_IGN);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool drop_rights(const struct start *s)
{
    if (s->drop &&
        (initgroups(s->launch->user, s->gid) != 0 || setgid(s->gid) != 0 || setuid(s->uid) != 0)) {
        return false;
    }
    /* After the change of user, which clears it. The supervisor may be gone already. */
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == s->supervisor;
}

/* Moves the descriptors to the numbers in QEMU's command line; nothing else stays open. */
static bool place_descriptors(const struct start *s, int *failure_fd)
{
    /* First above the target numbers, then onto them. */
    int from[] = {s->null_fd, s->console_fd, s->stderr_fd, s->status_fd, s->incoming_fd};
    int last = (int)COUNT_OF(from);
    for (size_t i = 0; i < COUNT_OF(from); i++) {
        if (from[i] >= 0) {
            from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 16);
        }
    }
    *failure_fd = fcntl(s->failure_fd, F_DUPFD_CLOEXEC, 16);
    for (int i = 0; i < last; i++) {
        if (from[i] >= 0 ? dup2(from[i], i) != i : i != QEMU_FD_INCOMING) {
            return false;
        }
    }
    int first_unused = s->incoming_fd >= 0 ? QEMU_FD_INCOMING + 1 : QEMU_FD_INCOMING;
    return close_range((unsigned)first_unused, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

static bool enter_cgroup(const struct start *s)
{
    return s->cgroup_fd < 0 || write(s->cgroup_fd, "0", 1) == 1;
}

NORETURN static void exec_qemu(const struct start *s)
{
    char path[PATH_MAX];
    int failure_fd = s->failure_fd;
    (void)setpgid(0, 0);
    (void)umask(077);
    if (enter_cgroup(s) && chdir(qemu_path(path, s->dir, "run")) == 0 &&
        place_descriptors(s, &failure_fd)) {
        reset_signals();
        set_limits(s->launch);
        if (drop_rights(s)) {
            char *const env[] = {NULL};
            (void)execve(s->launch->argv[0], s->launch->argv, env);
        }
    }
    int errnum = errno;
    (void)!write(failure_fd, &errnum, sizeof errnum);
    _exit(127);
}

static int make_pipe(int *reading, int *writing, struct err *e)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make a pipe");
    }
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *reading = fds[0];
    *writing = fds[1];
    return 0;
}

static int open_descriptors(struct start *s, struct supervisor_pipes *pipes, struct err *e)
{
    s->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (s->null_fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot open /dev/null");
    }
    if (make_pipe(&pipes->console, &s->console_fd, e) != 0 ||
        make_pipe(&pipes->stderr_, &s->stderr_fd, e) != 0 ||
        make_pipe(&pipes->status, &s->status_fd, e) != 0) {
        return -1;
    }
    if (s->launch->incoming[0] != '\0') {
        s->incoming_fd = open(s->launch->incoming, O_RDONLY | O_CLOEXEC);
        if (s->incoming_fd < 0) {
            return err_errno(e, ERR_RETRY, errno, "cannot read the saved VM state %s",
                             s->launch->incoming);
        }
    }
    return 0;
}

static void close_descriptors(const struct start *s)
{
    const int fds[] = {s->null_fd,   s->console_fd,  s->stderr_fd,
                       s->status_fd, s->incoming_fd, s->cgroup_fd};
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static int fork_qemu(struct start *s, pid_t *out_pid, struct err *e)
{
    int reading;
    int errnum = 0;
    if (make_pipe(&reading, &s->failure_fd, e) != 0) {
        return -1;
    }
    (void)fcntl(reading, F_SETFL, 0);
    s->supervisor = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        exec_qemu(s);
    }
    errnum = pid < 0 ? errno : 0;
    close(s->failure_fd);
    if (pid > 0 && read(reading, &errnum, sizeof errnum) != (ssize_t)sizeof errnum) {
        errnum = 0;
    }
    close(reading);
    if (errnum != 0) {
        return err_errno(e, ERR_RETRY, errnum, "cannot start %s", s->launch->argv[0]);
    }
    (void)setpgid(pid, pid);
    *out_pid = pid;
    return 0;
}

int supervisor_start_qemu(const char *dir, const struct qemu_launch *launch,
                          struct supervisor_pipes *pipes, char *cgroup, pid_t *out_pid,
                          struct err *e)
{
    char mount[512];
    char own[512];
    struct start s = {.dir = dir,
                      .launch = launch,
                      .null_fd = -1,
                      .console_fd = -1,
                      .stderr_fd = -1,
                      .status_fd = -1,
                      .incoming_fd = -1,
                      .cgroup_fd = -1};
    cgroup[0] = '\0';
    if (supervisor_cgroup_find(mount, own, sizeof mount)) {
        s.cgroup_fd = supervisor_cgroup_make(mount, own, launch, cgroup, 512);
    }
    int rc = -1;
    if (find_user(&s, e) == 0 && chown_run_dir(&s, e) == 0 && open_descriptors(&s, pipes, e) == 0) {
        rc = fork_qemu(&s, out_pid, e);
    }
    close_descriptors(&s);
    if (rc != 0 && cgroup[0] != '\0') {
        (void)rmdir(cgroup);
    }
    return rc;
}

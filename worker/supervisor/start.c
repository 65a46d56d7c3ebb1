#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/vm/qemu/args.h"
#include "worker/supervisor/confine.h"

#define MIB ((int64_t)1 << 20)
#define NO_LIMIT (-1)
#define MAX_DESCRIPTORS 4096
/* The gateway: its connections (gateway.h), each with 256 KiB, and the libraries. */
#define GATEWAY_ADDRESS_BYTES (1024 * MIB)
#define GATEWAY_DESCRIPTORS 2048
/* This process: its libraries, and the guest's output in pieces of 16 KiB. */
#define OWN_ADDRESS_BYTES (512 * MIB)
#define OWN_DESCRIPTORS 64
#define OWN_FILE_BYTES (1 * MIB)

/* What both children need, opened before the forks. */
struct start {
    const char *dir;
    const struct qemu_launch *launch;
    int cgroup_fd; /* -1: none */
    bool own_user; /* the real one, which is not the worker's */
    pid_t supervisor;
};

#define CHILD_FDS (QEMU_FD_SHELL + 1)
#define NO_FDS                                                                                     \
    {                                                                                              \
        -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1                                             \
    }
_Static_assert(CHILD_FDS == 12, "NO_FDS has one item for each");

/* One program. fds[n] becomes its descriptor n, -1 is none. */
struct child {
    char *const *argv;
    int fds[CHILD_FDS];
    int64_t address_limit_bytes;
    int64_t file_limit_bytes;
    int64_t descriptors;
    bool confined;   /* confine.h */
    bool is_gateway; /* else QEMU, which has a network of its own too, if that is permitted */
    int failure_fd;  /* errno of a start that failed; closed by a successful exec */
};

/* QEMU writes to `run` only, and makes its sockets there. Other users cannot come to it: QEMU is put
 * there before it gives up the rights that the way takes. */
static int open_run_dir(const struct start *s, struct err *e)
{
    char path[PATH_MAX];
    char overlay[PATH_MAX];
    struct stat st;
    if (!s->own_user) {
        return 0;
    }
    if (stat(s->dir, &st) != 0 || (st.st_mode & S_IRWXO) != 0) {
        return err_set(e, ERR_PERMANENT, EACCES, "%s is open to other users: chmod o-rwx", s->dir);
    }
    (void)qemu_path(path, s->dir, "run");
    (void)qemu_path(overlay, path, QEMU_OVERLAY);
    if (chmod(path, 0777) != 0 || chmod(overlay, 0666) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot open %s to the VM's user", path);
    }
    return 0;
}

/* NO_LIMIT: none is set. */
static void set_limit(int what, int64_t value)
{
    struct rlimit now;
    if (value != NO_LIMIT && getrlimit((__rlimit_resource_t)what, &now) == 0) {
        rlim_t wanted = (rlim_t)value;
        wanted = wanted > now.rlim_max ? now.rlim_max : wanted;
        (void)setrlimit((__rlimit_resource_t)what, &(struct rlimit){wanted, wanted});
    }
}

static void set_limits(const struct child *c)
{
    /* A core file would hold the job's secrets. */
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_AS, c->address_limit_bytes);
    set_limit(RLIMIT_FSIZE, c->file_limit_bytes);
    set_limit(RLIMIT_NOFILE, c->descriptors);
}

/* Its files are the console's halves and small records. */
void supervisor_limit_itself(const struct qemu_launch *launch)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_AS, MAYFLY_SANITIZED ? NO_LIMIT : OWN_ADDRESS_BYTES);
    set_limit(RLIMIT_FSIZE, launch->console_limit_bytes + OWN_FILE_BYTES);
    set_limit(RLIMIT_NOFILE, OWN_DESCRIPTORS);
    set_limit(RLIMIT_NPROC, MAYFLY_SANITIZED ? NO_LIMIT : 0);
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

static bool become_user(const struct start *s)
{
    uid_t uid = getuid();
    gid_t gid = getgid();
    return !s->own_user || (setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
}

static bool drop_rights(const struct start *s, const struct child *c, int program_fd)
{
    const struct confined confined = {.path = c->argv[0],
                                      .program_fd = program_fd,
                                      .is_gateway = c->is_gateway,
                                      .own_user = s->own_user};
    /* The death signal after all that clears it. The supervisor may be gone already. */
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           (!c->confined || confine_child(&confined)) &&
           prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == s->supervisor;
}

/* Moves the descriptors to their numbers; nothing else stays open. */
static bool place_descriptors(const struct child *c, int *failure_fd)
{
    /* First above the target numbers, then onto them. */
    int from[CHILD_FDS];
    unsigned first_unused = 0;
    for (int i = 0; i < CHILD_FDS; i++) {
        from[i] = c->fds[i] < 0 ? -1 : fcntl(c->fds[i], F_DUPFD_CLOEXEC, 16);
    }
    *failure_fd = fcntl(c->failure_fd, F_DUPFD_CLOEXEC, 16);
    for (int i = 0; i < CHILD_FDS; i++) {
        if (c->fds[i] < 0) {
            continue;
        }
        if (from[i] < 0 || dup2(from[i], i) != i) {
            return false;
        }
        first_unused = (unsigned)i + 1;
    }
    return close_range(first_unused, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

static bool enter_cgroup(const struct start *s)
{
    return s->cgroup_fd < 0 || write(s->cgroup_fd, "0", 1) == 1;
}

/* A second layer: a QEMU that is taken over by its guest has no network except the gateway. Root
 * needs no user namespace, and gets no rights in one. */
static void isolate_network(int failure_fd)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        int note = -errno;
        (void)!write(failure_fd, &note, sizeof note);
    }
}

/* By its descriptor where the VM's user cannot come to its path. */
static void exec_program(char *const *argv, int program_fd)
{
    char *const env[] = {NULL};
    (void)execve(argv[0], argv, env);
    if (errno == EACCES) {
        (void)execveat(program_fd, "", argv, env, AT_EMPTY_PATH);
    }
}

NORETURN static void exec_child(const struct start *s, const struct child *c)
{
    char path[PATH_MAX];
    int failure_fd = c->failure_fd;
    (void)setpgid(0, 0);
    /* The worker connects to the sockets of a VM of another user. */
    (void)umask(s->own_user ? 0 : 077);
    if (enter_cgroup(s) && chdir(qemu_path(path, s->dir, "run")) == 0 &&
        place_descriptors(c, &failure_fd)) {
        int program_fd = open(c->argv[0], O_PATH | O_CLOEXEC);
        reset_signals();
        set_limits(c);
        if (become_user(s)) {
            if (c->confined && !c->is_gateway) {
                isolate_network(failure_fd);
            }
            if (drop_rights(s, c, program_fd)) {
                exec_program(c->argv, program_fd);
            }
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

static int open_files(char *const *files, struct child *qemu, struct err *e)
{
    for (int fd = QEMU_FD_KERNEL; *files != NULL && fd <= QEMU_FD_INCOMING; fd++, files++) {
        qemu->fds[fd] = open(*files, O_RDONLY | O_CLOEXEC);
        if (qemu->fds[fd] < 0) {
            return err_errno(e, ERR_RETRY, errno, "cannot read %s for the VM", *files);
        }
    }
    return 0;
}

/* The agent's port for shells; QEMU opens and gets none of a VM without. */
static int open_shell_port(const struct start *s, struct child *qemu,
                           struct supervisor_pipes *pipes, struct err *e)
{
    int link[2];
    pipes->shell = -1;
    if (!s->launch->shell) {
        return 0;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make the socket of the VM's shell");
    }
    pipes->shell = link[0];
    qemu->fds[QEMU_FD_SHELL] = link[1];
    return 0;
}

/* Each descriptor at its number in the child; the other ends in *pipes. */
static int open_descriptors(const struct start *s, struct child *gateway, struct child *qemu,
                            struct supervisor_pipes *pipes, struct err *e)
{
    int link[2];
    for (int i = 0; i <= 1; i++) {
        gateway->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
    qemu->fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (gateway->fds[0] < 0 || gateway->fds[1] < 0 || qemu->fds[0] < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot open /dev/null");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make the socket of the VM's network");
    }
    gateway->fds[GATEWAY_FD_STREAM] = link[0];
    qemu->fds[QEMU_FD_NETWORK] = link[1];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make the socket of QEMU's monitor");
    }
    pipes->monitor = link[0];
    qemu->fds[QEMU_FD_MONITOR] = link[1];
    (void)fcntl(pipes->monitor, F_SETFL, O_NONBLOCK);
    if (open_shell_port(s, qemu, pipes, e) != 0 ||
        make_pipe(&pipes->console, &qemu->fds[1], e) != 0 ||
        make_pipe(&pipes->stderr_, &qemu->fds[2], e) != 0 ||
        make_pipe(&pipes->status, &qemu->fds[QEMU_FD_STATUS], e) != 0 ||
        make_pipe(&pipes->report, &gateway->fds[GATEWAY_FD_REPORT], e) != 0) {
        return -1;
    }
    gateway->fds[2] = fcntl(gateway->fds[GATEWAY_FD_REPORT], F_DUPFD_CLOEXEC, 0);
    return open_files(s->launch->files, qemu, e);
}

static void close_descriptors(const struct child *c)
{
    for (size_t i = 0; i < COUNT_OF(c->fds); i++) {
        if (c->fds[i] >= 0) {
            close(c->fds[i]);
        }
    }
}

/* What the child wrote before its exec: a failure, above 0, or a note. */
static int read_failure(int fd, int *note)
{
    int errnum = 0;
    ssize_t n;
    while ((n = read(fd, &errnum, sizeof errnum)) != 0) {
        if (n == (ssize_t)sizeof errnum && errnum > 0) {
            return errnum;
        }
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        *note = n > 0 ? -errnum : *note;
    }
    return 0;
}

static int fork_child(const struct start *s, struct child *c, pid_t *out_pid, int *note,
                      struct err *e)
{
    int reading;
    if (make_pipe(&reading, &c->failure_fd, e) != 0) {
        return -1;
    }
    (void)fcntl(reading, F_SETFL, 0);
    pid_t pid = fork();
    if (pid == 0) {
        exec_child(s, c);
    }
    int errnum = pid < 0 ? errno : 0;
    close(c->failure_fd);
    if (pid > 0) {
        errnum = read_failure(reading, note);
    }
    close(reading);
    if (errnum != 0) {
        return err_errno(e, ERR_RETRY, errnum, "cannot start %s", c->argv[0]);
    }
    (void)setpgid(pid, pid);
    *out_pid = pid;
    return 0;
}

static int start_both(struct start *s, struct supervisor_pipes *pipes,
                      struct supervisor_processes *out, struct err *e)
{
    struct child gateway = {.argv = s->launch->gateway,
                            .fds = NO_FDS,
                            .address_limit_bytes =
                                MAYFLY_SANITIZED ? NO_LIMIT : GATEWAY_ADDRESS_BYTES,
                            .file_limit_bytes = MAYFLY_SANITIZED ? NO_LIMIT : 0,
                            .descriptors = GATEWAY_DESCRIPTORS,
                            .confined = true,
                            .is_gateway = true};
    struct child qemu = {
        .argv = s->launch->argv,
        .fds = NO_FDS,
        .address_limit_bytes =
            s->launch->address_limit_bytes > 0 ? s->launch->address_limit_bytes : NO_LIMIT,
        .file_limit_bytes =
            s->launch->file_limit_bytes > 0 ? s->launch->file_limit_bytes : NO_LIMIT,
        .descriptors = MAX_DESCRIPTORS,
        .confined = s->launch->confine};
    int note = 0;
    int rc = -1;
    s->supervisor = getpid();
    if (open_descriptors(s, &gateway, &qemu, pipes, e) == 0 &&
        fork_child(s, &gateway, &out->gateway, &note, e) == 0) {
        rc = fork_child(s, &qemu, &out->qemu, &note, e);
    }
    if (rc != 0 && out->gateway > 0) {
        (void)kill(out->gateway, SIGKILL);
        (void)waitpid(out->gateway, NULL, 0);
        out->gateway = 0;
    }
    if (note != 0) {
        (void)snprintf(out->shared_network, sizeof out->shared_network, "%s", strerror(note));
    }
    close_descriptors(&gateway);
    close_descriptors(&qemu);
    return rc;
}

int supervisor_start(const char *dir, const struct qemu_launch *launch,
                     struct supervisor_pipes *pipes, struct supervisor_processes *out,
                     struct err *e)
{
    char mount[512];
    char own[512];
    struct start s = {
        .dir = dir, .launch = launch, .cgroup_fd = -1, .own_user = getuid() != geteuid()};
    *out = (struct supervisor_processes){.gateway = 0};
    if (supervisor_cgroup_find(mount, own, sizeof mount)) {
        s.cgroup_fd = supervisor_cgroup_enter(mount, own, launch, &out->cgroup);
    }
    int rc = -1;
    if (open_run_dir(&s, e) == 0) {
        rc = start_both(&s, pipes, out, e);
    }
    if (s.cgroup_fd >= 0) {
        close(s.cgroup_fd);
    }
    if (rc != 0) {
        supervisor_cgroup_leave(&out->cgroup);
    }
    return rc;
}

#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"

#define STATUS_LIMIT ((size_t)65536)
#define STDERR_LIMIT ((size_t)2048)
#define INSIST_MS 2000
#define NEVER INT64_MAX

struct supervisor {
    const char *dir;
    struct qemu_launch launch;
    struct supervisor_pipes pipes;
    struct qemu_process_record process;
    struct supervisor_log console;
    struct buf status;     /* all that the agent said, up to its limit */
    struct buf complaints; /* the beginning of QEMU's standard error */
    int status_fd;
    int signal_fd;
    int64_t started_ms; /* monotonic, as the others */
    int64_t insist_ms;  /* SIGKILL then; NEVER before QEMU was asked */
    const char *why;    /* we ended it; NULL: it ended itself */
};

/* Tells the launcher, who waits for the end of our output, and then has no more to do with it. */
static void answer(const char *text)
{
    (void)!write(1, text, strlen(text));
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, 1);
        (void)dup2(null_fd, 2);
        close(null_fd);
    }
}

static void answer_failure(const struct err *e)
{
    char text[sizeof e->message + 8];
    (void)snprintf(text, sizeof text, "ERR %s\n", e->message);
    answer(text);
}

static void end_vm(struct supervisor *k, const char *why)
{
    if (k->why == NULL) {
        k->why = why;
        k->insist_ms = clock_mono_ms() + INSIST_MS;
        (void)kill(k->process.qemu.pid, SIGTERM);
    }
}

/* --- what comes out of the VM --------------------------------------------------------------- */

static void take_status(struct supervisor *k, struct slice data)
{
    if (k->status.len + data.len > STATUS_LIMIT) {
        return;
    }
    buf_append(&k->status, data);
    if (k->status_fd >= 0) {
        (void)!write(k->status_fd, data.ptr, data.len);
    }
}

static void take_complaint(struct supervisor *k, struct slice data)
{
    if (k->complaints.len + data.len <= STDERR_LIMIT) {
        buf_append(&k->complaints, data);
    }
    supervisor_log_write(&k->console, data);
}

/* Reads what is there; at its end the pipe is closed and set to -1. */
static void pump(struct supervisor *k, int *fd, bool to_the_end)
{
    char chunk[16384];
    do {
        ssize_t n = *fd < 0 ? -1 : read(*fd, chunk, sizeof chunk);
        if (n > 0) {
            struct slice data = {chunk, (size_t)n};
            if (fd == &k->pipes.status) {
                take_status(k, data);
            } else if (fd == &k->pipes.stderr_) {
                take_complaint(k, data);
            } else {
                supervisor_log_write(&k->console, data);
            }
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n == 0) {
                close(*fd);
                *fd = -1;
            }
            return;
        }
    } while (to_the_end);
}

/* --- deadlines ------------------------------------------------------------------------------ */

static bool agent_started(const struct supervisor *k)
{
    struct qemu_agent_status said;
    qemu_agent_status_parse(buf_slice(&k->status), &said);
    return said.started;
}

/* Acts on what is due; returns when something may be due next. */
static int64_t keep_deadlines(struct supervisor *k)
{
    int64_t now = clock_mono_ms();
    int64_t end_ms = k->started_ms + k->launch.max_duration_ms;
    int64_t start_ms = k->started_ms + k->launch.start_ms;
    if (now >= k->insist_ms) {
        (void)kill(-k->process.qemu.pid, SIGKILL);
        (void)kill(k->process.qemu.pid, SIGKILL);
        return now + INSIST_MS;
    }
    if (k->why != NULL) {
        return k->insist_ms;
    }
    if (now >= end_ms) {
        end_vm(k, "max-duration");
        return k->insist_ms;
    }
    if (k->launch.start_ms > 0 && !agent_started(k)) {
        /* Its launcher must have died before it handed the payload over. */
        if (now >= start_ms && !qemu_marked(k->dir, "accepted")) {
            end_vm(k, "never-started");
            return k->insist_ms;
        }
        return now >= start_ms || end_ms < start_ms ? end_ms : start_ms;
    }
    return end_ms;
}

/* --- the loop ------------------------------------------------------------------------------- */

/* Returns whether QEMU has ended, with its wait status. */
static bool take_signals(struct supervisor *k, int *status)
{
    struct signalfd_siginfo info;
    while (read(k->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM) {
            end_vm(k, "terminated");
        }
    }
    return waitpid(k->process.qemu.pid, status, WNOHANG) == k->process.qemu.pid;
}

static int watch(struct supervisor *k)
{
    for (;;) {
        int status = 0;
        int64_t wait_ms = keep_deadlines(k) - clock_mono_ms();
        struct pollfd p[] = {{.fd = k->signal_fd, .events = POLLIN},
                             {.fd = k->pipes.console, .events = POLLIN},
                             {.fd = k->pipes.stderr_, .events = POLLIN},
                             {.fd = k->pipes.status, .events = POLLIN}};
        (void)poll(p, COUNT_OF(p), wait_ms < 0 ? 0 : wait_ms > 3600000 ? 3600000 : (int)wait_ms);
        pump(k, &k->pipes.console, false);
        pump(k, &k->pipes.stderr_, false);
        pump(k, &k->pipes.status, false);
        if (take_signals(k, &status)) {
            return status;
        }
    }
}

static void set_reason(const struct supervisor *k, int status, char *out, size_t size)
{
    struct qemu_agent_status said;
    struct slice line;
    struct slice rest;
    qemu_agent_status_parse(buf_slice(&k->status), &said);
    (void)slice_cut(slice_trim(buf_slice(&k->complaints)), '\n', &line, &rest);
    if (said.exited) {
        (void)snprintf(out, size, "%s", said.reason);
    } else if (k->why != NULL) {
        (void)snprintf(out, size, "%s", k->why);
    } else if (WIFSIGNALED(status)) {
        (void)snprintf(out, size, "died: qemu was killed by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        (void)snprintf(out, size, "died: qemu failed (%d): %.*s", WEXITSTATUS(status),
                       SLICE_ARG(line));
    } else {
        (void)snprintf(out, size, "died: powered off without a word of the agent");
    }
    for (char *c = out; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
}

/* The exit record is last: who reads it knows that nothing else of the VM is left. */
static void finish(struct supervisor *k, int status)
{
    struct qemu_exit_record record = {.status = status};
    char path[PATH_MAX];
    struct err e;
    (void)kill(-k->process.qemu.pid, SIGKILL);
    pump(k, &k->pipes.console, true);
    pump(k, &k->pipes.stderr_, true);
    pump(k, &k->pipes.status, true);
    set_reason(k, status, record.reason, sizeof record.reason);
    supervisor_log_close(&k->console);
    if (!k->launch.keep_run && fs_remove_tree(qemu_path(path, k->dir, "run"), &e) != 0) {
        (void)!qemu_mark(k->dir, "unclean", &e);
    }
    if (k->process.cgroup[0] != '\0') {
        (void)rmdir(k->process.cgroup);
    }
    record.ended_ms = clock_wall_ms();
    /* On failure the VM is told as vanished, which is as true. */
    (void)!qemu_exit_record_write(k->dir, &record, &e);
}

static int begin(struct supervisor *k, struct err *e)
{
    char path[PATH_MAX];
    sigset_t set;
    pid_t pid;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (k->signal_fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot watch for signals");
    }
    if (qemu_launch_read(k->dir, &k->launch, e) != 0) {
        return -1;
    }
    supervisor_log_open(&k->console, k->dir, k->launch.console_limit_bytes);
    k->status_fd = open(qemu_path(path, k->dir, "status"),
                        O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    k->started_ms = clock_mono_ms();
    if (supervisor_start_qemu(k->dir, &k->launch, &k->pipes, k->process.cgroup, &pid, e) != 0) {
        return -1;
    }
    /* Ours and unwaited for: even if it has ended already, its pid is not used again. */
    k->process.qemu.pid = pid;
    if (!proc_id_of(getpid(), &k->process.supervisor)) {
        return err_set(e, ERR_RETRY, 0, "/proc does not show our own process");
    }
    if (!proc_id_of(pid, &k->process.qemu)) {
        k->process.qemu = (struct proc_id){.pid = pid};
    }
    return qemu_process_record_write(k->dir, &k->process, e);
}

static int run(const char *dir)
{
    struct supervisor k = {.dir = dir,
                           .insist_ms = NEVER,
                           .status_fd = -1,
                           .signal_fd = -1,
                           .console = {.fd = -1},
                           .pipes = {-1, -1, -1}};
    struct err e;
    int rc = 1;

    buf_init(&k.status, STATUS_LIMIT + 1);
    buf_init(&k.complaints, STDERR_LIMIT + 1);
    if (begin(&k, &e) == 0) {
        (void)setsid();
        answer("OK\n");
        finish(&k, watch(&k));
        rc = 0;
    } else {
        if (k.process.qemu.pid > 0) {
            (void)kill(-k.process.qemu.pid, SIGKILL);
        }
        answer_failure(&e);
    }
    supervisor_log_close(&k.console);
    qemu_launch_fini(&k.launch);
    buf_fini(&k.status);
    buf_fini(&k.complaints);
    return rc;
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc == 4 && strcmp(argv[1], "connect") == 0) {
        return supervisor_connect(argv[2], argv[3]);
    }
    if (argc != 3 || strcmp(argv[1], "run") != 0 || stat(argv[2], &st) != 0) {
        (void)fprintf(stderr,
                      "mayfly-vm-supervisor is started by Mayfly's programs, not by hand.\n");
        return 2;
    }
    (void)close_range(3, ~0U, 0);
    (void)umask(022);
    /* The launcher waits for this process; the VM's supervisor is its child, and init's from now on. */
    pid_t pid = fork();
    if (pid != 0) {
        return pid < 0 ? 1 : 0;
    }
    (void)!chdir("/");
    return run(argv[2]);
}

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
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "worker/supervisor/shell.h"

#define STATUS_LIMIT ((size_t)65536)
#define STDERR_LIMIT ((size_t)2048)
#define KILL_AFTER_MS 2000
#define GATEWAY_END_MS 500
#define NO_DEADLINE INT64_MAX

struct supervisor {
    const char *dir;
    struct qemu_launch launch;
    struct supervisor_pipes pipes;
    struct qemu_process_record process;
    struct supervisor_network network;
    struct supervisor_control control;
    struct supervisor_shell shell;
    struct supervisor_monitor monitor;
    struct supervisor_log console;
    struct supervisor_cgroup cgroup;
    struct buf status;      /* all status lines of the agent, up to the limit */
    struct buf qemu_stderr; /* the beginning of QEMU's standard error */
    int status_fd;
    int signal_fd;
    int64_t started_ms;     /* monotonic */
    int64_t term_at_ms;     /* monotonic: SIGTERM then; NO_DEADLINE: nobody asked for its end */
    int64_t kill_at_ms;     /* monotonic: SIGKILL then; NO_DEADLINE before SIGTERM was sent */
    const char *end_reason; /* why this process terminated it; NULL: it ended by itself */
    char asked_reason[32];  /* of who asked for its end */
    pid_t gateway;          /* 0: it has ended */
    int64_t no_network_ms;  /* monotonic: the VM is terminated then, since its gateway ended */
    char no_network[128];
};

/* Reports to the launcher, which reads until the end of this output, and closes the connection to
 * it. */
static void report_to_launcher(const char *text)
{
    (void)!write(1, text, strlen(text));
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, 1);
        (void)dup2(null_fd, 2);
        close(null_fd);
    }
}

static void report_failure_to_launcher(const struct err *e)
{
    char text[sizeof e->message + 8];
    (void)snprintf(text, sizeof text, "ERR %s\n", e->message);
    report_to_launcher(text);
}

static void terminate_qemu(struct supervisor *s, const char *reason)
{
    if (s->end_reason == NULL) {
        s->end_reason = reason;
    }
    if (s->kill_at_ms == NO_DEADLINE) {
        s->kill_at_ms = clock_mono_ms() + KILL_AFTER_MS;
        (void)kill(s->process.qemu.pid, SIGTERM);
    }
}

/* A later request may shorten the grace of an earlier one. */
static void end_after_grace(struct supervisor *s, const struct qemu_end_request *r)
{
    int64_t term_at_ms = clock_mono_ms() + r->grace_ms;
    if (s->end_reason == NULL) {
        (void)snprintf(s->asked_reason, sizeof s->asked_reason, "%s", r->reason);
        s->end_reason = s->asked_reason;
    }
    if (s->term_at_ms == NO_DEADLINE && r->grace_ms > 0) {
        supervisor_ask_guest(s->dir);
    }
    s->term_at_ms = term_at_ms < s->term_at_ms ? term_at_ms : s->term_at_ms;
}

/* --- output of the VM --- */

static void append_status(struct supervisor *s, struct slice data)
{
    if (s->status.len + data.len > STATUS_LIMIT) {
        supervisor_network_event(&s->network, QEMU_EVENT_STATUS_DROPPED, (int64_t)data.len,
                                 "above the limit of 64 KiB");
        return;
    }
    buf_append(&s->status, data);
    if (s->status_fd >= 0) {
        (void)!write(s->status_fd, data.ptr, data.len);
    }
}

static void append_console(struct supervisor *s, struct slice data)
{
    supervisor_log_write(&s->console, data);
    if (s->console.dropped > 0) {
        supervisor_network_event(&s->network, QEMU_EVENT_CONSOLE_DROPPED, s->console.dropped, "");
        s->console.dropped = 0;
    }
}

static void append_stderr(struct supervisor *s, struct slice data)
{
    if (s->qemu_stderr.len + data.len <= STDERR_LIMIT) {
        buf_append(&s->qemu_stderr, data);
    }
    append_console(s, data);
}

/* Reads what is available; at its end the pipe is closed and set to -1. */
static void read_pipe(struct supervisor *s, int *fd, bool to_the_end)
{
    char chunk[16384];
    do {
        ssize_t n = *fd < 0 ? -1 : read(*fd, chunk, sizeof chunk);
        if (n > 0) {
            struct slice data = {chunk, (size_t)n};
            if (fd == &s->pipes.status) {
                append_status(s, data);
            } else if (fd == &s->pipes.stderr_) {
                append_stderr(s, data);
            } else if (fd == &s->pipes.report) {
                supervisor_network_take(&s->network, data);
            } else if (fd == &s->pipes.monitor) {
                supervisor_monitor_take(&s->monitor, data, &s->network);
            } else {
                append_console(s, data);
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

/* --- deadlines --- */

static bool agent_started(const struct supervisor *s)
{
    struct qemu_agent_status said;
    qemu_agent_status_parse(buf_slice(&s->status), &said);
    return said.started;
}

/* Acts on what is due. Returns when something may be due next. */
static int64_t enforce_deadlines(struct supervisor *s)
{
    int64_t now = clock_mono_ms();
    int64_t end_ms = s->started_ms + s->launch.max_duration_ms;
    int64_t start_ms = s->started_ms + s->launch.start_ms;
    if (now >= s->kill_at_ms) {
        (void)kill(-s->process.qemu.pid, SIGKILL);
        (void)kill(s->process.qemu.pid, SIGKILL);
        return now + KILL_AFTER_MS;
    }
    if (s->kill_at_ms != NO_DEADLINE) {
        return s->kill_at_ms;
    }
    if (now >= s->term_at_ms) {
        terminate_qemu(s, s->end_reason);
        return s->kill_at_ms;
    }
    if (now >= s->no_network_ms) {
        terminate_qemu(s, s->no_network);
        return s->kill_at_ms;
    }
    if (now >= end_ms) {
        terminate_qemu(s, "max-duration");
        return s->kill_at_ms;
    }
    end_ms = s->no_network_ms < end_ms ? s->no_network_ms : end_ms;
    end_ms = s->term_at_ms < end_ms ? s->term_at_ms : end_ms;
    if (s->launch.start_ms > 0 && !agent_started(s)) {
        /* Its launcher died before it handed the payload over. */
        if (now >= start_ms && !qemu_marked(s->dir, "accepted")) {
            terminate_qemu(s, "never-started");
            return s->kill_at_ms;
        }
        return now >= start_ms || end_ms < start_ms ? end_ms : start_ms;
    }
    return end_ms;
}

/* --- the loop --- */

/* A gateway that ends by itself saw the end of QEMU's connection, so that QEMU ends too, unless its
 * guest has taken it over: a moment is left to it. One that was killed leaves a VM without network. */
static void reap_gateway(struct supervisor *s)
{
    int status;
    if (s->gateway == 0 || waitpid(s->gateway, &status, WNOHANG) != s->gateway) {
        return;
    }
    s->gateway = 0;
    read_pipe(s, &s->pipes.report, true);
    bool by_itself = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    s->no_network_ms = clock_mono_ms() + (by_itself ? KILL_AFTER_MS : 0);
    (void)snprintf(s->no_network, sizeof s->no_network, "network-gateway-ended (%s %d)%s%.60s",
                   WIFSIGNALED(status) ? "signal" : "exit code",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                   s->network.last[0] == '\0' ? "" : ": ", s->network.last);
}

/* Returns whether QEMU has ended, with its wait status. */
static bool read_signals(struct supervisor *s, int *status)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM) {
            terminate_qemu(s, "terminated");
        }
    }
    if (waitpid(s->process.qemu.pid, status, WNOHANG) == s->process.qemu.pid) {
        return true;
    }
    reap_gateway(s);
    return false;
}

#define OUTPUTS 6

static void wait_for_events(const struct supervisor *s, int64_t due_ms)
{
    int64_t wait_ms = due_ms - clock_mono_ms();
    struct pollfd p[OUTPUTS + 1 + SUPERVISOR_PEERS + SUPERVISOR_SHELL_FDS] = {
        {.fd = s->signal_fd, .events = POLLIN},     {.fd = s->pipes.console, .events = POLLIN},
        {.fd = s->pipes.stderr_, .events = POLLIN}, {.fd = s->pipes.status, .events = POLLIN},
        {.fd = s->pipes.report, .events = POLLIN},  {.fd = s->pipes.monitor, .events = POLLIN}};
    size_t count = OUTPUTS + supervisor_control_fds(&s->control, p + OUTPUTS);
    count += supervisor_shell_fds(&s->shell, p + count);
    (void)poll(p, count, wait_ms < 0 ? 0 : wait_ms > 3600000 ? 3600000 : (int)wait_ms);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Returns when to look again (monotonic). */
static int64_t look_at_pause(struct supervisor *s)
{
    struct statvfs fs;
    if (s->monitor.paused_ms == 0) {
        return INT64_MAX;
    }
    bool known = statvfs(s->dir, &fs) == 0;
    int64_t unused = known ? (int64_t)fs.f_bavail * (int64_t)fs.f_frsize : 0;
    int64_t due_ms = supervisor_monitor_due(&s->monitor, clock_mono_ms(), unused);
    if (s->monitor.end_reason[0] != '\0' && !s->launch.keep_run) {
        terminate_qemu(s, s->monitor.end_reason);
        due_ms = earlier(due_ms, s->kill_at_ms);
    }
    return due_ms;
}

static int supervise_until_exit(struct supervisor *s)
{
    for (;;) {
        int status = 0;
        struct qemu_end_request request;
        int64_t due_ms = enforce_deadlines(s);
        due_ms = earlier(due_ms, look_at_pause(s));
        due_ms = earlier(due_ms, supervisor_shell_work(&s->shell, &s->network));
        wait_for_events(s, earlier(due_ms, supervisor_network_publish(&s->network)));
        read_pipe(s, &s->pipes.console, false);
        read_pipe(s, &s->pipes.stderr_, false);
        read_pipe(s, &s->pipes.status, false);
        read_pipe(s, &s->pipes.report, false);
        read_pipe(s, &s->pipes.monitor, false);
        if (supervisor_control_take(&s->control, &request)) {
            end_after_grace(s, &request);
        }
        if (read_signals(s, &status)) {
            return status;
        }
    }
}

/* What the agent's lines say is a guest's word, and a job may have written it: it counts only for a
 * VM that ended by itself. */
static void set_reason(const struct supervisor *s, int status, char *out, size_t size)
{
    struct qemu_agent_status said;
    bool by_itself = s->kill_at_ms == NO_DEADLINE && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    struct slice line;
    struct slice rest;
    qemu_agent_status_parse(buf_slice(&s->status), &said);
    (void)slice_cut(slice_trim(buf_slice(&s->qemu_stderr)), '\n', &line, &rest);
    if (said.exited && by_itself) {
        (void)snprintf(out, size, "%s", said.reason);
    } else if (s->end_reason != NULL) {
        (void)snprintf(out, size, "%s", s->end_reason);
    } else if (supervisor_cgroup_was_full(&s->cgroup)) {
        (void)snprintf(out, size,
                       "out-of-memory: its processes used up its control group's %lld MiB",
                       (long long)(s->launch.memory_limit_bytes >> 20));
    } else if (WIFSIGNALED(status)) {
        (void)snprintf(out, size, "died: qemu was killed by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        (void)snprintf(out, size, "died: qemu failed (%d): %.*s", WEXITSTATUS(status),
                       SLICE_ARG(line));
    } else {
        (void)snprintf(out, size, "died: powered off without a status of the agent");
    }
    for (char *c = out; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
}

/* It sees the end of QEMU's connection; what it reports on its way out is kept. */
static void end_gateway(struct supervisor *s)
{
    struct pollfd p = {.fd = s->pipes.report, .events = POLLIN};
    int64_t deadline_ms = clock_mono_ms() + GATEWAY_END_MS;
    while (s->pipes.report >= 0 && clock_mono_ms() < deadline_ms) {
        (void)poll(&p, 1, (int)(deadline_ms - clock_mono_ms()));
        read_pipe(s, &s->pipes.report, true);
    }
    if (s->gateway > 0) {
        (void)kill(s->gateway, SIGKILL);
        (void)waitpid(s->gateway, NULL, 0);
        s->gateway = 0;
    }
    supervisor_network_finish(&s->network);
}

/* The exit record is written last: when it exists, nothing else of the VM is left. */
static void clean_up_vm(struct supervisor *s, int status)
{
    struct qemu_exit_record record = {.status = status};
    char path[PATH_MAX];
    struct err e;
    int64_t refused = supervisor_cgroup_refused_processes(&s->cgroup);
    (void)kill(-s->process.qemu.pid, SIGKILL);
    read_pipe(s, &s->pipes.console, true);
    read_pipe(s, &s->pipes.stderr_, true);
    read_pipe(s, &s->pipes.status, true);
    if (refused > 0) {
        supervisor_network_event(&s->network, QEMU_EVENT_PROCESS_LIMIT, refused, "");
    }
    supervisor_shell_close(&s->shell, &s->network);
    end_gateway(s);
    set_reason(s, status, record.reason, sizeof record.reason);
    supervisor_log_close(&s->console);
    if (!s->launch.keep_run && fs_remove_tree(qemu_path(path, s->dir, "run"), &e) != 0) {
        (void)!qemu_mark(s->dir, "unclean", &e);
    }
    supervisor_cgroup_leave(&s->cgroup);
    record.ended_ms = clock_wall_ms();
    /* On failure the VM is reported as vanished, which is also true. */
    (void)!qemu_exit_record_write(s->dir, &record, &e);
}

static void note_shared_network(struct supervisor *s, const char *why)
{
    struct qemu_notice *n = &s->network.notice;
    (void)snprintf(n->shared_network, sizeof n->shared_network, "%s", why);
    s->network.unsaid = *why != '\0';
}

static int start_vm(struct supervisor *s, struct err *e)
{
    char path[PATH_MAX];
    struct supervisor_processes started;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot watch for signals");
    }
    if (qemu_launch_read(s->dir, &s->launch, e) != 0) {
        return -1;
    }
    supervisor_log_open(&s->console, s->dir, s->launch.console_limit_bytes);
    s->status_fd = fs_create(qemu_path(path, s->dir, "status"),
                             O_WRONLY | O_TRUNC | O_APPEND | O_NOFOLLOW, 0644);
    s->started_ms = clock_mono_ms();
    if (supervisor_control_open(&s->control, s->dir, e) != 0) {
        return -1;
    }
    if (supervisor_start(s->dir, &s->launch, &s->pipes, &started, e) != 0) {
        return -1;
    }
    s->gateway = started.gateway;
    if (supervisor_shell_open(&s->shell, s->dir, s->pipes.shell, e) != 0) {
        return -1;
    }
    s->monitor.fd = s->pipes.monitor;
    s->cgroup = started.cgroup;
    (void)snprintf(s->process.cgroup, sizeof s->process.cgroup, "%s", started.cgroup.dir);
    note_shared_network(s, started.shared_network);
    /* It is this process's child and not yet waited for: even if it has ended, its pid is not
     * reused. */
    s->process.qemu.pid = started.qemu;
    if (supervisor_network_wait(&s->network, s->pipes.report, e) != 0) {
        return -1;
    }
    if (!proc_id_of(getpid(), &s->process.supervisor)) {
        return err_set(e, ERR_RETRY, 0, "/proc does not show our own process");
    }
    if (!proc_id_of(started.qemu, &s->process.qemu)) {
        s->process.qemu = (struct proc_id){.pid = started.qemu};
    }
    supervisor_limit_itself(&s->launch);
    return qemu_process_record_write(s->dir, &s->process, e);
}

static int supervise_vm(const char *dir, const char *ids)
{
    struct supervisor s = {.dir = dir,
                           .term_at_ms = NO_DEADLINE,
                           .kill_at_ms = NO_DEADLINE,
                           .status_fd = -1,
                           .signal_fd = -1,
                           .console = {.fd = -1},
                           .network = {.dir = dir},
                           .no_network_ms = NO_DEADLINE,
                           .shell = {.listen_fd = -1, .client = -1, .vm = -1},
                           .pipes = {-1, -1, -1, -1, -1, -1}};
    struct err e;
    int rc = 1;

    buf_init(&s.status, STATUS_LIMIT + 1);
    buf_init(&s.qemu_stderr, STDERR_LIMIT + 1);
    if ((ids == NULL || supervisor_identity_take(ids, dir, &e) == 0) && start_vm(&s, &e) == 0) {
        (void)setsid();
        report_to_launcher("OK\n");
        clean_up_vm(&s, supervise_until_exit(&s));
        rc = 0;
    } else {
        if (s.process.qemu.pid > 0) {
            (void)kill(-s.process.qemu.pid, SIGKILL);
        }
        if (s.gateway > 0) {
            (void)kill(s.gateway, SIGKILL);
        }
        supervisor_cgroup_leave(&s.cgroup);
        report_failure_to_launcher(&e);
    }
    supervisor_log_close(&s.console);
    qemu_launch_fini(&s.launch);
    buf_fini(&s.status);
    buf_fini(&s.qemu_stderr);
    supervisor_identity_release();
    return rc;
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc < 3 || argc > 4 || strcmp(argv[1], "run") != 0 || stat(argv[2], &st) != 0) {
        (void)fprintf(stderr,
                      "mayfly-vm-supervisor is started by Mayfly's programs, not by hand.\n");
        return 2;
    }
    (void)close_range(3, ~0U, 0);
    (void)umask(022);
    /* The launcher waits for this process; the supervisor is its child, adopted by init. */
    pid_t pid = fork();
    if (pid != 0) {
        return pid < 0 ? 1 : 0;
    }
    (void)!chdir("/");
    return supervise_vm(argv[2], argv[3]);
}

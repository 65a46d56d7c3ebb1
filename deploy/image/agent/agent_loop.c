#include "deploy/image/agent/agent_loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/printable.h"

#define WAIT_MAX_MS 60000

enum source {
    SOURCE_TRANSPORT,
    SOURCE_SIGNAL,
    SOURCE_OUTPUT,
    SOURCE_CONSOLE,
    SOURCE_LOG,
    SOURCE_SHELL,
    SOURCES
};

/* --- status lines and output ------------------------------------------------------------------ */

static void write_best_effort(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno != EINTR) {
            return; /* a failure cannot be reported */
        }
        if (n > 0) {
            s.ptr += n;
            s.len -= (size_t)n;
        }
    }
}

static void on_status(void *ctx, const char *line)
{
    const struct agent_loop *l = ctx;
    char text[80];
    if (l->options.status_fd < 0) {
        log_info("status", LOG_STR("line", line));
        return;
    }
    int n = snprintf(text, sizeof(text), "%.78s\n", line);
    /* One write, so that the host never reads a partial line. */
    write_best_effort(l->options.status_fd, (struct slice){text, (size_t)n});
}

static void on_runner_output(void *ctx, struct slice line)
{
    struct agent_loop *l = ctx;
    if (l->console_left == 0) {
        return;
    }
    if (line.len + 1 > l->console_left) {
        l->console_left = 0;
        log_warn("output_truncated", LOG_INT("limit_bytes", CONSOLE_MAX_BYTES));
        return;
    }
    l->console_left -= line.len + 1;
    struct buf shown; /* on Lambda nobody else escapes what becomes a line of CloudWatch */
    buf_init(&shown, line.len * PRINTABLE_GROWTH + 1);
    printable_append(&shown, line);
    buf_append_byte(&shown, '\n');
    agent_output_line(l->options.console, buf_slice(&shown));
    buf_fini(&shown);
}

/* --- set-up ----------------------------------------------------------------------------------- */

static int watch_fd(struct agent_loop *l, int fd, enum source source, uint32_t how)
{
    struct epoll_event ev = {.events = how, .data.u32 = (uint32_t)source};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* epoll cannot wait on a regular file, and need not. */
static bool watch_writable(struct agent_loop *l, const struct agent_output *o, enum source source)
{
    return o->fd < 0 || watch_fd(l, o->fd, source, EPOLLOUT | EPOLLET) == 0 || errno == EPERM;
}

static bool has_shell(const struct agent_loop *l)
{
    return l->options.shell != NULL && l->options.shell->epoll_fd >= 0;
}

int agent_loop_init(struct agent_loop *l, const struct agent_loop_options *options, struct err *e)
{
    const struct agent_sink sink = {on_status, on_runner_output, l};
    sigset_t set;
    *l = (struct agent_loop){.options = *options,
                             .signal_fd = -1,
                             .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                             .console_left = CONSOLE_MAX_BYTES};
    agent_core_init(&l->core, &options->core, &sink);
    if (has_shell(l)) {
        l->core.runner.reaped = agent_shell_reaped;
        l->core.runner.reaped_ctx = options->shell;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->epoll_fd < 0 || l->signal_fd < 0 ||
        watch_fd(l, l->signal_fd, SOURCE_SIGNAL, EPOLLIN) != 0 ||
        !watch_writable(l, options->console, SOURCE_CONSOLE) ||
        !watch_writable(l, options->log, SOURCE_LOG) ||
        (has_shell(l) && watch_fd(l, options->shell->epoll_fd, SOURCE_SHELL, EPOLLIN) != 0)) {
        err_errno(e, ERR_PERMANENT, errno, "cannot watch for signals");
        agent_loop_fini(l);
        return -1;
    }
    return 0;
}

void agent_loop_fini(struct agent_loop *l)
{
    agent_core_fini(&l->core);
    if (l->signal_fd >= 0) {
        close(l->signal_fd);
        l->signal_fd = -1;
    }
    if (l->epoll_fd >= 0) {
        close(l->epoll_fd);
        l->epoll_fd = -1;
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static void work_for_shell(const struct agent_loop *l)
{
    if (has_shell(l)) {
        agent_shell_work(l->options.shell, clock_mono_ms());
    }
}

static void on_signals(struct agent_loop *l)
{
    struct signalfd_siginfo info;
    while (read(l->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            agent_core_child(&l->core, clock_mono_ms());
            work_for_shell(l);
        } else {
            agent_core_terminate(&l->core, clock_mono_ms());
        }
    }
}

static void on_event(struct agent_loop *l, enum source source)
{
    switch (source) {
    case SOURCE_TRANSPORT:
        l->transport.work(l->transport.ctx, clock_mono_ms());
        break;
    case SOURCE_SIGNAL:
        on_signals(l);
        break;
    case SOURCE_OUTPUT:
        agent_core_output(&l->core, clock_mono_ms());
        break;
    case SOURCE_CONSOLE:
        agent_output_flush(l->options.console);
        break;
    case SOURCE_LOG:
        agent_output_flush(l->options.log);
        break;
    case SOURCE_SHELL:
        work_for_shell(l);
        break;
    case SOURCES:
        break;
    }
}

static int64_t next_deadline(const struct agent_loop *l)
{
    int64_t core = agent_core_deadline(&l->core);
    int64_t transport = l->transport.deadline(l->transport.ctx);
    int64_t shell = has_shell(l) ? agent_shell_deadline(l->options.shell) : INT64_MAX;
    core = core < shell ? core : shell;
    return core < transport ? core : transport;
}

static int timeout_ms(int64_t deadline, int64_t now_ms)
{
    if (deadline == INT64_MAX) {
        return -1;
    }
    int64_t left = deadline - now_ms;
    return left < 0 ? 0 : left > WAIT_MAX_MS ? WAIT_MAX_MS : (int)left;
}

static void watch_output(struct agent_loop *l)
{
    if (!l->output_watched && l->core.runner.output_fd >= 0) {
        l->output_watched = watch_fd(l, l->core.runner.output_fd, SOURCE_OUTPUT, EPOLLIN) == 0;
        ASSERT(l->output_watched);
        agent_core_output(&l->core, clock_mono_ms());
    }
}

static void run_iteration(struct agent_loop *l)
{
    struct epoll_event ev[SOURCES];
    int64_t deadline = next_deadline(l);
    int n = epoll_wait(l->epoll_fd, ev, COUNT_OF(ev), timeout_ms(deadline, clock_mono_ms()));
    for (int i = 0; i < n && l->core.state != AGENT_ENDED; i++) {
        on_event(l, (enum source)ev[i].data.u32);
    }
    if (l->core.state == AGENT_ENDED) {
        return;
    }
    if (clock_mono_ms() >= l->transport.deadline(l->transport.ctx)) {
        l->transport.work(l->transport.ctx, clock_mono_ms());
    }
    if (has_shell(l) && clock_mono_ms() >= agent_shell_deadline(l->options.shell)) {
        work_for_shell(l);
    }
    agent_core_tick(&l->core, clock_mono_ms());
    watch_output(l);
}

int agent_loop_run(struct agent_loop *l, const struct agent_transport *transport, struct err *e)
{
    l->transport = *transport;
    /* epoll cannot wait on a regular file, and need not. */
    if (watch_fd(l, transport->fd, SOURCE_TRANSPORT, EPOLLIN | (transport->edges ? EPOLLET : 0)) !=
            0 &&
        errno != EPERM) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot wait for the host");
    }
    on_status(l, "READY " MAYFLY_VERSION);
    transport->work(transport->ctx, clock_mono_ms());
    watch_output(l);
    while (l->core.state != AGENT_ENDED) {
        run_iteration(l);
    }
    if (transport->ended != NULL) {
        transport->ended(transport->ctx, clock_mono_ms());
    }
    return 0;
}

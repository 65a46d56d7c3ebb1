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
#include "deploy/image/agent/agent_unique.h"

/* A waiting port is looked at so often even when no event came: the second way. */
#define LOOK_AGAIN_MS 250

enum source { SOURCE_PORT, SOURCE_SIGNAL, SOURCE_OUTPUT };

/* --- reports ------------------------------------------------------------------------------------
 */

static void write_all(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno != EINTR) {
            return; /* nobody to tell */
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
    int n = snprintf(text, sizeof(text), "%.78s\n", line);
    /* One write, so that the host never sees half a line. */
    write_all(l->status_fd, (struct slice){text, (size_t)n});
}

static void on_output(void *ctx, struct slice line)
{
    struct agent_loop *l = ctx;
    if (l->console_left == 0) {
        return;
    }
    if (line.len + 1 > l->console_left) {
        l->console_left = 0;
        log_warn("output_cut", LOG_INT("limit_bytes", CONSOLE_MAX_BYTES));
        return;
    }
    l->console_left -= line.len + 1;
    write_all(l->options.console_fd, line);
    write_all(l->options.console_fd, SLICE("\n"));
}

/* --- set-up -------------------------------------------------------------------------------------
 */

static int watch(struct agent_loop *l, int fd, enum source source)
{
    /* Edges, because a virtio port without a host is "hung up" all the time. */
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)source};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int agent_loop_init(struct agent_loop *l, const struct agent_loop_options *options,
                    struct agent_port *port, int status_fd, struct err *e)
{
    const struct agent_sink sink = {on_status, on_output, l};
    sigset_t set;
    *l = (struct agent_loop){.options = *options,
                             .port = port,
                             .status_fd = status_fd,
                             .signal_fd = -1,
                             .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                             .console_left = CONSOLE_MAX_BYTES};
    agent_core_init(&l->core, &options->core, &sink);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->epoll_fd < 0 || l->signal_fd < 0 || watch(l, l->signal_fd, SOURCE_SIGNAL) != 0 ||
        (watch(l, port->fd, SOURCE_PORT) != 0 && errno != EPERM)) {
        err_errno(e, ERR_PERMANENT, errno, "cannot watch the payload port");
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

/* --- frames -------------------------------------------------------------------------------------
 */

static void refuse(struct agent_loop *l, const char *word, const struct err *e)
{
    char line[240];
    log_error("payload_refused", LOG_STR("answer", word), LOG_ERR(e));
    snprintf(line, sizeof(line), "ERR %s: %.200s", word, e->message);
    agent_port_answer(l->port, line);
}

static void on_start_frame(struct agent_loop *l, const struct frame *frame)
{
    struct err e = {0};
    if (l->core.state != AGENT_WAITING) {
        agent_port_answer(l->port, "ERR already-started");
        return;
    }
    if (l->options.unique && agent_unique_apply(frame, &e) != 0) {
        refuse(l, "not-unique", &e);
        agent_core_terminate(&l->core, clock_mono_ms());
        return;
    }
    if (agent_core_start(&l->core, frame->packed, clock_mono_ms(), &e) != 0) {
        refuse(l, agent_reason_name(l->core.reason), &e);
        return;
    }
    agent_port_answer(l->port, "OK");
}

/* Deals with the whole frames that stand in the port's input. */
static void take_frames(struct agent_loop *l)
{
    for (;;) {
        struct frame frame;
        size_t used = 0;
        const char *reason = NULL;
        enum frame_kind kind = frame_parse(buf_slice(&l->port->input), &frame, &used, &reason);
        if (kind == FRAME_MORE && !l->port->input.failed) {
            return;
        }
        if (kind == FRAME_START) {
            on_start_frame(l, &frame);
        } else if (kind == FRAME_END) {
            agent_core_terminate(&l->core, clock_mono_ms());
            agent_port_answer(l->port, "OK");
        } else {
            char line[64];
            snprintf(line, sizeof(line), "ERR %s", reason != NULL ? reason : "bad-frame");
            agent_port_answer(l->port, line);
            used = l->port->input.len; /* start again with what comes next */
        }
        explicit_bzero(&frame, sizeof(frame));
        agent_port_drop(l->port, used);
    }
}

static void on_port(struct agent_loop *l)
{
    enum port_read got = agent_port_read(l->port);
    while (got == PORT_BYTES) {
        take_frames(l);
        got = agent_port_read(l->port);
    }
    if (got == PORT_GONE && l->core.state == AGENT_WAITING) {
        agent_core_terminate(&l->core, clock_mono_ms());
    }
}

/* --- the rest -----------------------------------------------------------------------------------
 */

static void on_signals(struct agent_loop *l)
{
    struct signalfd_siginfo info;
    while (read(l->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            agent_core_child(&l->core, clock_mono_ms());
        } else {
            agent_core_terminate(&l->core, clock_mono_ms());
        }
    }
}

static void on_event(struct agent_loop *l, enum source source)
{
    switch (source) {
    case SOURCE_PORT:
        on_port(l);
        break;
    case SOURCE_SIGNAL:
        on_signals(l);
        break;
    case SOURCE_OUTPUT:
        agent_core_output(&l->core, clock_mono_ms());
        break;
    }
}

static int timeout_ms(const struct agent_loop *l)
{
    int64_t deadline = agent_core_deadline(&l->core);
    if (l->core.state == AGENT_WAITING) {
        return LOOK_AGAIN_MS;
    }
    if (deadline == INT64_MAX) {
        return -1;
    }
    int64_t left = deadline - clock_mono_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void watch_output(struct agent_loop *l)
{
    if (!l->output_watched && l->core.runner.output_fd >= 0) {
        l->output_watched = watch(l, l->core.runner.output_fd, SOURCE_OUTPUT) == 0;
        ASSERT(l->output_watched);
        agent_core_output(&l->core, clock_mono_ms());
    }
}

void agent_loop_run(struct agent_loop *l)
{
    struct epoll_event ev[4];
    on_status(l, "READY " MAYFLY_VERSION);
    on_port(l);
    watch_output(l);
    while (l->core.state != AGENT_ENDED) {
        int n = epoll_wait(l->epoll_fd, ev, COUNT_OF(ev), timeout_ms(l));
        for (int i = 0; i < n && l->core.state != AGENT_ENDED; i++) {
            on_event(l, (enum source)ev[i].data.u32);
        }
        if (n == 0 && l->core.state == AGENT_WAITING) {
            on_port(l);
        }
        agent_core_tick(&l->core, clock_mono_ms());
        watch_output(l);
    }
}

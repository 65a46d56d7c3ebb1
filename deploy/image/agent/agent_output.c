#include "deploy/image/agent/agent_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define TERMINAL_POLL_MS 10

/* A file never blocks. A socket cannot be opened once more, and shares the flag with children. */
static int open_own(int fd)
{
    char path[40];
    struct stat st;
    bool is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = is_file ? -1 : open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0) {
        own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        int flags = own < 0 ? -1 : fcntl(own, F_GETFL);
        if (flags >= 0 && !is_file) {
            (void)fcntl(own, F_SETFL, flags | O_NONBLOCK);
        }
    }
    return own;
}

void agent_output_init(struct agent_output *o, int fd, const char *name)
{
    *o = (struct agent_output){.fd = fd < 0 ? -1 : open_own(fd), .name = name};
    buf_init(&o->held, OUTPUT_HELD_MAX);
}

void agent_output_fini(struct agent_output *o)
{
    if (o->fd >= 0) {
        close(o->fd);
        o->fd = -1;
    }
    buf_fini(&o->held);
}

/* Without the reader nothing can be written any more. */
static void give_up(struct agent_output *o)
{
    close(o->fd);
    o->fd = -1;
    o->sent = 0;
    buf_reset(&o->held);
}

static void report_dropped(struct agent_output *o)
{
    int64_t lines = o->dropped_lines;
    o->dropped_lines = 0;
    if (lines > 0) {
        log_warn("output_dropped", LOG_STR("output", o->name), LOG_INT("lines", lines));
    }
}

void agent_output_flush(struct agent_output *o)
{
    o->full = false;
    while (o->fd >= 0 && o->sent < o->held.len) {
        ssize_t n = write(o->fd, o->held.data + o->sent, o->held.len - o->sent);
        if (n > 0) {
            o->sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            o->full = true;
            return;
        } else if (n < 0 && errno != EINTR) {
            give_up(o);
            return;
        }
    }
    o->sent = 0;
    buf_reset(&o->held);
    report_dropped(o);
}

void agent_output_line(struct agent_output *o, struct slice line)
{
    if (o->fd < 0) {
        return;
    }
    if (line.len > OUTPUT_HELD_MAX - o->held.len && o->sent > 0) {
        memmove(o->held.data, o->held.data + o->sent, o->held.len - o->sent);
        o->held.len -= o->sent;
        o->sent = 0;
    }
    /* Once something was dropped, so is everything until the reader has caught up: one gap. */
    if (o->dropped_lines > 0 || line.len > OUTPUT_HELD_MAX - o->held.len) {
        o->dropped_lines++;
    } else {
        buf_append(&o->held, line);
    }
    if (!o->full) {
        agent_output_flush(o);
    }
}

void agent_output_drain(struct agent_output *o, int64_t wait_ms)
{
    int64_t until_ms = clock_mono_ms() + wait_ms;
    int queued = 0;
    agent_output_flush(o);
    while (o->fd >= 0 && o->held.len > 0 && clock_mono_ms() < until_ms) {
        struct pollfd p = {.fd = o->fd, .events = POLLOUT};
        (void)poll(&p, 1, (int)(until_ms - clock_mono_ms()));
        agent_output_flush(o);
    }
    /* What a terminal has taken is not yet at its end; tcdrain has no time limit. */
    while (o->fd >= 0 && isatty(o->fd) && ioctl(o->fd, TIOCOUTQ, &queued) == 0 && queued > 0 &&
           clock_mono_ms() < until_ms) {
        clock_sleep_until(clock_mono_ms() + TERMINAL_POLL_MS);
    }
}

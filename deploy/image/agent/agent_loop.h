/*
 * The agent's loop: the core between a virtio-serial port, signals, the runner's output and time.
 *
 * agent_loop_run says READY on the status port, waits for a frame, and returns when the machine's
 * life is over. The machine may be saved at any point after READY and woken from there many times;
 * nothing before the frame depends on time or on being the only one. The runner's output goes to
 * `console_fd`, at most CONSOLE_MAX_BYTES of it. One thread.
 */
#ifndef MAYFLY_AGENT_LOOP_H
#define MAYFLY_AGENT_LOOP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "deploy/image/agent/agent_core.h"
#include "deploy/image/agent/agent_virtio.h"

#define CONSOLE_MAX_BYTES 4194304

struct agent_loop_options {
    struct agent_options core;
    bool unique; /* make the machine unique before the runner starts */
    int console_fd;
};

struct agent_loop {
    struct agent_loop_options options;
    struct agent_port *port;
    int status_fd;
    int signal_fd;
    int epoll_fd;
    bool output_watched;
    size_t console_left;
    struct agent_core core;
};

/* Borrows port and status_fd. Blocks the signals that it reads from a descriptor. */
MUST_CHECK int agent_loop_init(struct agent_loop *l, const struct agent_loop_options *options,
                               struct agent_port *port, int status_fd, struct err *e);
void agent_loop_fini(struct agent_loop *l);

void agent_loop_run(struct agent_loop *l);

#endif

/*
 * The agent's event loop: passes the transport's events, signals, the runner's output and time to
 * the core.
 *
 * The transport receives the host's requests: frames on a virtio-serial port (agent_serial.h), or
 * hooks over HTTP (agent_lambda.h). agent_loop_run reports READY and returns when the VM is to end.
 * A snapshot may be taken at any point after READY and restored many times; nothing before the
 * payload depends on time or on being the only copy. Status lines go to the given descriptor, or to
 * the log; the runner's output goes to `console`, at most CONSOLE_MAX_BYTES of it. Nothing waits for
 * a reader (agent_output.h), except for that of the status lines: they are few enough for any pipe,
 * and a host must have the last one before the VM is off. One thread.
 */
#ifndef MAYFLY_AGENT_LOOP_H
#define MAYFLY_AGENT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "deploy/image/agent/agent_core.h"
#include "deploy/image/agent/agent_output.h"
#include "deploy/image/agent/agent_shell.h"

#define CONSOLE_MAX_BYTES 4194304

struct agent_transport {
    int fd;     /* to wait on for `work` */
    bool edges; /* edge-triggered: a virtio port is readable without a host */
    /* Handles pending events, without blocking. */
    void (*work)(void *ctx, int64_t now_ms);
    /* When `work` is due without an event, monotonic; INT64_MAX: never. */
    int64_t (*deadline)(void *ctx);
    /* Called when the core has ended. May be NULL. */
    void (*ended)(void *ctx, int64_t now_ms);
    void *ctx;
};

struct agent_loop_options {
    struct agent_options core;
    struct agent_output *console; /* both borrowed */
    struct agent_output *log;
    struct agent_shell *shell; /* borrowed; NULL: the VM has none */
    int status_fd;             /* -1: the log */
};

struct agent_loop {
    struct agent_loop_options options;
    struct agent_transport transport;
    int signal_fd;
    int epoll_fd;
    bool output_watched;
    size_t console_left;
    struct agent_core core;
};

MUST_CHECK int agent_loop_init(struct agent_loop *l, const struct agent_loop_options *options,
                               struct err *e);
void agent_loop_fini(struct agent_loop *l);

/* ERR_PERMANENT: the transport cannot be waited on. */
MUST_CHECK int agent_loop_run(struct agent_loop *l, const struct agent_transport *transport,
                              struct err *e);

#endif

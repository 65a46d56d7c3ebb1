/*
 * The shells that people open in a VM of a class with `shell: true`: a root login shell behind the
 * virtio-serial port AGENT_SHELL_PORT, which only such a VM has.
 *
 * One at a time: each OPEN (common/payload/shell_frame.h) starts a new shell, on a terminal of its own
 * or on two pipes, and ends the one before. Nothing waits: what the host does not read stays in the
 * terminal, and so stops the program that writes. The port must be an open descriptor that does not
 * block. agent_runner_reap reaps the shells. One thread.
 */
#ifndef MAYFLY_AGENT_SHELL_H
#define MAYFLY_AGENT_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/payload/shell_frame.h"

#define AGENT_SHELL_PORT "org.mayfly.shell"

/* A descriptor, and what it is waited on for; -1: none. */
struct agent_shell_end {
    int fd;
    uint32_t events;
};

struct agent_shell {
    int epoll_fd; /* readable when there is work; -1: this VM has no shell */
    struct agent_shell_end port;
    bool port_may_return; /* a character device: a host may connect again */
    int64_t retry_ms;     /* monotonic: when the port is read again; INT64_MAX: at an event */
    struct shell_bytes from_host;
    struct shell_bytes to_host;
    /* The session; the shell's pid is its process group and its session too. */
    unsigned char session;
    bool open;
    bool terminal;
    bool exited;
    bool input_ends;
    int exit_code;
    pid_t pid; /* 0: none that runs */
    struct agent_shell_end input;
    struct agent_shell_end output;
    size_t pending_len; /* input that the shell has not taken */
    char pending[SHELL_BODY_MAX];
};

/* Takes ownership of the port, also after a failure; -1: the VM has no shell. */
MUST_CHECK int agent_shell_init(struct agent_shell *s, int port, struct err *e);
/* Ends the shell, and what it started in its process group. */
void agent_shell_fini(struct agent_shell *s);

/* Handles pending events, without blocking. */
void agent_shell_work(struct agent_shell *s, int64_t now_ms);
/* When `work` is due without an event, monotonic; INT64_MAX: never. */
int64_t agent_shell_deadline(const struct agent_shell *s);
/* A child of this process was reaped. */
void agent_shell_reaped(void *ctx, pid_t pid, int status);

#endif

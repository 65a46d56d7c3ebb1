/*
 * The runner's process: starts it, reads its output, ends it, and then all of its children.
 *
 * It runs as the unprivileged user, in its own session, with the image's environment (agent_env.h)
 * and the JIT config in it, which is never in an argument list. Its standard output and error come
 * line by line, each at most RUNNER_LINE_MAX bytes (the rest of a longer one is dropped). All
 * orphaned processes of the VM are reaped here too. One thread.
 */
#ifndef MAYFLY_AGENT_RUNNER_H
#define MAYFLY_AGENT_RUNNER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_user.h"

#define RUNNER_LINE_MAX 2048

/* Another child of this process was reaped, with the status of waitpid. */
typedef void agent_reaped_fn(void *ctx, pid_t pid, int status);

struct agent_runner {
    pid_t pid;     /* also its session and process group; 0: none */
    int output_fd; /* -1: closed; does not block */
    struct buf line;
    agent_reaped_fn *reaped; /* NULL: nobody asks */
    void *reaped_ctx;
};

void agent_runner_init(struct agent_runner *r);
void agent_runner_fini(struct agent_runner *r);

/* user: NULL for the agent's user. ERR_PERMANENT if the program cannot be run, or a value is not
 * valid in an environment. */
MUST_CHECK int agent_runner_start(struct agent_runner *r, const char *path,
                                  const struct agent_user *user, const struct payload *payload,
                                  struct err *e);

/* Without the newline, valid during the call. */
typedef void runner_line_fn(void *ctx, struct slice line);

/* Passes the available lines to fn, those of 16 KiB at most in one call; at the end of the output also a last line without a newline. */
void agent_runner_read(struct agent_runner *r, runner_line_fn *fn, void *ctx);

/* TERM for the runner's own process, which passes it on as it sees fit. */
void agent_runner_stop(const struct agent_runner *r);
/* KILL for its session and all descendants of this process; as PID 1 for every process of the VM. */
void agent_runner_kill(const struct agent_runner *r);

/* Reaps all exited children. True once, when the runner itself has exited: *out_code is its exit
 * status, or 128 + the signal that killed it. */
bool agent_runner_reap(struct agent_runner *r, int *out_code);

#endif

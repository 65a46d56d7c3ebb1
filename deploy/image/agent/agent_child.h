/*
 * Programs that the agent starts beside the runner: the warm-up and the prepare program.
 *
 * A child has its own session, no standard input, and the agent's standard error for its output;
 * its environment is the image's (agent_env.h). agent_runner_reap reaps it. One thread.
 */
#ifndef MAYFLY_AGENT_CHILD_H
#define MAYFLY_AGENT_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_user.h"

/* Runs in the child; its result is the exit status. */
typedef int agent_child_fn(const void *ctx);

/* Returns the pid, which is also the session's, or -1 with *e filled. */
MUST_CHECK pid_t agent_child_start(agent_child_fn *fn, const void *ctx, struct err *e);

/* KILL for such a child and all that it started in its session, at any time after its start. */
void agent_child_kill(pid_t pid);

/* Executes `path` as that user (NULL: as the agent's user), for an agent_child_fn; returns only on
 * failure, with 127. argument: NULL for none; payload: whose proxies it gets, NULL for none. */
int agent_child_exec(const char *path, const char *argument, const struct agent_user *user,
                     const struct payload *payload);

/* Drops root permanently: groups, gid, uid. */
MUST_CHECK bool agent_child_become(const struct agent_user *user);

#endif

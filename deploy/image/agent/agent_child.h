/*
 * Programs that the agent starts beside the runner: a warm-up, what prepares a job.
 *
 * A child has a session of its own, no standard input, and the agent's standard error for its
 * output; it is told the usual PATH and nothing else. Reaped with all others by
 * agent_runner_reap. One thread.
 */
#ifndef MAYFLY_AGENT_CHILD_H
#define MAYFLY_AGENT_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "deploy/image/agent/agent_user.h"

#define AGENT_PATH_VALUE "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What the child does: runs in it, its result is the exit status. */
typedef int agent_child_fn(const void *ctx);

/* Returns the pid, which is the session's too; -1 with *e filled. */
MUST_CHECK pid_t agent_child_start(agent_child_fn *fn, const void *ctx, struct err *e);

/* Becomes the program `path` as that user (NULL: as ourselves), for an agent_child_fn; returns only
 * if that failed, with 127. argument: NULL for none. */
int agent_child_exec(const char *path, const char *argument, const struct agent_user *user);

/* Drops root for good: groups, gid, uid. */
MUST_CHECK bool agent_child_become(const struct agent_user *user);

#endif

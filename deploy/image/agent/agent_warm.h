/*
 * Warms a VM before its snapshot is taken: reads what the start of a job reads, so that it is in
 * the memory of every VM that is restored.
 *
 * A round runs `bin/Runner.Listener warmup` beside the runner as the runner's user, then reads the
 * runner's own programs and those of the usual tools, at most WARM_MAX_BYTES. It is a child of the
 * agent; the agent polls it, and kills it when its time has expired. Missing files and failures are
 * logged and ignored: a cold VM is slow, not broken. One thread.
 */
#ifndef MAYFLY_AGENT_WARM_H
#define MAYFLY_AGENT_WARM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "deploy/image/agent/agent_user.h"

/* Unused pages make each wake-up longer, so the amount is limited. */
#define WARM_MAX_BYTES (256 * 1024 * 1024)

struct agent_warm_options {
    const char *runner_path; /* bin/ is next to it */
    const struct agent_user *user;
    int64_t limit_ms; /* of a round */
};

enum warm_state { WARM_COLD, WARM_RUNNING, WARM_DONE };

struct agent_warm {
    enum warm_state state;
    pid_t pid;   /* of the child and its session, while it runs */
    int done_fd; /* at its end once the child has ended */
    int64_t deadline_ms;
    int64_t started_ms;
};

void agent_warm_init(struct agent_warm *w);
/* Ends a round in progress. */
void agent_warm_stop(struct agent_warm *w);

/* Starts the round at its first call; returns whether it has ended. */
bool agent_warm_poll(struct agent_warm *w, const struct agent_warm_options *options,
                     int64_t now_ms);

#endif

/*
 * A round of checks before a VM may run jobs: does the runner of this image start?
 *
 * As the runner's user, run.sh must be executable and `bin/Runner.Listener warmup` beside it must
 * exit 0. Where the options say so, a program of the image must exit 0 as well (Docker), and the
 * programs that a job starts are read, at most WARM_MAX_BYTES, which shows the platform the pages
 * to load first. A round is a child of the agent, which polls it, and kills it when its time has
 * expired. Its result stays. One thread.
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
    const char *check; /* run as the agent's user; NULL: none */
    bool read_files;
    int64_t limit_ms; /* of a round */
};

enum warm_state { WARM_COLD, WARM_RUNNING, WARM_PASSED, WARM_FAILED };

struct agent_warm {
    enum warm_state state;
    pid_t pid;     /* of the child and its session, while it runs */
    int report_fd; /* has the child's report, or is at its end once the child has ended */
    int64_t deadline_ms;
    int64_t started_ms;
};

void agent_warm_init(struct agent_warm *w);
/* Ends a round in progress, which then has failed. */
void agent_warm_stop(struct agent_warm *w);

/* Starts the round at its first call. Never WARM_COLD; a failure was logged. */
enum warm_state agent_warm_poll(struct agent_warm *w, const struct agent_warm_options *options,
                                int64_t now_ms);

#endif

/*
 * What became of the runner, from what it printed and its exit code.
 *
 * GitHub's run-helper.sh turns nearly every exit code of the listener into 0, so that the exit code
 * of run.sh alone says little: the lines that listener and helper print on their way out are read
 * too. Pure functions over the lines in their order; safe from any thread.
 */
#ifndef MAYFLY_AGENT_OUTCOME_H
#define MAYFLY_AGENT_OUTCOME_H

#include <stdbool.h>

#include "common/base/slice.h"

/* Why the VM ended; deploy/image/README.md explains each. */
enum agent_reason {
    AGENT_JOB_DONE,          /* the runner ran its job and exited */
    AGENT_NO_JOB,            /* it exited by itself, without an error and without a job */
    AGENT_REGISTRATION_GONE, /* GitHub no longer knows its registration */
    AGENT_SESSION_CONFLICT,  /* another runner uses its registration */
    AGENT_RUNNER_TOO_OLD,    /* GitHub gives no jobs to its version */
    AGENT_RUNNER_FAILED,     /* it failed before it had a job, or could not be run */
    AGENT_FAILED_IN_JOB,     /* it ended, or its listener did, while its job ran */
    AGENT_RUNNER_KILLED,     /* by SIGKILL, usually for lack of memory */
    AGENT_IDLE_TIMEOUT,      /* no job within idle_seconds */
    AGENT_MAX_DURATION,
    AGENT_BAD_PAYLOAD,
    AGENT_NOT_UNIQUE, /* the VM could not get its own identity */
    AGENT_TERMINATED, /* by the host or a signal */
};

const char *agent_reason_name(enum agent_reason reason);

enum agent_job {
    JOB_NONE,
    JOB_RUNNING,
    JOB_OVER,
    JOB_LOST, /* the listener was started again while it ran */
};

struct agent_outcome {
    enum agent_job job;
    bool job_failed;             /* by the runner's word, once the job is over */
    enum agent_reason announced; /* AGENT_NO_JOB: nothing that matters */
    int listener_code;           /* that the helper reported; 0: none, or an orderly end */
};

enum agent_event { EVENT_OTHER, EVENT_LISTENING, EVENT_JOB_STARTED, EVENT_JOB_OVER };

void agent_outcome_init(struct agent_outcome *o);

/* A line that the runner printed, without its newline. */
enum agent_event agent_outcome_line(struct agent_outcome *o, struct slice line);

/* Once run.sh has exited. *out_code: its exit code, or the listener's if the helper hid that. */
enum agent_reason agent_outcome_of(const struct agent_outcome *o, int exit_code, int *out_code);

#endif

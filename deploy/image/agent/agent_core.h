/*
 * The agent's core: the life of a VM from its payload to its end.
 *
 *     WAITING ──payload──> STARTED ──the runner exits───────────────────────────────> ENDED
 *        │                    ├──likewise, and its job failed──> HELD ──in time, requested──┤
 *        │                    └──idle, too long, requested──> ENDING (TERM, then KILL) ──┤
 *        └──bad payload, the runner cannot be run, end requested─────────────────────────┘
 *
 * TERM is for run.sh alone, as from a service manager with KillMode=process: GitHub's run.sh passes
 * an interrupt on to the listener, which reports its job cancelled and deletes its session. Its
 * helper and the steps have no handler, and would die before they could. KILL ends what is left
 * when run.sh has exited, or at the deadline.
 *
 * HELD keeps a VM whose job failed for the time that the payload says, with what the job left running,
 * for people who look into it.
 *
 * It depends neither on how the payload arrives nor on how the VM is powered off: the transport
 * (virtio serial in QEMU, hooks in Lambda) passes the packed payload, the loop passes time, signals
 * and output. It reports with status lines: STARTED, LISTENING, JOB, HELD
 * <seconds>, EXIT <code> <reason>. One
 * thread.
 */
#ifndef MAYFLY_AGENT_CORE_H
#define MAYFLY_AGENT_CORE_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "deploy/image/agent/agent_outcome.h"
#include "deploy/image/agent/agent_runner.h"
#include "deploy/image/agent/agent_user.h"

enum agent_state { AGENT_WAITING, AGENT_STARTED, AGENT_ENDING, AGENT_ENDED, AGENT_HELD };

struct agent_options {
    const char *runner_path;
    const struct agent_user *user; /* NULL: the agent's user */
    int64_t kill_grace_ms;         /* from TERM for the runner to KILL for all that is left */
};

/* A status line without its newline. */
typedef void agent_status_fn(void *ctx, const char *line);
/* A line that the runner printed. */
typedef void agent_output_fn(void *ctx, struct slice line);

struct agent_sink {
    agent_status_fn *status;
    agent_output_fn *output;
    void *ctx;
};

struct agent_core {
    struct agent_options options;
    struct agent_sink sink;
    enum agent_state state;
    struct agent_outcome outcome;
    enum agent_reason reason; /* once ENDING or ENDED */
    int exit_code;            /* once HELD or ENDED */
    int64_t hold_ms;          /* 0: not */
    int64_t idle_ms;          /* 0: never */
    int64_t idle_deadline_ms; /* monotonic; INT64_MAX: none */
    int64_t max_deadline_ms;
    int64_t hold_deadline_ms; /* while HELD */
    int64_t kill_deadline_ms;
    struct agent_runner runner;
};

void agent_core_init(struct agent_core *c, const struct agent_options *options,
                     const struct agent_sink *sink);
void agent_core_fini(struct agent_core *c);

/* Unpacks the payload and starts the runner. A failure ends the VM (ENDED, with its reason), except
 * ERR_CONFLICT: the runner was started before. */
MUST_CHECK int agent_core_start(struct agent_core *c, struct slice packed, int64_t now_ms,
                                struct err *e);

/* runner.output_fd is readable. */
void agent_core_output(struct agent_core *c, int64_t now_ms);
/* A child has exited. */
void agent_core_child(struct agent_core *c, int64_t now_ms);
/* Checks deadlines. */
void agent_core_tick(struct agent_core *c, int64_t now_ms);
/* Requests the end; allowed in every state. */
void agent_core_terminate(struct agent_core *c, int64_t now_ms);
/* Ends a VM that must not start its runner: AGENT_NOT_UNIQUE. Only while WAITING. */
void agent_core_reject(struct agent_core *c, enum agent_reason reason);
/* Whether the end was one that was to be expected. */
bool agent_core_ended_well(const struct agent_core *c);

/* When the next tick is due; INT64_MAX: none. */
int64_t agent_core_deadline(const struct agent_core *c);

#endif

/*
 * The agent's core: what happens to a machine between its payload and its end.
 *
 *     WAITING ──payload──> STARTED ──the runner ends──────────────────────────> ENDED
 *        │                    └──idle, too long, asked──> ENDING (TERM, then KILL) ──┘
 *        └──bad payload, the runner cannot be run, asked─────────────────────────┘
 *
 * It knows neither how the payload came nor how the machine is powered off: the transport (virtio
 * serial here, a hook in Lambda) gives it the packed payload, the loop gives it time, signals and
 * output. It reports by status lines: STARTED, LISTENING, JOB, EXIT <code> <reason>. One thread.
 */
#ifndef MAYFLY_AGENT_CORE_H
#define MAYFLY_AGENT_CORE_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "deploy/image/agent/agent_runner.h"
#include "deploy/image/agent/agent_user.h"

enum agent_state { AGENT_WAITING, AGENT_STARTED, AGENT_ENDING, AGENT_ENDED };

enum agent_reason {
    AGENT_JOB_DONE,      /* the runner exited 0 */
    AGENT_RUNNER_FAILED, /* it exited otherwise, or could not be run */
    AGENT_IDLE_TIMEOUT,  /* no job within idle_seconds */
    AGENT_MAX_DURATION,
    AGENT_BAD_PAYLOAD,
    AGENT_TERMINATED, /* asked to, by the host or a signal */
};

/* What the runner's output tells of it. */
enum agent_phase { AGENT_CONNECTING, AGENT_LISTENING, AGENT_RUNNING_JOB, AGENT_JOB_OVER };

struct agent_options {
    const char *runner_path;
    const struct agent_user *user; /* NULL: as ourselves */
    int64_t kill_grace_ms;         /* between TERM and KILL */
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
    enum agent_phase phase;
    enum agent_reason reason; /* once ENDING or ENDED */
    int exit_code;            /* once ENDED */
    int64_t idle_ms;          /* 0: never */
    int64_t idle_deadline_ms; /* monotonic; INT64_MAX: none */
    int64_t max_deadline_ms;
    int64_t kill_deadline_ms;
    struct agent_runner runner;
};

const char *agent_reason_name(enum agent_reason reason);

/* Borrows what the options and the sink point to. */
void agent_core_init(struct agent_core *c, const struct agent_options *options,
                     const struct agent_sink *sink);
void agent_core_fini(struct agent_core *c);

/* Unpacks, and starts the runner. A failure ends the machine's life (ENDED, with its reason),
 * except ERR_CONFLICT: it was started before. */
MUST_CHECK int agent_core_start(struct agent_core *c, struct slice packed, int64_t now_ms,
                                struct err *e);

/* Something is there to read at runner.output_fd. */
void agent_core_output(struct agent_core *c, int64_t now_ms);
/* A child has ended. */
void agent_core_child(struct agent_core *c, int64_t now_ms);
/* Deadlines. */
void agent_core_tick(struct agent_core *c, int64_t now_ms);
/* Asked to end; fine in every state. */
void agent_core_terminate(struct agent_core *c, int64_t now_ms);

/* When the next tick is due; INT64_MAX: not until something happens. */
int64_t agent_core_deadline(const struct agent_core *c);

#endif

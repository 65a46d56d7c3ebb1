/*
 * The transport of a Lambda MicroVM: the platform's hooks (agent_hooks.h) for the core.
 *
 *     ready, validate   503 while a round of warming is under way (agent_warm.h), then 200
 *     run               200 once the runner is started; the same payload again: 200, and nothing
 *                       happens; another one: 409; none: 400; a damaged one: 400, and the life of
 * the machine is over suspend           200 resume            200; randomness and clock are made
 * new, a runner goes on terminate         200 when the runner has ended, or at once if there is
 * none
 *
 * `ready` is asked before the snapshot, `validate` in a machine that woke from it, where a second
 * round teaches the platform what to fetch first. Beside the runner a program of the image may be
 * started, as root and in the background (Docker). The agent ends with the runner; who owns the
 * machine sees that and ends it. One thread.
 */
#ifndef MAYFLY_AGENT_LAMBDA_H
#define MAYFLY_AGENT_LAMBDA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "deploy/image/agent/agent_core.h"
#include "deploy/image/agent/agent_hooks.h"
#include "deploy/image/agent/agent_loop.h"
#include "deploy/image/agent/agent_warm.h"

struct agent_lambda_options {
    const char *address;
    int port;
    const char *prepare; /* a program to start with the runner; NULL: none */
    bool unique;         /* make the machine unique before the runner starts */
    struct agent_warm_options warm;
};

struct agent_lambda {
    struct agent_lambda_options options;
    struct agent_core *core;
    struct agent_hooks hooks;
    struct agent_warm ready;
    struct agent_warm validate;
    pid_t prepare_pid;     /* also its session; 0: none */
    uint64_t payload_mark; /* of the one that was taken; 0: none */
    int64_t now_ms;        /* of the turn */
};

/* Borrows what the options point to, and the core. */
MUST_CHECK int agent_lambda_open(struct agent_lambda *a, const struct agent_lambda_options *options,
                                 struct agent_core *core, struct err *e);
void agent_lambda_close(struct agent_lambda *a);

struct agent_transport agent_lambda_transport(struct agent_lambda *a);

#endif

/*
 * The transport of a Lambda MicroVM: passes the platform's hooks (agent_hooks.h) to the core.
 *
 *     ready, validate   503 while a round of checks runs (agent_warm.h), then 200 if it passed
 *                       and 500 if it failed: the image cannot run a job
 *     run               200 once the runner has started, and for a repetition of the same payload;
 *                       409 for another payload; 400 without a payload; 400 for a damaged one,
 *                       which also ends the VM. PAYLOAD_TRIAL: no runner is started, and
 *                       200 or 500 is the result of a round of checks
 *     suspend           200
 *     resume            200, with new randomness and the current time; a runner continues
 *     terminate         200 when the runner has ended, or at once if there is none
 *
 * The platform calls `ready` before it takes the snapshot, and `validate` in a VM restored from it,
 * where a second round also runs the image's own check (Docker) and shows the platform which pages
 * to load first. With the runner a program of
 * the image may be started, as root and in the background (Docker). The agent exits with the
 * runner, upon which the platform ends the VM. One thread.
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
#include "deploy/image/agent/agent_prepare.h"
#include "deploy/image/agent/agent_warm.h"

struct agent_lambda_options {
    const char *address;
    int port;
    const char *prepare;
    bool unique; /* make the VM unique before the runner starts */
    struct agent_warm_options warm;
};

struct agent_lambda {
    struct agent_lambda_options options;
    struct agent_core *core;
    struct agent_hooks hooks;
    struct agent_warm ready;
    struct agent_warm validate;
    struct agent_warm trial;
    struct agent_prepare prepare;
    uint64_t payload_fingerprint; /* of the accepted payload; 0: none */
    int64_t now_ms;               /* of the current iteration */
};

MUST_CHECK int agent_lambda_open(struct agent_lambda *a, const struct agent_lambda_options *options,
                                 struct agent_core *core, struct err *e);
void agent_lambda_close(struct agent_lambda *a);

struct agent_transport agent_lambda_transport(struct agent_lambda *a);

#endif

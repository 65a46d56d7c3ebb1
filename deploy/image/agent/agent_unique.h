/*
 * Makes a VM unique after it was restored from a snapshot that other VMs were restored from too.
 *
 * Randomness first (the kernel's generator is the same in every copy until it is reseeded), then
 * the clock, the host name, /etc/machine-id and the boot id. Needs root. Any failure is an error: a
 * VM that is not unique must not run a job. With `lenient` a step that is not permitted, or
 * the boot id for which a full /run has no room, is skipped and logged: in Lambda the platform itself reseeds and sets the clock on every wake-up, and only
 * an image with all capabilities may change the rest. One thread.
 */
#ifndef MAYFLY_AGENT_UNIQUE_H
#define MAYFLY_AGENT_UNIQUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define UNIQUE_ENTROPY_MAX 4400

struct agent_unique {
    struct slice
        entropy;     /* secret bytes that no other copy has; bytes above the maximum are ignored */
    bool credit;     /* credit it with 256 bits */
    int64_t wall_ms; /* the time; 0: from the hardware clock, if there is one */
    const char *hostname; /* "": keep the name */
    bool lenient;
};

MUST_CHECK int agent_unique_apply(const struct agent_unique *u, struct err *e);

/* Only randomness and clock, for a VM that resumes after a suspension. */
MUST_CHECK int agent_unique_refresh(const struct agent_unique *u, struct err *e);

#endif

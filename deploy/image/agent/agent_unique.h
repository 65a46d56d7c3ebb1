/*
 * What makes a machine unique after it woke from a snapshot that many others woke from.
 *
 * Randomness first (the kernel's generator is the same in every copy until it is reseeded), then
 * the clock, the host name, /etc/machine-id and the boot id. Needs root. Any failure is an error: a
 * machine that is not unique must not run a job. With `lenient` what is not permitted is
 * passed over and logged: in Lambda the platform itself reseeds and sets the clock on
 * every wake, and only an image with all capabilities may change the rest. One thread.
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
        entropy;     /* secret bytes that no other copy has; what is over the maximum is left */
    bool credit;     /* it is worth 256 bits */
    int64_t wall_ms; /* the time; 0: the hardware clock's, where there is one */
    const char *hostname; /* "": leave the name alone */
    bool lenient;
};

MUST_CHECK int agent_unique_apply(const struct agent_unique *u, struct err *e);

/* Randomness and clock alone, for a machine that was suspended and goes on. */
MUST_CHECK int agent_unique_refresh(const struct agent_unique *u, struct err *e);

#endif

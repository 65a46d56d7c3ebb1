/*
 * What makes a machine unique after it woke from a snapshot that many others woke from.
 *
 * Randomness first (the kernel's generator is the same in every copy until it is reseeded), then
 * the clock, the host name, /etc/machine-id and the boot id. Needs root. Any failure is an error: a
 * machine that is not unique must not run a job. One thread.
 */
#ifndef MAYFLY_AGENT_UNIQUE_H
#define MAYFLY_AGENT_UNIQUE_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "deploy/image/agent/agent_virtio.h"

MUST_CHECK int agent_unique_apply(const struct frame *frame, struct err *e);

#endif

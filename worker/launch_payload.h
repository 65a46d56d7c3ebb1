/*
 * What the agent of a launch's VM gets: the runner's registration, its limits, the class's proxies.
 */
#ifndef MAYFLY_WORKER_LAUNCH_PAYLOAD_H
#define MAYFLY_WORKER_LAUNCH_PAYLOAD_H

#include "common/base/buf.h"
#include "common/config/config.h"

/* Appends the packed payload, a secret, to out (PAYLOAD_PACKED_MAX). */
MUST_CHECK int launch_pack_payload(const struct config_class *class, const char *jit_config,
                                   const char *runner_name, struct buf *out, struct err *e);

#endif

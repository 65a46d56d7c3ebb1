/*
 * A delivery from GitHub's delivery log: what its payload means, for those that failed
 * (lost/deliveries.c) and those that are pulled (pull/). It came over TLS from GitHub's API, so there is
 * no signature to verify. Pure functions, any thread.
 */
#ifndef MAYFLY_REAPER_DELIVERY_H
#define MAYFLY_REAPER_DELIVERY_H

#include "common/github/github.h"
#include "common/github/webhook.h"

/* As webhook_parse; the job waits since GitHub sent the delivery, not since it was read. */
enum webhook_verdict delivery_parse(const struct github_delivery *d, struct slice payload,
                                    const struct config *c, struct job_event *out,
                                    const char **reason);

/* Whether the job, as GitHub has it now, still needs a runner. */
bool delivery_job_waits(const struct github_job *now);

#endif

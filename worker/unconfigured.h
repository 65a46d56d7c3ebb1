/*
 * Launch requests for what a reload has removed since: a class, or a scale set.
 */
#ifndef MAYFLY_WORKER_UNCONFIGURED_H
#define MAYFLY_WORKER_UNCONFIGURED_H

#include "worker/worker.h"

bool request_is_configured(const struct config *c, const struct launch_request *r);
/* What becomes of the message of one that is not. */
void return_unconfigured(struct worker *w, const struct config *c, const struct queue_message *m,
                         const struct launch_request *r);

#endif

/*
 * A launch request that is older than what the ledger knows (common/fleet/reconcile.h): the queue
 * outlived a ledger that was lost, emptied, or fell back. Its job may have run since, which the ledger
 * does not know any more; a VM for it would idle, and hold a slot that others wait for. So GitHub is
 * asked, once, about a job of such a request that has no row.
 */
#ifndef MAYFLY_WORKER_OLD_REQUEST_H
#define MAYFLY_WORKER_OLD_REQUEST_H

#include "worker/worker.h"

/* Before a slot is reserved: enters the job as running or over if GitHub says so. Without a response
 * the launch goes on as if the job waited: a VM too many idles out. known_since_ms: wall clock, as in
 * struct fleet_knowledge. */
void old_request_check(struct worker *w, const struct launch_request *r, const char *scope,
                       int64_t known_since_ms);

#endif

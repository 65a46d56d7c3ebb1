/*
 * A check at the start against a combination that wastes hosts: VMs bound to their host, several
 * hosts, and a queue that binds messages to consumers.
 */
#ifndef MAYFLY_WORKER_NEIGHBOURS_H
#define MAYFLY_WORKER_NEIGHBOURS_H

#include <stdbool.h>

#include "worker/worker.h"

/* Logs a warning if workers on other hosts share the lanes of a class whose VMs run on this host
 * only, and the queue gives each its own part of a lane. A call to the ledger; its failure is
 * ignored. Returns whether it warned. */
bool neighbours_check(struct worker *w, const struct config *c);

#endif

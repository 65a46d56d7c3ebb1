/*
 * A check at the start: classes that are not configured, and of which something is left.
 */
#ifndef MAYFLY_WORKER_FORMER_CLASSES_H
#define MAYFLY_WORKER_FORMER_CLASSES_H

#include "worker/worker.h"

/* Warns of each such class that has VMs, jobs that wait or messages. Calls to ledger and queue; their
 * failures are ignored. Returns how many it warned of. */
size_t former_classes_check(struct worker *w, const struct config *c);

#endif

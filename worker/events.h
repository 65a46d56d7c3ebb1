/*
 * The events lane: job events from GitHub, applied to the ledger.
 *
 * Events are always received, whatever is at its cap: they release slots (invariant 5). The events
 * of a batch are applied one by one and acknowledged together. An event is never lost to an error:
 * its message returns with backoff and spends no attempt; only a message that cannot be decoded is
 * dead-lettered.
 */
#ifndef MAYFLY_WORKER_EVENTS_H
#define MAYFLY_WORKER_EVENTS_H

#include "worker/worker.h"

struct events;
/* After a failure no thread runs, and w->intake is raised. */
MUST_CHECK int events_start(struct worker *w, size_t threads, struct events **out, struct err *e);
/* After w->intake was raised. NULL is fine. */
void events_join(struct events *s);

#endif

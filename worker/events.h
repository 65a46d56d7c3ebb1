/*
 * The events lane: what GitHub says happened to jobs, noted in the ledger.
 *
 * Events are always taken, whatever is full: they are what frees slots (invariant 5). A batch is
 * noted one by one and settled together. An event is never lost to an error: it goes back with
 * back-off and spends no attempt; only a record that nobody can read is buried.
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

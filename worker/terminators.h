/*
 * Ending VMs whose job is over: asks, insists, and frees the slot.
 *
 * The events threads hand rows over; a bounded number of threads end them. The hand-off is only
 * the fast way: what is lost with the process (or did not fit) stands in the ledger as `ending`,
 * and every worker looks there from time to time, as the reaper does.
 *
 * All workers and reapers end VMs at one rate (limits.terminate_rate): these threads wait for their
 * turns, nobody else does. A VM that the provider refused to end for speed goes to the end of the
 * line.
 */
#ifndef MAYFLY_WORKER_TERMINATORS_H
#define MAYFLY_WORKER_TERMINATORS_H

#include "worker/worker.h"

/* After a failure no thread runs, and w->working is raised. */
MUST_CHECK int terminators_start(struct worker *w, size_t threads, struct terminators **out,
                                 struct err *e);
/* A row that is ending; copied. Never blocks: past its bound it is dropped, for the ledger to tell
 * again. */
void terminators_add(struct terminators *s, const struct ledger_vm *vm);
/* After w->working was raised. NULL is fine. */
void terminators_join(struct terminators *s);

#endif

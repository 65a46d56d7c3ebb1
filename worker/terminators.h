/*
 * Terminates VMs whose job has ended: waits for the grace period, terminates, and releases the
 * slot.
 *
 * The event consumers add rows; a bounded number of threads terminate their VMs. This hand-off is
 * only the fast way: rows that are lost with the process, or did not fit, are `ending` in the
 * ledger, and every worker scans for those from time to time, as the reaper does.
 *
 * All workers and reapers share one rate (limits.terminate_rate): only these threads wait for it. A
 * VM that the provider refused to terminate because of its rate limit goes to the end of the queue.
 */
#ifndef MAYFLY_WORKER_TERMINATORS_H
#define MAYFLY_WORKER_TERMINATORS_H

#include "worker/worker.h"

/* After a failure no thread runs, and w->working is raised. */
MUST_CHECK int terminators_start(struct worker *w, size_t threads, struct terminators **out,
                                 struct err *e);
/* Adds a row that is `ending`; copied. Never blocks: beyond the bound it is dropped, and a later
 * scan of the ledger finds it. */
void terminators_add(struct terminators *s, const struct ledger_vm *vm);
/* After w->working was raised. NULL is fine. */
void terminators_join(struct terminators *s);

#endif

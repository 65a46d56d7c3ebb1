/*
 * The id of a VM that was launched while the ledger was away.
 */
#ifndef MAYFLY_WORKER_HAND_OVER_H
#define MAYFLY_WORKER_HAND_OVER_H

#include "worker/worker.h"

/* The ledger has been away for longer than the launch's lease: the VM's id goes to it by the lane of
 * events. *a: the move to launched. False: the queue did not take it. */
bool hand_over_vm(struct worker *w, const struct ledger_advance *a);

#endif

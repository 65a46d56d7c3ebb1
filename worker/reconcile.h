/*
 * Before a class's VMs are launched: that the ledger knows those that run (common/fleet/reconcile.h).
 * Where it does not, one worker at a time compares them.
 */
#ifndef MAYFLY_WORKER_RECONCILE_H
#define MAYFLY_WORKER_RECONCILE_H

#include "worker/worker.h"

/* 0: it knows them, *known_since_ms as in struct fleet_knowledge; else the wait before the next look. Lists the class's VMs if nobody else does;
 * what fails is logged, and opens the circuit of its target where that is in trouble. */
int64_t reconcile_wait_ms(struct worker *w, const struct config *c,
                          const struct config_class *class, const struct subjects *subjects,
                          int64_t *known_since_ms);

/* For a launch whose slot is reserved: the ledger knew all VMs of the class when it was, which the
 * lane's look before does not prove, since it may have been emptied in between. Without a response
 * the launch goes on: its next write, which must succeed, shows whether its row is there. */
MUST_CHECK int reconcile_check(struct worker *w, const struct config_class *class, struct err *e);

/* The row of a launch was lost, and its VM runs: it gets another of its name, so that the events of
 * its job find it. */
MUST_CHECK int reconcile_restore_row(struct worker *w, const struct ledger_vm *vm,
                                     const struct ledger_advance *launched, struct err *e);

#endif

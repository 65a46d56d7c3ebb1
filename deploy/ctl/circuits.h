/*
 * Open circuits (common/ledger/circuit.h) for people.
 */
#ifndef MAYFLY_CTL_CIRCUITS_H
#define MAYFLY_CTL_CIRCUITS_H

#include "common/config/config.h"
#include "common/ledger/circuit.h"
#include "deploy/ctl/ctl.h"

struct ctl_circuit {
    char subject[LEDGER_CELL_NAME]; /* "kind:name"; "" none */
    struct circuit circuit;
};

/* All that are open. *out: owned, free(). */
MUST_CHECK int ctl_circuits(struct ctl *c, struct ctl_circuit **out, size_t *n, struct err *e);
/* Adds them as "circuits", and prints that. */
MUST_CHECK int ctl_add_circuits(struct ctl *c, json_t *answer, struct err *e);
void ctl_circuits_print(const json_t *answer);

/* The domain of the provider there; "": its VMs run on the worker's host. */
void ctl_domain_of(const struct config_class *place, char out[LEDGER_CELL_NAME]);
/* The one that stops all launches there longest; of those that one host alone sees none does. NULL: none. */
const struct ctl_circuit *ctl_circuit_of_place(const struct ctl_circuit *all, size_t n,
                                               const struct config_class *place);

/* The one that stops a job of the class longest, at all its places and on all hosts that have a worker;
 * subject "": none does. */
MUST_CHECK int ctl_circuit_of_job(struct ctl *c, const struct job *job,
                                  const struct config_class *class, struct ctl_circuit *out,
                                  struct err *e);

#endif

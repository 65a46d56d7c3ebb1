/*
 * What a ledger backend implements. For the front (ledger.c) and the backends alone.
 *
 * The front checks arguments, makes VM names and client tokens, and knows the allowed edges; a
 * backend carries out each step atomically. Contracts stand in ledger.h.
 */
#ifndef MAYFLY_LEDGER_BACKEND_H
#define MAYFLY_LEDGER_BACKEND_H

#include "common/ledger/ledger.h"

/* Whether a job may go from one state to another, and a VM; shared by all backends. */
bool ledger_job_edge(enum ledger_job_state from, enum ledger_job_state to);
bool ledger_vm_edge(enum ledger_vm_state from, enum ledger_vm_state to);

#endif

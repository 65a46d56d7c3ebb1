/*
 * The ledger's steps on one cell, written once for all stores (txn.h): any cell, and the kinds
 * that belong to the ledger: leases, counters and paces.
 *
 * For ledger.c alone, which has checked the arguments. The contracts are in ledger.h.
 */
#ifndef MAYFLY_LEDGER_CELLS_H
#define MAYFLY_LEDGER_CELLS_H

#include "common/ledger/txn.h"

#define LEDGER_CELL_LEASE "lease"
#define LEDGER_CELL_COUNTER "counter"
#define LEDGER_CELL_PACE "pace" /* the next start time (ledger_rule_start) */

/* Sets cell->value, or removes the cell, if the stored version is cell->version. *version: the new
 * one, 0 if removed. */
MUST_CHECK int ledger_step_put_cell(const struct ledger_txn_ops *ops, void *state,
                                    const struct ledger_cell *cell, bool remove, int64_t *version,
                                    struct err *e);

/* Parts of a step. Writes a loaded cell whose value was changed. */
MUST_CHECK int ledger_write_next_version(struct ledger_txn *t, struct ledger_cell *cell,
                                         struct err *e);
/* Takes the next start time of a pace (ledger_vm_advance_paced). */
MUST_CHECK int ledger_take_start(struct ledger_txn *t, const struct ledger_bucket *pace,
                                 int64_t *wait_ms, struct err *e);

/* What this process has observed of a lease's cell. */
struct ledger_lease_seen {
    int64_t version;
    int64_t since_ms; /* monotonic: when it was first seen in this version */
};
struct ledger_lease {
    const char *name;
    const char *holder;
    /* Unused by a release: */
    int64_t ttl_ms;
    struct ledger_lease_seen *seen;
};
MUST_CHECK int ledger_step_lease(const struct ledger_txn_ops *ops, void *state,
                                 const struct ledger_lease *request, bool *held, int64_t *fence,
                                 struct err *e);
MUST_CHECK int ledger_step_release(const struct ledger_txn_ops *ops, void *state,
                                   const struct ledger_lease *request, struct err *e);

struct ledger_counter_change {
    const char *name;
    bool add; /* else set */
    int64_t n;
};
MUST_CHECK int ledger_step_count(const struct ledger_txn_ops *ops, void *state,
                                 const struct ledger_counter_change *request, int64_t *after,
                                 struct err *e);
/* The value of a counter's cell; 0 if it does not exist. */
int64_t ledger_cell_number(const struct ledger_cell *cell);

#endif

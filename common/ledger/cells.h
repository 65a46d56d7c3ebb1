/*
 * The ledger's steps on one cell, written once for all stores (txn.h): any cell, and the two
 * kinds that are the ledger's own, leases and counters.
 *
 * For ledger.c alone, which has checked the arguments; what each step means stands in ledger.h.
 */
#ifndef MAYFLY_LEDGER_CELLS_H
#define MAYFLY_LEDGER_CELLS_H

#include "common/ledger/txn.h"

#define LEDGER_CELL_LEASE "lease"
#define LEDGER_CELL_COUNTER "counter"

/* Puts cell->value, or removes the cell, if the cell's version is cell->version. *version: the new
 * one, 0 if removed. */
MUST_CHECK int ledger_step_put_cell(const struct ledger_txn_ops *ops, void *state,
                                    const struct ledger_cell *cell, bool remove, int64_t *version,
                                    struct err *e);

/* What this process has seen of a lease's cell. */
struct ledger_lease_seen {
    int64_t version;
    int64_t since_ms; /* monotonic: when it was first seen in this version */
};
struct ledger_lease {
    const char *name;
    const char *holder;
    /* Not of a release: */
    int64_t ttl_ms;
    struct ledger_lease_seen *seen;
};
MUST_CHECK int ledger_step_lease(const struct ledger_txn_ops *ops, void *state,
                                 const struct ledger_lease *asked, bool *held, int64_t *fence,
                                 struct err *e);
MUST_CHECK int ledger_step_release(const struct ledger_txn_ops *ops, void *state,
                                   const struct ledger_lease *asked, struct err *e);

struct ledger_counting {
    const char *name;
    bool add; /* else set */
    int64_t n;
};
MUST_CHECK int ledger_step_count(const struct ledger_txn_ops *ops, void *state,
                                 const struct ledger_counting *asked, int64_t *after,
                                 struct err *e);
/* Of a counter's cell; 0 if there is none. */
int64_t ledger_cell_number(const struct ledger_cell *cell);

#endif

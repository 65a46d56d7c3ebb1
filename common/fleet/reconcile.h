/*
 * Whether the ledger knows the VMs that run, without which its caps are worth nothing (invariant 3).
 * A ledger that was lost, emptied, moved or restored from an older copy has fewer rows than there
 * are VMs.
 *
 * A cell per class (for VMs that are bound to a host: per class and host) holds when its VMs were
 * last compared with the rows, and in which history of the ledger (ledger_history). Reapers renew it.
 * Where it is missing, older than five minutes, or of another history, no worker launches VMs of the class; the first one that meets this compares
 * them itself: it lists the VMs, reads the rows, and adds a row for each VM that has none. When a
 * comparison adds none and leaves none in doubt, the cell is written and launches begin: in a new
 * deployment at once. After a loss it is repeated a little later, since launches may be under way, also
 * of rows that were lost, and lists lag. No reaper is needed.
 *
 * The cell also holds since when the ledger has known everything: since the first comparison after it
 * was new, emptied, or may have lost writes. What is older, like a message in a queue that outlived it,
 * may be about a job whose end was lost.
 *
 * All functions block, any thread. Errors are the ledger's or the provider's.
 */
#ifndef MAYFLY_FLEET_RECONCILE_H
#define MAYFLY_FLEET_RECONCILE_H

#include "common/fleet/fleet.h"

enum fleet_reconciled {
    FLEET_NEVER_RECONCILED, /* the ledger is new, or was emptied */
    FLEET_HISTORY_BROKEN,   /* it may have lost its last writes (ledger_history) */
    FLEET_RECONCILED_LONG_AGO,
    FLEET_RECONCILED,
};
struct fleet_knowledge {
    enum fleet_reconciled state;
    int64_t since_ms; /* wall clock; 0: unknown, or not reconciled */
};
/* Reads the class's cell. */
MUST_CHECK int fleet_reconciled(struct fleet *f, const char *class_name,
                                struct fleet_knowledge *out, struct err *e);

struct fleet_comparison {
    bool done;        /* false: another process made one a moment ago */
    size_t adopted;   /* VMs that got a row */
    size_t under_way; /* VMs that may be those of launches under way, or may have no row */
    int64_t since_ms; /* as in fleet_knowledge, if it is clear */
};
static inline bool fleet_comparison_is_clear(const struct fleet_comparison *c)
{
    return c->done && c->adopted == 0 && c->under_way == 0;
}
/* One comparison, unless another process made one less than a third of a lease ago. One that is
 * clear reconciles the class. lease_ms: worker.visibility_timeout. */
MUST_CHECK int fleet_reconcile(struct fleet *f, const struct config_class *class, int64_t lease_ms,
                               struct fleet_comparison *out, struct err *e);

/* A reaper compares them in each sweep: renews the cell, unless that is a worker's task. */
MUST_CHECK int fleet_still_reconciled(struct fleet *f, const char *class_name, struct err *e);

/* Removes the cells of hosts and classes that nobody has reconciled for a day. */
MUST_CHECK int fleet_tidy_reconciled(struct ledger *l, struct err *e);

/* The name of the row that fleet_adopt adds: the VM's own, or one made from its id. */
void fleet_adopted_name(const struct vm_info *listed, char out[VM_NAME_SIZE]);
/* Adds a row for a VM without one, unless a fresh look shows that it has ended. *added: false also if
 * there was a row of that name. */
MUST_CHECK int fleet_adopt(struct fleet *f, const struct config_class *class,
                           const struct vm_info *listed, bool *added, struct err *e);

/* Whether the VM was started while that row's launch was under way, so that it may be the row's if
 * the row has no VM id. Clocks differ by at most reaper.deadline_grace_period. Pure. */
bool fleet_may_belong_to_row(const struct fleet *f, const struct ledger_vm *row,
                             const struct vm_info *listed, int64_t now_ms);

#endif

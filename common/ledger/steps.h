/*
 * The ledger's steps on one job and one VM, written once for all stores (txn.h).
 *
 * For ledger.c alone, which has checked the arguments. The contracts are in ledger.h.
 */
#ifndef MAYFLY_LEDGER_STEPS_H
#define MAYFLY_LEDGER_STEPS_H

#include "common/ledger/observer.h"
#include "common/ledger/txn.h"

/* Where the steps run, and who is called about the transitions that they committed. */
struct ledger_store {
    const struct ledger_txn_ops *ops;
    void *state;
    ledger_observer_fn *observe; /* NULL: nobody */
    void *observe_arg;
};

MUST_CHECK int ledger_step_apply_event(const struct ledger_store *s, const struct job_event *ev,
                                       const char *scope, struct ledger_effect *out, struct err *e);
MUST_CHECK int ledger_step_reconcile_job(const struct ledger_store *s, int64_t job_id,
                                         enum ledger_job_state to, const char *conclusion,
                                         const char *why, struct err *e);
MUST_CHECK int ledger_step_relaunched(const struct ledger_store *s, int64_t job_id, struct err *e);
int ledger_step_asked(const struct ledger_store *s, int64_t job_id, struct err *e);
MUST_CHECK int ledger_step_advance(const struct ledger_store *s, const struct ledger_advance *a,
                                   bool *changed, struct err *e);
MUST_CHECK int ledger_step_advance_paced(const struct ledger_store *s,
                                         const struct ledger_advance *a,
                                         const struct ledger_bucket *pace, int64_t *wait_ms,
                                         struct err *e);
MUST_CHECK int ledger_step_adopt(const struct ledger_store *s, const struct ledger_adoption *a,
                                 bool *added, struct err *e);
MUST_CHECK int ledger_step_heartbeat(const struct ledger_store *s, const char *vm, struct err *e);
/* vm "": none. */
MUST_CHECK int ledger_step_log_event(const struct ledger_store *s, int64_t job_id, const char *vm,
                                     const char *what, const char *detail, struct err *e);

/* Passes on what a reservation, which each store makes in its own form, has changed. */
void ledger_step_reserved(const struct ledger_store *s, const struct ledger_reserve *r,
                          const struct ledger_reservation *res);

#endif

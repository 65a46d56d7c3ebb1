/*
 * The parts of the ledger's front: argument checks, metrics.
 *
 * For ledger.c and its tests alone. Pure functions but for the metrics, which are lock-free; any
 * thread. A failed check is ERR_PERMANENT and names the argument: it is the caller's bug, or data
 * of a peer that nobody checked.
 */
#ifndef MAYFLY_LEDGER_FRONT_H
#define MAYFLY_LEDGER_FRONT_H

#include "common/ledger/ledger.h"

/* --- checks --- */
/* 1 to size - 1 bytes. */
MUST_CHECK int ledger_check_text(const char *argument, const char *value, size_t size,
                                 struct err *e);
MUST_CHECK int ledger_check_positive(const char *argument, int64_t value, struct err *e);
/* A job id, a repository, and a known action. */
MUST_CHECK int ledger_check_event(const struct job_event *ev, struct err *e);
MUST_CHECK int ledger_check_reserve(const struct ledger_reserve *r, struct err *e);
MUST_CHECK int ledger_check_advance(const struct ledger_advance *a, struct err *e);
MUST_CHECK int ledger_check_bucket(const struct ledger_bucket *b, int64_t cost, struct err *e);

/* --- a store's clock --- */
/* For tests: what stores that have a clock of their own (Redis) take for its time; NULL for theirs.
 * A store without one goes by clock_wall_ms. Any thread. */
typedef int64_t ledger_clock_fn(void);
void ledger_set_store_clock(ledger_clock_fn *wall_ms);

/* --- metrics --- */
enum ledger_op {
    OP_PING,
    OP_APPLY_EVENT,
    OP_JOB_GET,
    OP_RECONCILE_JOB,
    OP_JOBS_WAITING,
    OP_JOB_RELAUNCHED,
    OP_RESERVE,
    OP_ROOM,
    OP_FREED,
    OP_BALANCES,
    OP_SCOPES,
    OP_VM_ADVANCE,
    OP_VM_HEARTBEAT,
    OP_VM_GET,
    OP_VM_LIST,
    OP_LOG_EVENT,
    OP_TIMELINE,
    OP_RATE,
    OP_LEASE,
    OP_MARK,
    OP_CELL,
    OP_COUNTS,
    OP_TIDY,
    OP_REPAIR,
    OP_COUNT
};
void ledger_metrics_init(void); /* any number of times */
/* Observes how long the call took, and that it failed if rc is not 0; returns rc. */
int ledger_metrics_op(enum ledger_op op, int64_t began_us, int rc);
void ledger_metrics_outcome(enum ledger_outcome o);

#endif

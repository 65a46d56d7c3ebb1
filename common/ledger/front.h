/*
 * The parts of the ledger's front: the handle, argument checks, metrics.
 *
 * For ledger.c, front_cells.c and their tests alone. Any thread: the checks are pure functions, the
 * metrics are lock-free. A failed check is ERR_PERMANENT and names the argument: a caller's bug, or unchecked
 * data of a peer.
 */
#ifndef MAYFLY_LEDGER_FRONT_H
#define MAYFLY_LEDGER_FRONT_H

#include <pthread.h>

#include "common/ledger/cells.h"
#include "common/ledger/ledger.h"
#include "common/ledger/ledger_backend.h"
#include "common/ledger/steps.h"

/* --- the handle --- */
#define LEASES_SEEN 8 /* a process uses two */
struct ledger {
    const struct ledger_ops *ops;
    void *state;
    struct ledger_store store; /* the same, for the steps */
    pthread_mutex_t lock;
    /* Under the lock: what was observed of the leases requested last. */
    struct lease_memory {
        char name[LEDGER_CELL_NAME];
        struct ledger_lease_seen seen;
    } leases[LEASES_SEEN];
    size_t next_lease;
};

/* --- checks --- */
/* 1 to size - 1 bytes. */
MUST_CHECK int ledger_check_text(const char *argument, const char *value, size_t size,
                                 struct err *e);
MUST_CHECK int ledger_check_positive(const char *argument, int64_t value, struct err *e);
/* A job id, a repository, and a known action. */
MUST_CHECK int ledger_check_event(const struct job_event *ev, struct err *e);
MUST_CHECK int ledger_check_reserve(const struct ledger_reserve *r, struct err *e);
MUST_CHECK int ledger_check_target(const char *name, double per_second, struct err *e);
MUST_CHECK int ledger_check_advance(const struct ledger_advance *a, struct err *e);
MUST_CHECK int ledger_check_bucket(const struct ledger_bucket *b, int64_t cost, struct err *e);

/* --- a store's clock --- */
/* For tests: replaces the clock of stores that have their own (Redis); NULL restores it. Other
 * stores use clock_wall_ms. Any thread. */
typedef int64_t ledger_clock_fn(void);
void ledger_set_store_clock(ledger_clock_fn *wall_ms);

/* --- metrics --- */
enum ledger_op {
    OP_PING,
    OP_APPLY_EVENT,
    OP_JOB_GET,
    OP_RECONCILE_JOB,
    OP_JOBS_WAITING,
    OP_JOBS_RUNNING,
    OP_JOBS_LIST,
    OP_JOB_ASKED,
    OP_JOB_RELAUNCHED,
    OP_RESERVE,
    OP_CAPACITY,
    OP_TARGETS,
    OP_RELEASE_SEQ,
    OP_BALANCES,
    OP_SCOPES,
    OP_VM_ADVANCE,
    OP_VM_ADOPT,
    OP_VM_HEARTBEAT,
    OP_VM_GET,
    OP_VM_LIST,
    OP_LOG_EVENT,
    OP_TIMELINE,
    OP_RATE,
    OP_LEASE,
    OP_COUNTER,
    OP_CELL,
    OP_COUNTS,
    OP_TIDY,
    OP_REPAIR,
    OP_COUNT
};
/* Ends a call of the front: observes it, and returns rc. */
int ledger_end_op(const struct ledger *l, enum ledger_op op, int64_t began_us, int rc,
                  const struct err *e);
/* Observes a call and how it ended (mayfly_call_seconds); returns rc. */
int ledger_metrics_op(enum ledger_op op, int64_t began_us, int rc, const struct err *e);
/* Observes what a committed step means to a job and to its VM: how long it waited, ran, lived. job, vm:
 * as they are after it; NULL: its state did not move. The step of a delivery alone has both, and is the
 * only one that knows when something happened to the job. */
void ledger_metrics_moved(const struct ledger_job *job, const struct ledger_vm *vm,
                          bool by_delivery);

#endif

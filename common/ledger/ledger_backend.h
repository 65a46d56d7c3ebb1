/*
 * What a ledger backend implements. For the front (ledger.c) and the backends alone.
 *
 * The front checks arguments, generates VM names and client tokens, and owns the metrics. A backend
 * executes each step atomically, decides by rules.h, and writes timelines by messages.h. The
 * contracts are in ledger.h; differences are stated at the types here. `state` is the backend's
 * handle. All functions may be called from any number of threads. Outputs are never NULL, and
 * untouched on failure. Every backend must pass tests/conformance/ledger_suite.c.
 */
#ifndef MAYFLY_LEDGER_BACKEND_H
#define MAYFLY_LEDGER_BACKEND_H

#include "common/ledger/ledger.h"
#include "common/ledger/rules.h"
#include "common/ledger/txn.h"

/* existing: creates nothing; ERR_NOT_FOUND if there is no store. */
typedef int ledger_open_fn(const char *url, bool existing, void **out_state, struct err *e);
typedef void ledger_close_fn(void *state);
typedef int ledger_ping_fn(void *state, struct err *e);

typedef int ledger_job_get_fn(void *state, int64_t job_id, struct ledger_job *out, struct err *e);
/* A page of an index of jobs by age: what follows an entry, which need not exist any more. Entries of the
 * same time are ordered by id. Reads that many entries and rows, however many there are. */
enum ledger_job_index {
    LEDGER_INDEX_WAITING, /* of one scope and class, by waiting_ms */
    LEDGER_INDEX_RUNNING, /* by updated_ms */
    LEDGER_INDEX_SEEN,    /* by updated_ms */
    LEDGER_INDEX_ENDED    /* done and cancelled, by ended_ms */
};
struct ledger_job_page {
    enum ledger_job_index index;
    const char *scope; /* of LEDGER_INDEX_WAITING */
    const char *class_name;
    int64_t after_ms; /* in the store's own time, as at_ms below */
    int64_t after_id;
    bool newest_first;
    size_t max; /* 1 to LEDGER_JOB_PAGE */
};
#define LEDGER_JOB_PAGE 100
struct ledger_indexed_job {
    int64_t at_ms;
    int64_t id;
    bool known; /* whether its row is there; the index may lag behind it */
    struct ledger_job job;
};
/* *n < max only at the end of the index. *out: owned, free(). */
typedef int ledger_job_page_fn(void *state, const struct ledger_job_page *page,
                               struct ledger_indexed_job **out, size_t *n, struct err *e);

/* If a VM of that name exists: ERR_CONFLICT without a change; the front tries another name. */
typedef int ledger_reserve_fn(void *state, const struct ledger_reserve *r, const char *vm_name,
                              const char *client_token, struct ledger_reservation *out,
                              struct err *e);
typedef int ledger_capacity_fn(void *state, const char *class_name, const struct ledger_caps *caps,
                               struct ledger_capacity *out, struct err *e);
typedef int ledger_targets_read_fn(void *state, struct ledger_target_use *targets, size_t n,
                                   struct err *e);
typedef int ledger_release_seq_fn(void *state, int64_t *out, struct err *e);
typedef void ledger_watch_releases_fn(void *state, ledger_released_fn *on_release, void *arg);
typedef bool ledger_watching_fn(void *state);
typedef int64_t ledger_now_fn(void *state);
typedef int ledger_history_fn(void *state, char out[LEDGER_HISTORY_SIZE], struct err *e);
typedef int ledger_balances_fn(void *state, struct ledger_balance **out, size_t *n, struct err *e);

typedef int ledger_scopes_fn(void *state, struct ledger_scope **out, size_t *n, struct err *e);

typedef int ledger_vm_get_fn(void *state, const char *name, struct ledger_vm *out, struct err *e);
typedef int ledger_vm_list_fn(void *state, unsigned state_mask, const char *after, size_t max,
                              struct ledger_vm **out, size_t *n, struct err *e);

struct ledger_gone { /* the arguments of ledger_vms_gone */
    int64_t from_ms; /* in the store's own time */
    int64_t before_ms;
    size_t max;
};
typedef int ledger_vms_gone_fn(void *state, const struct ledger_gone *span, struct ledger_vm **out,
                               size_t *n, struct err *e);

typedef int ledger_timeline_fn(void *state, int64_t job_id, struct ledger_entry **out, size_t *n,
                               struct err *e);

typedef int ledger_rate_take_fn(void *state, const struct ledger_bucket *b, int64_t cost,
                                int64_t *wait_ms, struct err *e);
typedef int ledger_rate_pause_fn(void *state, const char *name, int64_t until_ms, struct err *e);
/* The cells of a kind; name not NULL: only that one. */
typedef int ledger_cells_fn(void *state, const char *kind, const char *name,
                            struct ledger_cell **out, size_t *n, struct err *e);

typedef int ledger_counts_fn(void *state, struct ledger_count **out, size_t *n, struct err *e);
typedef int ledger_tidy_fn(void *state, int64_t before_ms, size_t max, int64_t *removed,
                           struct err *e);

typedef int ledger_repair_fn(void *state, struct ledger_repair **out, size_t *n, size_t *suspected,
                             struct err *e);
typedef void ledger_check_fn(void *state, enum ledger_check what, ledger_report_fn *report,
                             void *arg);
/* For a backend whose counts cannot become wrong, whose store has no settings to check, whose
 * rows are stamped by this process's clock, and whose store loses nothing that it confirmed
 * (ledger.c). */
ledger_repair_fn ledger_repair_nothing;
ledger_check_fn ledger_check_nothing;
ledger_now_fn ledger_now_local;
ledger_history_fn ledger_history_unbroken;

/* Pointers only, none NULL: the front asserts that at open. */
struct ledger_ops {
    const char *scheme; /* "sqlite"; ledger.c maps other schemes to it */
    ledger_open_fn *open;
    ledger_close_fn *close;
    ledger_ping_fn *ping;
    const struct ledger_txn_ops *txn;
    ledger_job_get_fn *job_get;
    ledger_job_page_fn *job_page;
    ledger_reserve_fn *reserve;
    ledger_capacity_fn *capacity;
    ledger_targets_read_fn *targets_read;
    ledger_release_seq_fn *release_seq;
    ledger_watch_releases_fn *watch_releases; /* may do nothing if watching is never true */
    ledger_watching_fn *watching;
    ledger_now_fn *now; /* ledger_now_ms */
    ledger_history_fn *history;
    ledger_balances_fn *balances;
    ledger_scopes_fn *scopes;
    ledger_vm_get_fn *vm_get;
    ledger_vm_list_fn *vm_list;
    ledger_vms_gone_fn *vms_gone;
    ledger_timeline_fn *timeline;
    ledger_rate_take_fn *rate_take;
    ledger_rate_pause_fn *rate_pause;
    ledger_cells_fn *cells;
    ledger_counts_fn *counts;
    ledger_tidy_fn *tidy;
    ledger_repair_fn *repair;
    ledger_check_fn *check;
};

extern const struct ledger_ops ledger_ops_sqlite;
extern const struct ledger_ops ledger_ops_redis;
extern const struct ledger_ops ledger_ops_dynamo;

#endif

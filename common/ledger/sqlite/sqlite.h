/*
 * Shared by the files of the SQLite ledger: rows and the timeline.
 *
 * For common/ledger/sqlite/ alone. Functions that take a sqlite_db run inside the caller's
 * transaction. The schema is in sqlite/sqlite.c. Triggers maintain the counts of jobs and VMs in
 * the table `tally`, in the same transaction as the counted rows: so they cannot drift, and no step
 * becomes slower with the number of ended jobs and VMs.
 */
#ifndef MAYFLY_LEDGER_SQLITE_SQLITE_H
#define MAYFLY_LEDGER_SQLITE_SQLITE_H

#include "common/ledger/columns.h"
#include "common/ledger/ledger_backend.h"
#include "common/ledger/list.h"
#include "common/ledger/messages.h"
#include "common/ledger/txn.h"
#include "common/sqlite/store.h"

struct ledger_sqlite {
    struct sqlite_store *store;
};
/* The open file behind a front's `state`. */
struct sqlite_store *ledger_sqlite_store(void *state);

/* --- rows --- */
struct ledger_sqlite_job {
    struct ledger_job job; /* zeroed if not known */
    bool known;
    int64_t waits_logged; /* 1 << outcome: causes of waiting that the timeline already holds */
};
MUST_CHECK int ledger_sqlite_load_job(struct sqlite_db *db, int64_t id,
                                      struct ledger_sqlite_job *out, struct err *e);
/* ERR_NOT_FOUND if there is none. */
MUST_CHECK int ledger_sqlite_need_job(struct sqlite_db *db, int64_t id,
                                      struct ledger_sqlite_job *out, struct err *e);
MUST_CHECK int ledger_sqlite_save_job(struct sqlite_db *db, const struct ledger_sqlite_job *row,
                                      struct err *e);
/* Columns for ledger_sqlite_read_job and ledger_sqlite_read_vm, in their order. */
#define LEDGER_SQLITE_FIRST(kind, name, attribute, member) name
#define LEDGER_SQLITE_NEXT(kind, name, attribute, member) ", " name
#define LEDGER_SQLITE_JOB                                                                          \
    LEDGER_JOB_COLUMNS(LEDGER_SQLITE_FIRST, LEDGER_SQLITE_NEXT) ", waits_logged"
#define LEDGER_SQLITE_VM                                                                           \
    LEDGER_VM_COLUMNS(LEDGER_SQLITE_FIRST, LEDGER_SQLITE_NEXT, LEDGER_SQLITE_NEXT)
/* False if the state is none of this version's: of a damaged file, or one of a newer version. */
MUST_CHECK bool ledger_sqlite_read_job(struct sqlite_rows *r, struct ledger_sqlite_job *out);
MUST_CHECK bool ledger_sqlite_read_vm(struct sqlite_rows *r, struct ledger_vm *out);

MUST_CHECK int ledger_sqlite_load_vm(struct sqlite_db *db, const char *name, struct ledger_vm *out,
                                     bool *known, struct err *e);
/* ERR_NOT_FOUND if there is none. */
MUST_CHECK int ledger_sqlite_need_vm(struct sqlite_db *db, const char *name, struct ledger_vm *out,
                                     struct err *e);
/* ERR_CONFLICT if the name or the token exists. */
MUST_CHECK int ledger_sqlite_add_vm(struct sqlite_db *db, const struct ledger_vm *vm,
                                    struct err *e);
MUST_CHECK int ledger_sqlite_save_vm(struct sqlite_db *db, const struct ledger_vm *vm,
                                     struct err *e);

/* --- timeline --- */
/* Adds a line about the job, the VM (then job_id is 0), or both; nothing if line->what is NULL. */
MUST_CHECK int ledger_sqlite_add_line(struct sqlite_db *db, int64_t job_id, const char *vm,
                                      const struct ledger_line *line, struct err *e);

/* --- buckets --- */
MUST_CHECK int ledger_sqlite_load_bucket(struct sqlite_db *db, const char *name,
                                         struct ledger_bucket_row *out, struct err *e);
MUST_CHECK int ledger_sqlite_save_bucket(struct sqlite_db *db, const char *name,
                                         const struct ledger_bucket_row *row, struct err *e);

extern const struct ledger_txn_ops ledger_sqlite_txn_ops;

/* --- the calls, by topic --- */
ledger_job_get_fn ledger_sqlite_job_get;
ledger_job_page_fn ledger_sqlite_job_page;
ledger_reserve_fn ledger_sqlite_reserve;
ledger_capacity_fn ledger_sqlite_capacity;
ledger_targets_read_fn ledger_sqlite_targets_read;
ledger_release_seq_fn ledger_sqlite_release_seq;
ledger_balances_fn ledger_sqlite_balances;
ledger_scopes_fn ledger_sqlite_scopes;
ledger_vm_get_fn ledger_sqlite_vm_get;
ledger_vm_list_fn ledger_sqlite_vm_list;
ledger_vms_gone_fn ledger_sqlite_vms_gone;
ledger_timeline_fn ledger_sqlite_timeline;
ledger_rate_take_fn ledger_sqlite_rate_take;
ledger_rate_pause_fn ledger_sqlite_rate_pause;
ledger_cells_fn ledger_sqlite_cells;
ledger_counts_fn ledger_sqlite_counts;
ledger_tidy_fn ledger_sqlite_tidy;

#endif

/*
 * Lists of jobs, over a backend's pages of its indexes (ledger_backend.h, job_page).
 *
 * For ledger.c alone, which has checked the arguments. The contracts are in ledger.h. Nothing is read
 * that is not needed for the list, but what LEDGER_JOBS_LOOKED_AT allows.
 */
#ifndef MAYFLY_LEDGER_JOB_LIST_H
#define MAYFLY_LEDGER_JOB_LIST_H

#include "common/ledger/ledger_backend.h"

struct ledger_waiting { /* the arguments of ledger_jobs_waiting */
    const char *scope;
    const char *class_name;
    int64_t before_ms;
    size_t max;
};
MUST_CHECK int ledger_list_waiting(const struct ledger_ops *ops, void *state,
                                   const struct ledger_waiting *query, struct ledger_job **out,
                                   size_t *n, struct err *e);

struct ledger_running { /* the arguments of ledger_jobs_running */
    int64_t from_ms;
    int64_t before_ms;
    size_t max;
};
MUST_CHECK int ledger_list_running(const struct ledger_ops *ops, void *state,
                                   const struct ledger_running *query, struct ledger_job **out,
                                   size_t *n, struct err *e);

MUST_CHECK int ledger_list_jobs(const struct ledger_ops *ops, void *state,
                                const struct ledger_jobs_query *query, struct ledger_job **out,
                                size_t *n, char next[LEDGER_CURSOR_SIZE], struct err *e);

#endif

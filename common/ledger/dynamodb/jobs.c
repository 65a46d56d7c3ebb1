#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

#define PAGE 100

/* --- get --- */
static int dynamo_unknown_job(int64_t id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "job %lld is not in the ledger", (long long)id);
}

int ledger_dynamo_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct ledger_dynamo_job row;
    if (ledger_dynamo_find_job(state, job_id, &row, e) != 0) {
        return -1;
    }
    if (!row.known) {
        return dynamo_unknown_job(job_id, e);
    }
    *out = row.job;
    return 0;
}

/* --- waiting too long --- */
static int dynamo_read_waiting(const struct ledger_dynamo_got *rows, const struct ledger_waiting *q,
                               struct ledger_list *jobs, struct err *e)
{
    for (size_t i = 0; i < rows->count && jobs->count < q->max; i++) {
        struct ledger_dynamo_job row;
        if (ledger_dynamo_unpack_job(rows->items[i], &row, e) != 0) {
            return -1;
        }
        /* The index lags; the row is current. */
        if (row.known && row.job.state == JOB_WAITING && row.job.waiting_ms < q->before_ms &&
            row.job.relaunched_ms < q->before_ms && strcmp(row.job.scope, q->scope) == 0 &&
            strcmp(row.job.facts.class_name, q->class_name) == 0) {
            *(struct ledger_job *)ledger_list_add(jobs) = row.job;
        }
    }
    return 0;
}

static int by_waiting(const void *a, const void *b)
{
    const struct ledger_job *x = a;
    const struct ledger_job *y = b;
    int older = (x->waiting_ms > y->waiting_ms) - (x->waiting_ms < y->waiting_ms);
    return older != 0 ? older : (x->facts.id > y->facts.id) - (x->facts.id < y->facts.id);
}

int ledger_dynamo_jobs_waiting(void *state, const struct ledger_waiting *query,
                               struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_dynamo *l = state;
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    struct ledger_dynamo_walk walk = ledger_dynamo_walk(l, PAGE, query->before_ms, "waiting:%s|%s",
                                                        query->scope, query->class_name);
    bool more = true;
    int rc = 0;
    while (rc == 0 && more && jobs.count < query->max) {
        struct ledger_dynamo_got rows = {.count = 0};
        rc = ledger_dynamo_query_rows(l, &walk, &rows, e);
        rc = rc == 0 ? dynamo_read_waiting(&rows, query, &jobs, e) : rc;
        more = rows.count == PAGE;
        ledger_dynamo_got_fini(&rows);
    }
    if (rc != 0) {
        free(jobs.items);
        return -1;
    }
    if (jobs.count > 1) {
        qsort(jobs.items, jobs.count, jobs.item_size, by_waiting);
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

/* --- running without news --- */
static int dynamo_read_running(const struct ledger_dynamo_got *rows, const struct ledger_running *q,
                               struct ledger_list *jobs, struct err *e)
{
    for (size_t i = 0; i < rows->count && jobs->count < q->max; i++) {
        struct ledger_dynamo_job row;
        if (ledger_dynamo_unpack_job(rows->items[i], &row, e) != 0) {
            return -1;
        }
        if (row.known && row.job.state == JOB_RUNNING && row.job.updated_ms >= q->from_ms &&
            row.job.updated_ms < q->before_ms) {
            *(struct ledger_job *)ledger_list_add(jobs) = row.job;
        }
    }
    return 0;
}

static int by_news(const void *a, const void *b)
{
    const struct ledger_job *x = a;
    const struct ledger_job *y = b;
    int older = (x->updated_ms > y->updated_ms) - (x->updated_ms < y->updated_ms);
    return older != 0 ? older : (x->facts.id > y->facts.id) - (x->facts.id < y->facts.id);
}

int ledger_dynamo_jobs_running(void *state, const struct ledger_running *query,
                               struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_dynamo *l = state;
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    struct ledger_dynamo_walk walk = ledger_dynamo_walk(l, PAGE, query->before_ms, "running");
    bool more = true;
    int rc = 0;
    (void)snprintf(walk.from, sizeof walk.from, "%015lld", (long long)query->from_ms);
    while (rc == 0 && more && jobs.count < query->max) {
        struct ledger_dynamo_got rows = {.count = 0};
        rc = ledger_dynamo_query_rows(l, &walk, &rows, e);
        rc = rc == 0 ? dynamo_read_running(&rows, query, &jobs, e) : rc;
        more = rows.count == PAGE;
        ledger_dynamo_got_fini(&rows);
    }
    if (rc != 0) {
        free(jobs.items);
        return -1;
    }
    if (jobs.count > 1) {
        qsort(jobs.items, jobs.count, jobs.item_size, by_news);
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

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

/* --- searching the index --- */

struct dynamo_job_search {
    struct ledger_dynamo_walk walk;
    size_t max;
    bool (*accepts)(const struct ledger_job *job, const void *query);
    const void *query;
    int (*order)(const void *a, const void *b);
};

/* The index lags; the rows that it names are current. */
static int dynamo_take_accepted(const struct dynamo_job_search *search,
                                const struct ledger_dynamo_got *rows, struct ledger_list *jobs,
                                struct err *e)
{
    for (size_t i = 0; i < rows->count && jobs->count < search->max; i++) {
        struct ledger_dynamo_job row;
        if (ledger_dynamo_unpack_job(rows->items[i], &row, e) != 0) {
            return -1;
        }
        if (row.known && search->accepts(&row.job, search->query)) {
            *(struct ledger_job *)ledger_list_add(jobs) = row.job;
        }
    }
    return 0;
}

static int dynamo_search_jobs(struct ledger_dynamo *l, struct dynamo_job_search *search,
                              struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    bool more = true;
    int rc = 0;
    while (rc == 0 && more && jobs.count < search->max) {
        struct ledger_dynamo_got rows = {.count = 0};
        rc = ledger_dynamo_query_rows(l, &search->walk, &rows, e);
        rc = rc == 0 ? dynamo_take_accepted(search, &rows, &jobs, e) : rc;
        more = rows.count == PAGE;
        ledger_dynamo_got_fini(&rows);
    }
    if (rc != 0) {
        free(jobs.items);
        return -1;
    }
    if (jobs.count > 1) {
        qsort(jobs.items, jobs.count, jobs.item_size, search->order);
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

/* --- waiting too long --- */
static bool dynamo_waits(const struct ledger_job *job, const void *query)
{
    const struct ledger_waiting *q = query;
    return job->state == JOB_WAITING && job->waiting_ms < q->before_ms &&
           job->relaunched_ms < q->before_ms && strcmp(job->scope, q->scope) == 0 &&
           strcmp(job->facts.class_name, q->class_name) == 0;
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
    struct dynamo_job_search search = {.walk = ledger_dynamo_walk(state, PAGE, query->before_ms,
                                                                  "waiting:%s|%s", query->scope,
                                                                  query->class_name),
                                       .max = query->max,
                                       .accepts = dynamo_waits,
                                       .query = query,
                                       .order = by_waiting};
    return dynamo_search_jobs(state, &search, out, n, e);
}

/* --- running without news --- */
static bool dynamo_runs(const struct ledger_job *job, const void *query)
{
    const struct ledger_running *q = query;
    return job->state == JOB_RUNNING && job->updated_ms >= q->from_ms &&
           job->updated_ms < q->before_ms;
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
    struct dynamo_job_search search = {
        .walk = ledger_dynamo_walk(state, PAGE, query->before_ms, "running"),
        .max = query->max,
        .accepts = dynamo_runs,
        .query = query,
        .order = by_news};
    (void)snprintf(search.walk.from, sizeof search.walk.from, "%015lld", (long long)query->from_ms);
    return dynamo_search_jobs(state, &search, out, n, e);
}

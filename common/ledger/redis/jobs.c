#include <stdlib.h>
#include <string.h>

#include "common/ledger/redis/redis.h"

#define PAGE 200

/* --- get --- */
static int redis_unknown_job(int64_t id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "job %lld is not in the ledger", (long long)id);
}

int ledger_redis_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct ledger_redis_name id = ledger_redis_id(job_id);
    const char *words[] = {id.text, NULL};
    struct redis_reply *r = NULL;
    struct ledger_job job;
    if (ledger_redis_call(state, "HGET", "jobs", words, &r, e) != 0) {
        return -1;
    }
    struct slice row = redis_reply_bytes(r);
    int rc =
        row.len > 0 ? ledger_redis_unpack_job(row, &job, NULL, e) : redis_unknown_job(job_id, e);
    ledger_redis_saw(state, "jobs", ledger_redis_slice(&id), row);
    redis_reply_free(r);
    if (rc == 0) {
        *out = job;
    }
    return rc;
}

/* --- lists --- */
static int read_page(const struct redis_reply *page, int64_t relaunched_before_ms, size_t max,
                     struct ledger_list *jobs, struct err *e)
{
    for (size_t i = 0; i < ledger_redis_page_count(page) && jobs->count < max; i++) {
        struct slice id;
        struct slice row;
        struct ledger_job job;
        ledger_redis_page_at(page, i, &id, &row);
        if (row.len == 0) {
            continue;
        }
        if (ledger_redis_unpack_job(row, &job, NULL, e) != 0) {
            return -1;
        }
        if (job.relaunched_ms < relaunched_before_ms) {
            *(struct ledger_job *)ledger_list_add(jobs) = job;
        }
    }
    return 0;
}

static int read_jobs(void *state, struct ledger_redis_range *range, int64_t relaunched_before_ms,
                     size_t max, struct ledger_list *jobs, struct err *e)
{
    bool more = true;
    while (more && jobs->count < max) {
        struct redis_reply *page = NULL;
        int rc = ledger_redis_page(state, range, &page, e);
        more = rc == 0 && ledger_redis_page_count(page) == PAGE;
        rc = rc == 0 ? read_page(page, relaunched_before_ms, max, jobs, e) : rc;
        redis_reply_free(page);
        if (rc != 0) {
            free(jobs->items);
            return -1;
        }
        range->skip += PAGE;
    }
    return 0;
}

int ledger_redis_jobs_waiting(void *state, const struct ledger_waiting *query,
                              struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    struct ledger_redis_name key = ledger_redis_waiting_key(query->scope, query->class_name);
    int64_t before = ledger_redis_server_ms(state, query->before_ms);
    struct ledger_redis_name to = ledger_redis_named("(%lld", (long long)before);
    struct ledger_redis_range range = {key.text, "jobs", "ZRANGEBYSCORE", "-inf", to.text, 0, PAGE};
    if (read_jobs(state, &range, before, query->max, &jobs, e) != 0) {
        return -1;
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

/* Their time is that of the rows, and so the server's already. */
int ledger_redis_jobs_running(void *state, const struct ledger_running *query,
                              struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    struct ledger_redis_name from = ledger_redis_named("%lld", (long long)query->from_ms);
    struct ledger_redis_name to = ledger_redis_named("(%lld", (long long)query->before_ms);
    struct ledger_redis_range range = {"running", "jobs", "ZRANGEBYSCORE", from.text, to.text,
                                       0,         PAGE};
    if (read_jobs(state, &range, INT64_MAX, query->max, &jobs, e) != 0) {
        return -1;
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

#include <stdlib.h>

#include "common/ledger/redis/redis.h"

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

/* --- a page of an index: its times are the server's --- */
static struct ledger_redis_name index_key(const struct ledger_job_page *page)
{
    static const char *const keys[] = {[LEDGER_INDEX_RUNNING] = "running",
                                       [LEDGER_INDEX_SEEN] = "seen",
                                       [LEDGER_INDEX_ENDED] = "ended"};
    return page->index == LEDGER_INDEX_WAITING
               ? ledger_redis_waiting_key(page->scope, page->class_name)
               : ledger_redis_named("%s", keys[page->index]);
}

static int read_indexed(const struct redis_reply *r, struct ledger_list *jobs, struct err *e)
{
    for (size_t i = 0; i < ledger_redis_page_count(r); i++) {
        struct slice id;
        struct slice row;
        struct ledger_indexed_job *entry = ledger_list_add(jobs);
        ledger_redis_page_at(r, i, &id, &row);
        entry->at_ms = redis_reply_int(redis_reply_at(redis_reply_at(r, 4), i), 0);
        entry->known = row.len > 0;
        if (!slice_to_int64(id, &entry->id) ||
            (entry->known && ledger_redis_unpack_job(row, &entry->job, NULL, e) != 0)) {
            return entry->known ? -1 : 0;
        }
    }
    return 0;
}

int ledger_redis_job_page(void *state, const struct ledger_job_page *page,
                          struct ledger_indexed_job **out, size_t *n, struct err *e)
{
    static const struct redis_script script = {"ledger job page", ledger_redis_lua_jobs};
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_indexed_job)};
    struct ledger_redis_name key = index_key(page);
    struct ledger_redis_name id = ledger_redis_id(page->after_id);
    struct redis_reply *r = NULL;
    struct redis_args a;
    ledger_redis_args(&a);
    redis_arg_text(&a, key.text);
    redis_arg_text(&a, page->newest_first ? "ZREVRANGE" : "ZRANGE");
    redis_arg_int(&a, page->after_ms);
    redis_arg_text(&a, id.text);
    redis_arg_int(&a, (int64_t)page->max);
    int rc = ledger_redis_eval(state, &script, &a, false, &r, e);
    redis_args_fini(&a);
    rc = rc == 0 ? read_indexed(r, &jobs, e) : rc;
    redis_reply_free(r);
    if (rc != 0) {
        free(jobs.items);
        return -1;
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

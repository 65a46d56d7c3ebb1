#include <stdio.h>
#include <stdlib.h>

#include "common/ledger/dynamodb/dynamodb.h"

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

/* --- a page of the index --- */
static void index_name(const struct ledger_dynamo *l, const struct ledger_job_page *page, char *out,
                       size_t size)
{
    static const char *const names[] = {[LEDGER_INDEX_RUNNING] = "running",
                                        [LEDGER_INDEX_SEEN] = "seen",
                                        [LEDGER_INDEX_ENDED] = "ended"};
    if (page->index == LEDGER_INDEX_WAITING) {
        (void)snprintf(out, size, "%s:waiting:%s|%s", l->url.prefix, page->scope, page->class_name);
    } else {
        (void)snprintf(out, size, "%s:%s", l->url.prefix, names[page->index]);
    }
}

/* "<at>:<id>" of each entry, and the row as it is now. */
static int read_indexed(struct ledger_dynamo *l, const struct ledger_dynamo_got *found,
                        struct ledger_list *jobs, struct err *e)
{
    struct ledger_dynamo_got rows = {.count = 0};
    struct ledger_dynamo_key *keys = calloc(found->count + 1, sizeof *keys);
    ASSERT(keys != NULL);
    for (size_t i = 0; i < found->count; i++) {
        ledger_dynamo_read_text(found->items[i], "pk", keys[i].pk, sizeof keys[i].pk);
        ledger_dynamo_read_text(found->items[i], "sk", keys[i].sk, sizeof keys[i].sk);
    }
    int rc = ledger_dynamo_get(l, keys, found->count, &rows, e);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) {
        struct ledger_indexed_job *entry = ledger_list_add(jobs);
        struct ledger_dynamo_job row;
        struct slice at;
        struct slice id;
        bool good = slice_cut(ledger_dynamo_read_slice(found->items[i], "age"), ':', &at, &id) &&
                    slice_to_int64(at, &entry->at_ms) && slice_to_int64(id, &entry->id);
        rc = ledger_dynamo_unpack_job(rows.items[i], &row, e);
        entry->known = rc == 0 && good && row.known;
        entry->job = row.job;
    }
    free(keys);
    ledger_dynamo_got_fini(&rows);
    return rc;
}

int ledger_dynamo_job_page(void *state, const struct ledger_job_page *page,
                           struct ledger_indexed_job **out, size_t *n, struct err *e)
{
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_indexed_job)};
    struct ledger_dynamo_got found;
    char ix[288];
    char age[LEDGER_DYNAMO_AGE];
    index_name(state, page, ix, sizeof ix);
    ledger_dynamo_age(page->after_ms, page->after_id, age);
    struct ledger_dynamo_query q = {.index = true,
                                    .pk = ix,
                                    .how = page->newest_first ? "<" : ">",
                                    .sk = age,
                                    .newest_first = page->newest_first,
                                    .max = page->max};
    if (ledger_dynamo_query(state, &q, &found, e) != 0) {
        return -1;
    }
    int rc = read_indexed(state, &found, &jobs, e);
    ledger_dynamo_got_fini(&found);
    if (rc != 0) {
        free(jobs.items);
        return -1;
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

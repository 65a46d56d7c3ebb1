#include <stdlib.h>

#include "common/ledger/sqlite/sqlite.h"

/* --- get --- */
struct get {
    int64_t id;
    struct ledger_sqlite_job row;
};

static int sqlite_job_get_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct get *g = arg;
    return ledger_sqlite_need_job(db, g->id, &g->row, e);
}

int ledger_sqlite_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct get g = {.id = job_id};
    if (sqlite_store_read(ledger_sqlite_store(state), sqlite_job_get_work, &g, e) != 0) {
        return -1;
    }
    *out = g.row.job;
    return 0;
}

/* --- a page of an index --- */
#define WAITING_HERE " FROM jobs WHERE state = 1 AND scope = ?4 AND class_name = ?5 AND "
#define PAGE_OF(where, at, order, direction)                                                       \
    "SELECT " LEDGER_SQLITE_JOB where "(" at ", id) " order " (?1, ?2) ORDER BY " at direction     \
    ", id" direction " LIMIT ?3"
#define BOTH_WAYS(where, at)                                                                       \
    {                                                                                              \
        PAGE_OF(where, at, ">", ""), PAGE_OF(where, at, "<", " DESC")                              \
    }

/* By index, and whether the newest come first. */
static const char *const page_of[][2] = {
    [LEDGER_INDEX_WAITING] = BOTH_WAYS(WAITING_HERE, "waiting_ms"),
    [LEDGER_INDEX_RUNNING] = BOTH_WAYS(" FROM jobs WHERE state = 2 AND ", "updated_ms"),
    [LEDGER_INDEX_SEEN] = BOTH_WAYS(" FROM jobs WHERE state = 0 AND ", "updated_ms"),
    [LEDGER_INDEX_ENDED] = BOTH_WAYS(" FROM jobs WHERE state >= 3 AND ", "ended_ms"),
};

struct page {
    const struct ledger_job_page *wanted;
    struct ledger_list jobs;
};

static int64_t indexed_ms(const struct ledger_job *job, enum ledger_job_index index)
{
    switch (index) {
    case LEDGER_INDEX_WAITING:
        return job->waiting_ms;
    case LEDGER_INDEX_ENDED:
        return job->ended_ms;
    case LEDGER_INDEX_RUNNING:
    case LEDGER_INDEX_SEEN:
        break;
    }
    return job->updated_ms;
}

static void add_indexed(struct sqlite_rows *r, void *arg)
{
    struct page *p = arg;
    struct ledger_sqlite_job row;
    struct ledger_indexed_job *entry = ledger_list_add(&p->jobs);
    entry->known = ledger_sqlite_read_job(r, &row);
    entry->job = row.job;
    entry->id = row.job.facts.id;
    entry->at_ms = indexed_ms(&row.job, p->wanted->index);
}

static int page_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct page *p = arg;
    const struct ledger_job_page *w = p->wanted;
    struct sqlite_value after_ms = SQL_INT(w->after_ms);
    struct sqlite_value after_id = SQL_INT(w->after_id);
    struct sqlite_value max = SQL_INT((int64_t)w->max);
    const char *sql = page_of[w->index][w->newest_first ? 1 : 0];
    struct sqlite_rows *r = w->index == LEDGER_INDEX_WAITING
                                ? sqlite_query(db, sql, after_ms, after_id, max, SQL_TEXT(w->scope),
                                               SQL_TEXT(w->class_name))
                                : sqlite_query(db, sql, after_ms, after_id, max);
    ledger_list_reset(&p->jobs);
    return sqlite_each(r, add_indexed, p, e);
}

int ledger_sqlite_job_page(void *state, const struct ledger_job_page *page,
                           struct ledger_indexed_job **out, size_t *n, struct err *e)
{
    struct page p = {.wanted = page, .jobs = {.item_size = sizeof(struct ledger_indexed_job)}};
    if (sqlite_store_read(ledger_sqlite_store(state), page_work, &p, e) != 0) {
        free(p.jobs.items);
        return -1;
    }
    *out = p.jobs.items;
    *n = p.jobs.count;
    return 0;
}

#include <stdlib.h>

#include "common/base/clock.h"
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

/* --- waiting too long --- */
struct waiting {
    const struct ledger_waiting *query;
    struct ledger_list jobs;
};

static void add_job(struct sqlite_rows *r, void *arg)
{
    struct ledger_sqlite_job row;
    if (ledger_sqlite_read_job(r, &row)) { /* the statement asks for one state */
        *(struct ledger_job *)ledger_list_add(arg) = row.job;
    }
}

static int waiting_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] =
        "SELECT " LEDGER_SQLITE_JOB " FROM jobs WHERE state = 1 AND scope = ?1 AND class_name = ?2 "
        "AND waiting_ms < ?3 AND relaunched_ms < ?3 ORDER BY waiting_ms, id LIMIT ?4";
    struct waiting *w = arg;
    struct sqlite_rows *r =
        sqlite_query(db, sql, SQL_TEXT(w->query->scope), SQL_TEXT(w->query->class_name),
                     SQL_INT(w->query->before_ms), SQL_INT((int64_t)w->query->max));
    ledger_list_reset(&w->jobs);
    return sqlite_each(r, add_job, &w->jobs, e);
}

int ledger_sqlite_jobs_waiting(void *state, const struct ledger_waiting *query,
                               struct ledger_job **out, size_t *n, struct err *e)
{
    struct waiting w = {.query = query, .jobs = {.item_size = sizeof(struct ledger_job)}};
    if (sqlite_store_read(ledger_sqlite_store(state), waiting_work, &w, e) != 0) {
        free(w.jobs.items);
        return -1;
    }
    *out = w.jobs.items;
    *n = w.jobs.count;
    return 0;
}

/* --- running without news --- */
struct running {
    const struct ledger_running *query;
    struct ledger_list jobs;
};

static int running_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] = "SELECT " LEDGER_SQLITE_JOB " FROM jobs WHERE state = 2 "
                              "AND updated_ms >= ?1 AND updated_ms < ?2 "
                              "ORDER BY updated_ms, id LIMIT ?3";
    struct running *w = arg;
    struct sqlite_rows *r =
        sqlite_query(db, sql, SQL_INT(w->query->from_ms), SQL_INT(w->query->before_ms),
                     SQL_INT((int64_t)w->query->max));
    ledger_list_reset(&w->jobs);
    return sqlite_each(r, add_job, &w->jobs, e);
}

int ledger_sqlite_jobs_running(void *state, const struct ledger_running *query,
                               struct ledger_job **out, size_t *n, struct err *e)
{
    struct running w = {.query = query, .jobs = {.item_size = sizeof(struct ledger_job)}};
    if (sqlite_store_read(ledger_sqlite_store(state), running_work, &w, e) != 0) {
        free(w.jobs.items);
        return -1;
    }
    *out = w.jobs.items;
    *n = w.jobs.count;
    return 0;
}

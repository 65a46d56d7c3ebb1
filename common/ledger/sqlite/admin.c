#include <stdlib.h>
#include <string.h>

#include "common/ledger/sqlite/sqlite.h"

/* --- counts --- */
static struct ledger_count *sqlite_count_of(struct ledger_list *list, struct sqlite_rows *r)
{
    struct ledger_count *last = list->items;
    if (list->count > 0 && slice_eq_cstr(sqlite_bytes(r, 0), last[list->count - 1].class_name)) {
        return &last[list->count - 1];
    }
    struct ledger_count *c = ledger_list_add(list);
    sqlite_text(r, 0, c->class_name, sizeof c->class_name);
    return c;
}

static void sqlite_add_count(struct sqlite_rows *r, void *arg)
{
    struct ledger_count *c = sqlite_count_of(arg, r);
    int64_t s = sqlite_int(r, 2);
    if (sqlite_int(r, 1) != 0) {
        ASSERT(s >= 0 && s < (int64_t)COUNT_OF(c->jobs));
        c->jobs[s] = sqlite_int(r, 3);
    } else {
        ASSERT(s >= 0 && s < (int64_t)COUNT_OF(c->vms));
        c->vms[s] = sqlite_int(r, 3);
    }
}

static int counts_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] = "SELECT a, kind = 'job', CAST(b AS INTEGER), n FROM tally "
                              "WHERE kind IN ('job', 'vm') AND n > 0 ORDER BY a";
    ledger_list_reset(arg);
    return sqlite_each(sqlite_query(db, sql), sqlite_add_count, arg, e);
}

int ledger_sqlite_counts(void *state, struct ledger_count **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_count)};
    if (sqlite_store_read(ledger_sqlite_store(state), counts_work, &list, e) != 0) {
        free(list.items);
        return -1;
    }
    *out = list.items;
    *n = list.count;
    return 0;
}

/* --- tidy --- */
struct tidy {
    int64_t before_ms;
    size_t max;
    int64_t removed;
};

#define OLD_VMS "SELECT name FROM vms WHERE state = 5 AND gone_ms < ?1 ORDER BY gone_ms LIMIT ?2"
#define OLD_JOBS "SELECT id FROM jobs WHERE state >= 3 AND ended_ms < ?1 ORDER BY ended_ms LIMIT ?2"
/* Jobs whose approval never came; a later delivery would create the row again. */
#define FORGOTTEN_JOBS                                                                             \
    "SELECT id FROM jobs WHERE state = 0 AND updated_ms < ?1 ORDER BY updated_ms LIMIT ?2"

#define IDLE_BUCKETS "SELECT name FROM buckets WHERE at_ms < ?1 AND paused_until_ms < ?1 LIMIT ?2"

/* Lines first, then their rows. Both statements select the same rows, since nothing changes between
 * them. */
static const char *const lines_of_old[] = {
    "DELETE FROM timeline WHERE vm <> '' AND job_id = 0 AND vm IN (" OLD_VMS ")",
    "DELETE FROM timeline WHERE job_id <> 0 AND job_id IN (" OLD_JOBS ")",
    "DELETE FROM timeline WHERE job_id <> 0 AND job_id IN (" FORGOTTEN_JOBS ")",
};
static const char *const old_rows[] = {
    "DELETE FROM vms WHERE name IN (" OLD_VMS ")",
    "DELETE FROM jobs WHERE id IN (" OLD_JOBS ")",
    "DELETE FROM jobs WHERE id IN (" FORGOTTEN_JOBS ")",
    "DELETE FROM buckets WHERE name IN (" IDLE_BUCKETS ")",
};

static int tidy_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct tidy *t = arg;
    struct sqlite_value before = SQL_INT(t->before_ms);
    struct sqlite_value max = SQL_INT((int64_t)t->max);
    t->removed = 0;
    for (size_t i = 0; i < COUNT_OF(lines_of_old); i++) {
        if (sqlite_exec(db, e, lines_of_old[i], before, max) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < COUNT_OF(old_rows); i++) {
        if (sqlite_exec(db, e, old_rows[i], before, max) != 0) {
            return -1;
        }
        t->removed += sqlite_changes(db);
    }
    /* Removes the zero counts of former classes, scopes and repositories. */
    return sqlite_exec(db, e, "DELETE FROM tally WHERE n = 0 AND kind <> 'freed'");
}

int ledger_sqlite_tidy(void *state, int64_t before_ms, size_t max, int64_t *removed, struct err *e)
{
    struct tidy t = {.before_ms = before_ms, .max = max};
    if (sqlite_store_write(ledger_sqlite_store(state), tidy_work, &t, e) != 0) {
        return -1;
    }
    *removed = t.removed;
    return 0;
}

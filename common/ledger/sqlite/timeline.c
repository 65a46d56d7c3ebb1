#include <stdlib.h>

#include "common/base/clock.h"
#include "common/ledger/sqlite/sqlite.h"

/* A job's lines have its id; a VM's own lines have its name and job 0. Each is limited to
 * LEDGER_LINES_MAX. */

/* --- adding --- */
static int is_repeated(struct sqlite_db *db, int64_t job_id, const char *vm,
                       const struct ledger_line *line, bool *out, struct err *e)
{
    static const char of_job[] = "SELECT what, detail FROM timeline WHERE job_id = ?1 AND "
                                 "job_id <> 0 ORDER BY seq DESC LIMIT 1";
    static const char of_vm[] = "SELECT what, detail FROM timeline WHERE vm = ?1 AND vm <> '' AND "
                                "job_id = 0 ORDER BY seq DESC LIMIT 1";
    struct sqlite_rows *r = job_id != 0 ? sqlite_query(db, of_job, SQL_INT(job_id))
                                        : sqlite_query(db, of_vm, SQL_TEXT(vm));
    bool row;
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    *out = row && slice_eq_cstr(sqlite_bytes(r, 0), line->what) &&
           slice_eq_cstr(sqlite_bytes(r, 1), line->detail);
    sqlite_rows_end(r);
    return 0;
}

/* Deletes the oldest line after the first LEDGER_LINES_FIRST if the limit is reached. */
static int drop_oldest_line(struct sqlite_db *db, int64_t job_id, const char *vm, struct err *e)
{
    static const char count_of_job[] =
        "SELECT count(*) FROM timeline WHERE job_id = ?1 AND job_id <> 0";
    static const char count_of_vm[] =
        "SELECT count(*) FROM timeline WHERE vm = ?1 AND vm <> '' AND job_id = 0";
    static const char cut_job[] =
        "DELETE FROM timeline WHERE seq = (SELECT seq FROM timeline WHERE job_id = ?1 AND "
        "job_id <> 0 ORDER BY seq LIMIT 1 OFFSET ?2)";
    static const char cut_vm[] =
        "DELETE FROM timeline WHERE seq = (SELECT seq FROM timeline WHERE vm = ?1 AND "
        "vm <> '' AND job_id = 0 ORDER BY seq LIMIT 1 OFFSET ?2)";
    int64_t count;
    struct sqlite_value subject = job_id != 0 ? SQL_INT(job_id) : SQL_TEXT(vm);
    if (sqlite_number(db, &count, 0, e, job_id != 0 ? count_of_job : count_of_vm, subject) != 0) {
        return -1;
    }
    if (count < LEDGER_LINES_MAX) {
        return 0;
    }
    return sqlite_exec(db, e, job_id != 0 ? cut_job : cut_vm, subject, SQL_INT(LEDGER_LINES_FIRST));
}

int ledger_sqlite_add_line(struct sqlite_db *db, int64_t job_id, const char *vm,
                           const struct ledger_line *line, struct err *e)
{
    static const char sql[] =
        "INSERT INTO timeline (at_ms, job_id, vm, what, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    bool repeated;
    if (line->what == NULL) {
        return 0;
    }
    if (is_repeated(db, job_id, vm, line, &repeated, e) != 0) {
        return -1;
    }
    if (repeated) {
        return 0;
    }
    if (drop_oldest_line(db, job_id, vm, e) != 0) {
        return -1;
    }
    return sqlite_exec(db, e, sql, SQL_INT(clock_wall_ms()), SQL_INT(job_id), SQL_TEXT(vm),
                       SQL_TEXT(line->what), SQL_TEXT(line->detail));
}

/* --- reading --- */
struct read {
    int64_t job_id;
    struct ledger_list entries;
};

static void add_entry(struct sqlite_rows *r, void *arg)
{
    struct ledger_entry *entry = ledger_list_add(arg);
    entry->at_ms = sqlite_int(r, 0);
    entry->job_id = sqlite_int(r, 1);
    sqlite_text(r, 2, entry->vm, sizeof entry->vm);
    sqlite_text(r, 3, entry->what, sizeof entry->what);
    sqlite_text(r, 4, entry->detail, sizeof entry->detail);
}

static int read_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] =
        "WITH mine (name) AS (SELECT name FROM vms WHERE for_job = ?1 UNION "
        " SELECT name FROM vms WHERE job_id = ?1 AND job_id <> 0) "
        "SELECT at_ms, job_id, vm, what, detail FROM timeline WHERE seq IN ("
        " SELECT seq FROM timeline WHERE job_id = ?1 AND job_id <> 0 UNION"
        " SELECT t.seq FROM mine JOIN timeline t ON t.vm = mine.name AND t.vm <> '') ORDER BY seq";
    struct read *a = arg;
    ledger_list_reset(&a->entries);
    return sqlite_each(sqlite_query(db, sql, SQL_INT(a->job_id)), add_entry, &a->entries, e);
}

int ledger_sqlite_timeline(void *state, int64_t job_id, struct ledger_entry **out, size_t *n,
                           struct err *e)
{
    struct read a = {.job_id = job_id, .entries = {.item_size = sizeof(struct ledger_entry)}};
    if (sqlite_store_read(ledger_sqlite_store(state), read_work, &a, e) != 0) {
        free(a.entries.items);
        return -1;
    }
    *out = a.entries.items;
    *n = a.entries.count;
    return 0;
}

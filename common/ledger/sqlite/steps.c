#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/ledger/sqlite/sqlite.h"

/* A step is one transaction of the file: its reads stay valid until it ends, and triggers maintain
 * the counts. */

struct txn {
    struct ledger_txn base; /* first */
    struct sqlite_db *db;
    int64_t waits_logged; /* of the job that was loaded */
    ledger_step_fn *step;
    void *arg;
};

static struct txn *sqlite_txn_of(struct ledger_txn *t)
{
    return (struct txn *)(void *)t;
}

/* --- loading --- */
static int sqlite_load_job(struct ledger_txn *t, int64_t id, const char *vm_hint,
                           struct ledger_job *out, bool *known, struct err *e)
{
    struct ledger_sqlite_job row;
    (void)vm_hint;
    if (ledger_sqlite_load_job(sqlite_txn_of(t)->db, id, &row, e) != 0) {
        return -1;
    }
    sqlite_txn_of(t)->waits_logged = row.waits_logged;
    *known = row.known;
    *out = row.job;
    return 0;
}

static int sqlite_load_vm(struct ledger_txn *t, const char *name, struct ledger_vm *out,
                          bool *known, struct err *e)
{
    *out = (struct ledger_vm){.state = VM_RESERVED};
    return ledger_sqlite_load_vm(sqlite_txn_of(t)->db, name, out, known, e);
}

static int sqlite_load_cell(struct ledger_txn *t, struct ledger_cell *cell, struct err *e)
{
    static const char sql[] = "SELECT version, value FROM cells WHERE kind = ?1 AND name = ?2";
    struct sqlite_rows *r =
        sqlite_query(sqlite_txn_of(t)->db, sql, SQL_TEXT(cell->kind), SQL_TEXT(cell->name));
    bool row;
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    if (row) {
        cell->version = sqlite_int(r, 0);
        sqlite_text(r, 1, cell->value, sizeof cell->value);
        sqlite_rows_end(r);
    }
    return 0;
}

/* --- writing --- */
static int sqlite_write_job(struct ledger_txn *t, const struct ledger_job *before,
                            const struct ledger_job *after, bool new_waits,
                            const struct ledger_line *line, struct err *e)
{
    struct sqlite_db *db = sqlite_txn_of(t)->db;
    struct ledger_sqlite_job row = {.job = *after,
                                    .known = true,
                                    .waits_logged = new_waits ? 0 : sqlite_txn_of(t)->waits_logged};
    if ((before != after || new_waits) && ledger_sqlite_save_job(db, &row, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, after->facts.id, line->vm, line, e);
}

static int sqlite_write_vm(struct ledger_txn *t, const struct ledger_vm *before,
                           const struct ledger_vm *after, const struct ledger_line *line,
                           struct err *e)
{
    struct sqlite_db *db = sqlite_txn_of(t)->db;
    if (before == NULL) { /* the counts follow a VM from its reservation on */
        struct ledger_vm reserved = *after;
        reserved.state = VM_RESERVED;
        if (ledger_sqlite_add_vm(db, &reserved, e) != 0) {
            return -1;
        }
    }
    if (before != after && ledger_sqlite_save_vm(db, after, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, 0, after->name, line, e);
}

static int sqlite_write_cell(struct ledger_txn *t, const struct ledger_cell *after, struct err *e)
{
    static const char put[] = "INSERT INTO cells (kind, name, version, value) VALUES (?1, ?2, ?3, "
                              "?4) ON CONFLICT DO UPDATE SET version = ?3, value = ?4";
    struct sqlite_db *db = sqlite_txn_of(t)->db;
    if (after->version == 0) {
        return sqlite_exec(db, e, "DELETE FROM cells WHERE kind = ?1 AND name = ?2",
                           SQL_TEXT(after->kind), SQL_TEXT(after->name));
    }
    return sqlite_exec(db, e, put, SQL_TEXT(after->kind), SQL_TEXT(after->name),
                       SQL_INT(after->version), SQL_TEXT(after->value));
}

/* --- running --- */
static int work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct txn *t = arg;
    t->db = db;
    t->base.now_ms = clock_wall_ms();
    return t->step(&t->base, t->arg, e);
}

static int sqlite_run_step(void *state, ledger_step_fn *step, void *arg, struct err *e)
{
    struct txn t = {.base = {.ops = &ledger_sqlite_txn_ops}, .step = step, .arg = arg};
    return sqlite_store_write(ledger_sqlite_store(state), work, &t, e);
}

const struct ledger_txn_ops ledger_sqlite_txn_ops = {
    .run = sqlite_run_step,
    .job = sqlite_load_job,
    .vm = sqlite_load_vm,
    .cell = sqlite_load_cell,
    .write_job = sqlite_write_job,
    .write_vm = sqlite_write_vm,
    .write_cell = sqlite_write_cell,
};

/* --- reading cells --- */
struct cells {
    const char *kind;
    const char *name; /* NULL: all of the kind */
    struct ledger_list cells;
};

static void sqlite_add_cell(struct sqlite_rows *r, void *arg)
{
    struct cells *a = arg;
    struct ledger_cell *cell = ledger_list_add(&a->cells);
    (void)snprintf(cell->kind, sizeof cell->kind, "%s", a->kind);
    sqlite_text(r, 0, cell->name, sizeof cell->name);
    cell->version = sqlite_int(r, 1);
    sqlite_text(r, 2, cell->value, sizeof cell->value);
}

static int cells_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct cells *a = arg;
    static const char all[] = "SELECT name, version, value FROM cells WHERE kind = ?1";
    static const char one[] =
        "SELECT name, version, value FROM cells WHERE kind = ?1 AND name = ?2";
    ledger_list_reset(&a->cells);
    struct sqlite_rows *r = a->name == NULL
                                ? sqlite_query(db, all, SQL_TEXT(a->kind))
                                : sqlite_query(db, one, SQL_TEXT(a->kind), SQL_TEXT(a->name));
    return sqlite_each(r, sqlite_add_cell, a, e);
}

int ledger_sqlite_cells(void *state, const char *kind, const char *name, struct ledger_cell **out,
                        size_t *n, struct err *e)
{
    struct cells a = {
        .kind = kind, .name = name, .cells = {.item_size = sizeof(struct ledger_cell)}};
    if (sqlite_store_read(ledger_sqlite_store(state), cells_work, &a, e) != 0) {
        free(a.cells.items);
        return -1;
    }
    *out = a.cells.items;
    *n = a.cells.count;
    return 0;
}

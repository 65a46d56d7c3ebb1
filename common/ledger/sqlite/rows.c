#include "common/ledger/sqlite/sqlite.h"

/* --- columns --- */
#define MARK_FIRST(kind, name, attribute, member) "?"
#define MARK_NEXT(kind, name, attribute, member) ", ?"
#define TAKE_NEW(kind, name, attribute, member) ", " name " = excluded." name
#define SET_MARK(kind, name, attribute, member) ", " name " = ?"
#define NOTHING(kind, name, attribute, member)
#define JOB_MARKS LEDGER_JOB_COLUMNS(MARK_FIRST, MARK_NEXT) ", ?"
#define JOB_TAKE_NEW LEDGER_JOB_COLUMNS(NOTHING, TAKE_NEW)
#define VM_MARKS LEDGER_VM_COLUMNS(MARK_FIRST, MARK_NEXT, MARK_NEXT)
#define VM_SET LEDGER_VM_COLUMNS(NOTHING, NOTHING, SET_MARK)

static bool read_row(struct sqlite_rows *r, const struct ledger_columns *columns, void *row)
{
    bool good = true;
    ledger_columns_clear(columns, row);
    for (size_t i = 0; i < columns->count; i++) {
        const struct ledger_column *c = &columns->at[i];
        if (c->kind == LEDGER_TEXT) {
            sqlite_text(r, (int)i, ledger_column_space(c, row), c->size);
        } else {
            good = ledger_column_set(columns, c, row, sqlite_int(r, (int)i)) && good;
        }
    }
    return good;
}

static struct sqlite_value value_of(const struct ledger_column *c, const void *row)
{
    return c->kind == LEDGER_TEXT ? SQL_TEXT(ledger_column_text(c, row))
                                  : SQL_INT(ledger_column_number(c, row));
}

/* --- jobs --- */
bool ledger_sqlite_read_job(struct sqlite_rows *r, struct ledger_sqlite_job *out)
{
    out->waits_logged = sqlite_int(r, (int)ledger_job_columns.count);
    out->known = true;
    return read_row(r, &ledger_job_columns, &out->job);
}

int ledger_sqlite_load_job(struct sqlite_db *db, int64_t id, struct ledger_sqlite_job *out,
                           struct err *e)
{
    static const char sql[] = "SELECT " LEDGER_SQLITE_JOB " FROM jobs WHERE id = ?1";
    struct sqlite_rows *r = sqlite_query(db, sql, SQL_INT(id));
    bool row = false;
    *out = (struct ledger_sqlite_job){.known = false};
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    if (row) {
        bool good = ledger_sqlite_read_job(r, out);
        sqlite_rows_end(r);
        return good ? 0 : err_set(e, ERR_PERMANENT, 0, "a job's row in SQLite cannot be read");
    }
    return 0;
}

int ledger_sqlite_need_job(struct sqlite_db *db, int64_t id, struct ledger_sqlite_job *out,
                           struct err *e)
{
    if (ledger_sqlite_load_job(db, id, out, e) != 0) {
        return -1;
    }
    if (!out->known) {
        return err_set(e, ERR_NOT_FOUND, 0, "job %lld is not in the ledger", (long long)id);
    }
    return 0;
}

int ledger_sqlite_save_job(struct sqlite_db *db, const struct ledger_sqlite_job *row, struct err *e)
{
    static const char sql[] =
        "INSERT INTO jobs (" LEDGER_SQLITE_JOB ") VALUES (" JOB_MARKS ") "
        "ON CONFLICT (id) DO UPDATE SET waits_logged = excluded.waits_logged" JOB_TAKE_NEW;
    struct sqlite_value values[LEDGER_COLUMNS_MAX + 1];
    size_t n = 0;
    for (; n < ledger_job_columns.count; n++) {
        values[n] = value_of(&ledger_job_columns.at[n], &row->job);
    }
    values[n++] = SQL_INT(row->waits_logged);
    return sqlite_exec_list(db, e, sql, values, n);
}

/* --- VMs --- */
bool ledger_sqlite_read_vm(struct sqlite_rows *r, struct ledger_vm *out)
{
    return read_row(r, &ledger_vm_columns, out);
}

int ledger_sqlite_load_vm(struct sqlite_db *db, const char *name, struct ledger_vm *out,
                          bool *known, struct err *e)
{
    static const char sql[] = "SELECT " LEDGER_SQLITE_VM " FROM vms WHERE name = ?1";
    struct sqlite_rows *r = sqlite_query(db, sql, SQL_TEXT(name));
    *known = false;
    if (sqlite_next(r, known, e) != 0) {
        return -1;
    }
    if (*known) {
        bool good = ledger_sqlite_read_vm(r, out);
        sqlite_rows_end(r);
        return good ? 0 : err_set(e, ERR_PERMANENT, 0, "a VM's row in SQLite cannot be read");
    }
    return 0;
}

int ledger_sqlite_need_vm(struct sqlite_db *db, const char *name, struct ledger_vm *out,
                          struct err *e)
{
    bool known;
    if (ledger_sqlite_load_vm(db, name, out, &known, e) != 0) {
        return -1;
    }
    if (!known) {
        return err_set(e, ERR_NOT_FOUND, 0, "VM %s is not in the ledger", name);
    }
    return 0;
}

int ledger_sqlite_add_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e)
{
    static const char sql[] = "INSERT INTO vms (" LEDGER_SQLITE_VM ") VALUES (" VM_MARKS ")";
    struct sqlite_value values[LEDGER_COLUMNS_MAX];
    for (size_t i = 0; i < ledger_vm_columns.count; i++) {
        values[i] = value_of(&ledger_vm_columns.at[i], vm);
    }
    return sqlite_exec_list(db, e, sql, values, ledger_vm_columns.count);
}

int ledger_sqlite_save_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e)
{
    /* A column in no index goes first, so that the others can begin with a comma. */
    static const char sql[] = "UPDATE vms SET host = host" VM_SET " WHERE name = ?";
    struct sqlite_value values[LEDGER_COLUMNS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < ledger_vm_columns.count; i++) {
        if (ledger_vm_columns.at[i].moves) {
            values[n++] = value_of(&ledger_vm_columns.at[i], vm);
        }
    }
    values[n++] = SQL_TEXT(vm->name);
    return sqlite_exec_list(db, e, sql, values, n);
}

#include "common/ledger/ledger_sqlite.h"

/* --- jobs --- */
void ledger_sqlite_read_job(struct sqlite_rows *r, struct ledger_sqlite_job *out)
{
    struct ledger_job *j = &out->job;
    *out = (struct ledger_sqlite_job){.known = true};
    j->id = sqlite_int(r, 0);
    j->run_id = sqlite_int(r, 1);
    j->run_attempt = sqlite_int(r, 2);
    j->installation_id = sqlite_int(r, 3);
    j->state = (enum ledger_job_state)sqlite_int(r, 4);
    sqlite_text(r, 5, j->repository, sizeof j->repository);
    sqlite_text(r, 6, j->organization, sizeof j->organization);
    sqlite_text(r, 7, j->scope, sizeof j->scope);
    sqlite_text(r, 8, j->class_name, sizeof j->class_name);
    sqlite_text(r, 9, j->name, sizeof j->name);
    sqlite_text(r, 10, j->labels, sizeof j->labels);
    sqlite_text(r, 11, j->conclusion, sizeof j->conclusion);
    sqlite_text(r, 12, j->runner_name, sizeof j->runner_name);
    j->created_ms = sqlite_int(r, 13);
    j->waiting_ms = sqlite_int(r, 14);
    j->running_ms = sqlite_int(r, 15);
    j->ended_ms = sqlite_int(r, 16);
    j->updated_ms = sqlite_int(r, 17);
    j->relaunched_ms = sqlite_int(r, 18);
    j->relaunches = sqlite_int(r, 19);
    out->told = sqlite_int(r, 20);
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
        ledger_sqlite_read_job(r, out);
        sqlite_rows_end(r);
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
        return err_set(e, ERR_NOT_FOUND, 0, "the ledger knows no job %lld", (long long)id);
    }
    return 0;
}

int ledger_sqlite_save_job(struct sqlite_db *db, const struct ledger_sqlite_job *row, struct err *e)
{
    static const char sql[] =
        "INSERT INTO jobs (" LEDGER_SQLITE_JOB
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, "
        "?18, ?19, ?20, ?21) ON CONFLICT (id) DO UPDATE SET run_id = ?2, run_attempt = ?3, "
        "installation_id = ?4, state = ?5, repository = ?6, organization = ?7, scope = ?8, "
        "class_name = ?9, name = ?10, labels = ?11, conclusion = ?12, runner_name = ?13, "
        "created_ms = ?14, waiting_ms = ?15, running_ms = ?16, ended_ms = ?17, updated_ms = ?18, "
        "relaunched_ms = ?19, relaunches = ?20, told = ?21";
    const struct ledger_job *j = &row->job;
    return sqlite_exec(db, e, sql, SQL_INT(j->id), SQL_INT(j->run_id), SQL_INT(j->run_attempt),
                       SQL_INT(j->installation_id), SQL_INT(j->state), SQL_TEXT(j->repository),
                       SQL_TEXT(j->organization), SQL_TEXT(j->scope), SQL_TEXT(j->class_name),
                       SQL_TEXT(j->name), SQL_TEXT(j->labels), SQL_TEXT(j->conclusion),
                       SQL_TEXT(j->runner_name), SQL_INT(j->created_ms), SQL_INT(j->waiting_ms),
                       SQL_INT(j->running_ms), SQL_INT(j->ended_ms), SQL_INT(j->updated_ms),
                       SQL_INT(j->relaunched_ms), SQL_INT(j->relaunches), SQL_INT(row->told));
}

/* --- VMs --- */
void ledger_sqlite_read_vm(struct sqlite_rows *r, struct ledger_vm *out)
{
    *out = (struct ledger_vm){.state = VM_RESERVED};
    sqlite_text(r, 0, out->name, sizeof out->name);
    sqlite_text(r, 1, out->client_token, sizeof out->client_token);
    sqlite_text(r, 2, out->provider, sizeof out->provider);
    sqlite_text(r, 3, out->class_name, sizeof out->class_name);
    sqlite_text(r, 4, out->scope, sizeof out->scope);
    sqlite_text(r, 5, out->repository, sizeof out->repository);
    sqlite_text(r, 6, out->host, sizeof out->host);
    sqlite_text(r, 7, out->vm_id, sizeof out->vm_id);
    out->installation_id = sqlite_int(r, 8);
    out->for_job = sqlite_int(r, 9);
    out->job_id = sqlite_int(r, 10);
    out->runner_id = sqlite_int(r, 11);
    out->state = (enum ledger_vm_state)sqlite_int(r, 12);
    out->reserved_ms = sqlite_int(r, 13);
    out->registered_ms = sqlite_int(r, 14);
    out->launched_ms = sqlite_int(r, 15);
    out->busy_ms = sqlite_int(r, 16);
    out->ending_ms = sqlite_int(r, 17);
    out->gone_ms = sqlite_int(r, 18);
    out->deadline_ms = sqlite_int(r, 19);
    sqlite_text(r, 20, out->end_reason, sizeof out->end_reason);
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
        ledger_sqlite_read_vm(r, out);
        sqlite_rows_end(r);
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
        return err_set(e, ERR_NOT_FOUND, 0, "the ledger knows no VM %s", name);
    }
    return 0;
}

int ledger_sqlite_add_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e)
{
    static const char sql[] =
        "INSERT INTO vms (" LEDGER_SQLITE_VM
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '', ?8, ?9, 0, 0, ?10, ?11, 0, 0, 0, 0, 0, 0, '')";
    return sqlite_exec(db, e, sql, SQL_TEXT(vm->name), SQL_TEXT(vm->client_token),
                       SQL_TEXT(vm->provider), SQL_TEXT(vm->class_name), SQL_TEXT(vm->scope),
                       SQL_TEXT(vm->repository), SQL_TEXT(vm->host), SQL_INT(vm->installation_id),
                       SQL_INT(vm->for_job), SQL_INT(vm->state), SQL_INT(vm->reserved_ms));
}

int ledger_sqlite_save_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e)
{
    static const char sql[] =
        "UPDATE vms SET vm_id = ?2, job_id = ?3, runner_id = ?4, state = ?5, registered_ms = ?6, "
        "launched_ms = ?7, busy_ms = ?8, ending_ms = ?9, gone_ms = ?10, deadline_ms = ?11, "
        "end_reason = ?12 WHERE name = ?1";
    return sqlite_exec(db, e, sql, SQL_TEXT(vm->name), SQL_TEXT(vm->vm_id), SQL_INT(vm->job_id),
                       SQL_INT(vm->runner_id), SQL_INT(vm->state), SQL_INT(vm->registered_ms),
                       SQL_INT(vm->launched_ms), SQL_INT(vm->busy_ms), SQL_INT(vm->ending_ms),
                       SQL_INT(vm->gone_ms), SQL_INT(vm->deadline_ms), SQL_TEXT(vm->end_reason));
}

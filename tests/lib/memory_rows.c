#include "tests/lib/memory_rows.h"

#include <stdio.h>
#include <string.h>

#include "common/ledger/sqlite/sqlite.h"

int __real_sqlite_store_write(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                              struct err *e);
int __wrap_sqlite_store_write(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                              struct err *e);
int __real_sqlite_store_read(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                             struct err *e);
int __wrap_sqlite_store_read(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                             struct err *e);
int __real_ledger_sqlite_save_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e);
int __wrap_ledger_sqlite_save_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e);
int __real_ledger_sqlite_save_job(struct sqlite_db *db, const struct ledger_sqlite_job *row,
                                  struct err *e);
int __wrap_ledger_sqlite_save_job(struct sqlite_db *db, const struct ledger_sqlite_job *row,
                                  struct err *e);

static struct rows {
    char url[64];
    void *ledger; /* NULL: no rows were requested */
    size_t vm_count;
    size_t job_count;
    bool saved_vms[MEMORY_ROWS_MAX]; /* in the current transaction */
    bool saved_jobs[MEMORY_ROWS_MAX];
    struct ledger_vm vms[MEMORY_ROWS_MAX]; /* as the test sees them */
    struct ledger_vm stored_vms[MEMORY_ROWS_MAX];
    struct ledger_job jobs[MEMORY_ROWS_MAX];
    struct ledger_job stored_jobs[MEMORY_ROWS_MAX];
} rows;

/* --- to the store --- */
/* The table requires a VM to start as reserved and to be deleted as gone; its triggers count by
 * that. Tokens are unique in it, and most tests set none. */
static int put_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e)
{
    struct ledger_vm reserved = *vm;
    reserved.state = VM_RESERVED;
    if (reserved.client_token[0] == '\0') {
        (void)snprintf(reserved.client_token, sizeof reserved.client_token, "%s", vm->name);
    }
    if (sqlite_exec(db, e, "UPDATE vms SET state = ?2 WHERE name = ?1", SQL_TEXT(vm->name),
                    SQL_INT(VM_GONE)) != 0 ||
        sqlite_exec(db, e, "DELETE FROM vms WHERE name = ?1", SQL_TEXT(vm->name)) != 0) {
        return -1;
    }
    return ledger_sqlite_add_vm(db, &reserved, e) != 0 ? -1
                                                       : __real_ledger_sqlite_save_vm(db, vm, e);
}

static int put_changed(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    for (size_t i = 0; i < rows.vm_count; i++) {
        if (memcmp(&rows.vms[i], &rows.stored_vms[i], sizeof rows.vms[i]) != 0 &&
            put_vm(db, &rows.vms[i], e) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < rows.job_count; i++) {
        struct ledger_sqlite_job job = {.job = rows.jobs[i], .known = true};
        if (memcmp(&rows.jobs[i], &rows.stored_jobs[i], sizeof rows.jobs[i]) != 0 &&
            __real_ledger_sqlite_save_job(db, &job, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- from the store --- */
/* The row at that index, if the store still has it; a deleted one stays unchanged. */
static int get_vm(struct sqlite_db *db, size_t at, struct err *e)
{
    struct ledger_vm vm;
    bool known;
    if (ledger_sqlite_load_vm(db, rows.vms[at].name, &vm, &known, e) != 0) {
        return -1;
    }
    if (known) {
        vm.client_token[0] = strcmp(vm.client_token, vm.name) != 0 ? vm.client_token[0] : '\0';
        rows.vms[at] = vm;
        rows.stored_vms[at] = vm;
    }
    return 0;
}

static int get_job(struct sqlite_db *db, size_t at, struct err *e)
{
    struct ledger_sqlite_job job;
    if (ledger_sqlite_load_job(db, rows.jobs[at].facts.id, &job, e) != 0) {
        return -1;
    }
    if (job.known) {
        rows.jobs[at] = job.job;
        rows.stored_jobs[at] = job.job;
    }
    return 0;
}

static int get_saved(struct sqlite_db *db, void *arg, struct err *e)
{
    int rc = 0;
    (void)arg;
    for (size_t i = 0; rc == 0 && i < rows.vm_count; i++) {
        rc = rows.saved_vms[i] ? get_vm(db, i, e) : 0;
    }
    for (size_t i = 0; rc == 0 && i < rows.job_count; i++) {
        rc = rows.saved_jobs[i] ? get_job(db, i, e) : 0;
    }
    memset(rows.saved_vms, 0, sizeof rows.saved_vms);
    memset(rows.saved_jobs, 0, sizeof rows.saved_jobs);
    return rc;
}

static size_t find_vm(const char *name)
{
    size_t i = 0;
    while (i < rows.vm_count && strcmp(rows.vms[i].name, name) != 0) {
        i++;
    }
    return i;
}

static size_t find_job(int64_t id)
{
    size_t i = 0;
    while (i < rows.job_count && rows.jobs[i].facts.id != id) {
        i++;
    }
    return i;
}

int __wrap_ledger_sqlite_save_vm(struct sqlite_db *db, const struct ledger_vm *vm, struct err *e)
{
    size_t at = find_vm(vm->name);
    if (at < rows.vm_count) {
        rows.saved_vms[at] = true;
    }
    return __real_ledger_sqlite_save_vm(db, vm, e);
}

int __wrap_ledger_sqlite_save_job(struct sqlite_db *db, const struct ledger_sqlite_job *row,
                                  struct err *e)
{
    size_t at = find_job(row->job.facts.id);
    if (at < rows.job_count) {
        rows.saved_jobs[at] = true;
    }
    return __real_ledger_sqlite_save_job(db, row, e);
}

/* --- around each transaction --- */
static bool any_changed(void)
{
    return memcmp(rows.vms, rows.stored_vms, rows.vm_count * sizeof rows.vms[0]) != 0 ||
           memcmp(rows.jobs, rows.stored_jobs, rows.job_count * sizeof rows.jobs[0]) != 0;
}

static void put_rows(void)
{
    struct err e;
    if (any_changed()) {
        struct sqlite_store *s = ledger_sqlite_store(rows.ledger);
        ASSERT(__real_sqlite_store_write(s, put_changed, NULL, &e) == 0);
        memcpy(rows.stored_vms, rows.vms, rows.vm_count * sizeof rows.vms[0]);
        memcpy(rows.stored_jobs, rows.jobs, rows.job_count * sizeof rows.jobs[0]);
    }
}

/* The test's changes of these rows have been written before. */
static void get_rows(void)
{
    struct err e;
    if (rows.ledger != NULL) {
        struct sqlite_store *s = ledger_sqlite_store(rows.ledger);
        ASSERT(__real_sqlite_store_read(s, get_saved, NULL, &e) == 0);
    }
}

int __wrap_sqlite_store_write(struct sqlite_store *s, sqlite_work_fn *work, void *arg,
                              struct err *e)
{
    put_rows();
    int rc = __real_sqlite_store_write(s, work, arg, e);
    get_rows();
    return rc;
}

int __wrap_sqlite_store_read(struct sqlite_store *s, sqlite_work_fn *work, void *arg, struct err *e)
{
    put_rows();
    return __real_sqlite_store_read(s, work, arg, e);
}

/* --- for tests --- */
static void need_ledger(const char *url)
{
    struct err e;
    if (rows.ledger != NULL && strcmp(rows.url, url) != 0) {
        ledger_ops_sqlite.close(rows.ledger);
        rows.ledger = NULL;
    }
    if (rows.ledger == NULL) {
        memset(&rows, 0, sizeof rows);
        ASSERT(slice_to_cstr(slice_of(url), rows.url, sizeof rows.url));
        ASSERT(ledger_ops_sqlite.open(url, false, &rows.ledger, &e) == 0);
    }
}

struct ledger_vm *memory_vm(const char *url, const char *name)
{
    need_ledger(url);
    size_t i = find_vm(name);
    if (i == rows.vm_count) {
        ASSERT(i < MEMORY_ROWS_MAX &&
               slice_to_cstr(slice_of(name), rows.vms[i].name, sizeof rows.vms[i].name));
        rows.vm_count++;
        rows.saved_vms[i] = true;
        get_rows();
    }
    return &rows.vms[i];
}

struct ledger_job *memory_job(const char *url, int64_t id)
{
    need_ledger(url);
    size_t i = find_job(id);
    if (i == rows.job_count) {
        ASSERT(i < MEMORY_ROWS_MAX);
        rows.jobs[i].facts.id = id;
        rows.job_count++;
        rows.saved_jobs[i] = true;
        get_rows();
    }
    return &rows.jobs[i];
}

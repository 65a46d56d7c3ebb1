#include <stdio.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

/* A step is one TransactWriteItems, conditional on the versions of the rows that it read. */

#define CELL_MAX (4 * 1024) /* as an item */

struct txn {
    struct ledger_txn base; /* first */
    struct ledger_dynamo_txn dynamo;
    struct ledger_dynamo_job job;
    struct ledger_dynamo_vm vm;
    struct ledger_job job_before;
    bool job_changed;
    char fetched[sizeof((struct ledger_vm *)0)->name]; /* the VM that came with the job; "" none */
    char cell_version[LEDGER_DYNAMO_VERSION];          /* of the cell that was loaded */
};

static struct txn *dynamo_txn_of(struct ledger_txn *t)
{
    return (struct txn *)(void *)t;
}

/* --- loading --- */
static int dynamo_load_job(struct ledger_txn *base, int64_t id, const char *vm_hint,
                           struct ledger_job *out, bool *known, struct err *e)
{
    struct txn *t = dynamo_txn_of(base);
    if (ledger_dynamo_load_both(&t->dynamo, id, vm_hint, &t->job, &t->vm, e) != 0) {
        return -1;
    }
    (void)snprintf(t->fetched, sizeof t->fetched, "%s", vm_hint);
    t->job_before = t->job.job;
    *known = t->job.known;
    *out = t->job.job;
    return 0;
}

static int dynamo_load_vm(struct ledger_txn *base, const char *name, struct ledger_vm *out,
                          bool *known, struct err *e)
{
    struct txn *t = dynamo_txn_of(base);
    if (strcmp(name, t->fetched) != 0 && ledger_dynamo_load_vm(&t->dynamo, name, &t->vm, e) != 0) {
        return -1;
    }
    *known = t->vm.known;
    *out = t->vm.vm;
    return 0;
}

static struct ledger_dynamo_key cell_key(const struct ledger_dynamo *l, const char *kind,
                                         const char *name)
{
    char pk[sizeof "cell:" + LEDGER_CELL_KIND];
    (void)snprintf(pk, sizeof pk, "cell:%s", kind);
    return ledger_dynamo_key(l, pk, "%s", name);
}

static void read_cell(const json_t *item, struct ledger_cell *out)
{
    out->version = ledger_dynamo_read_number(item, "n");
    ledger_dynamo_read_text(item, "value", out->value, sizeof out->value);
}

static int dynamo_load_cell(struct ledger_txn *base, struct ledger_cell *cell, struct err *e)
{
    struct txn *t = dynamo_txn_of(base);
    struct ledger_dynamo_key key = cell_key(t->dynamo.l, cell->kind, cell->name);
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(t->dynamo.l, &key, 1, &got, e) != 0) {
        return -1;
    }
    read_cell(got.items[0], cell);
    ledger_dynamo_read_text(got.items[0], "version", t->cell_version, sizeof t->cell_version);
    ledger_dynamo_got_fini(&got);
    return 0;
}

/* --- writing --- */
/* The item is put when the step ends: it names the VM that comes after it. */
static int dynamo_write_job(struct ledger_txn *base, const struct ledger_job *before,
                            const struct ledger_job *after, bool new_waits,
                            const struct ledger_line *line, struct err *e)
{
    struct txn *t = dynamo_txn_of(base);
    (void)e;
    t->job.job = *after;
    t->job.waits_logged = new_waits ? 0 : t->job.waits_logged;
    bool waits_logged = ledger_dynamo_log_job(&t->dynamo, &t->job, line->vm, line);
    t->job_changed = waits_logged || new_waits || before != after;
    return 0;
}

static int dynamo_write_vm(struct ledger_txn *base, const struct ledger_vm *before,
                           const struct ledger_vm *after, const struct ledger_line *line,
                           struct err *e)
{
    struct txn *t = dynamo_txn_of(base);
    (void)e;
    t->vm.vm = *after;
    if (before == NULL) { /* no cap counts */
        t->dynamo.launch = (struct ledger_dynamo_launch){
            .taken = true,
            .fleet_most = INT64_MAX,
            .class_most = INT64_MAX,
            .target_most = INT64_MAX,
        };
        (void)snprintf(t->dynamo.launch.class_name, sizeof t->dynamo.launch.class_name, "%s",
                       after->class_name);
        (void)snprintf(t->dynamo.launch.target, sizeof t->dynamo.launch.target, "%s",
                       after->target);
    }
    bool waits_logged = ledger_dynamo_log_vm(&t->dynamo, &t->vm, line);
    if (waits_logged || before != after) {
        ledger_dynamo_write_vm(&t->dynamo, before, &t->vm);
    }
    if (before != after && t->job.job.facts.id != 0 && after->job_id == t->job.job.facts.id) {
        ledger_dynamo_relate(&t->job, after->name);
        t->job_changed = true;
    }
    return 0;
}

static void dynamo_put_cell(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                            const struct ledger_cell *cell, const struct ledger_dynamo_expr *x)
{
    struct buf attributes;
    buf_init(&attributes, CELL_MAX);
    ledger_dynamo_put_number(&attributes, "n", cell->version);
    ledger_dynamo_put_text(&attributes, "value", cell->value);
    ledger_dynamo_put_text(&attributes, "version", t->version);
    ledger_dynamo_put(t, key, &attributes, x);
    t->proof = *key;
    buf_fini(&attributes);
}

static int dynamo_write_cell(struct ledger_txn *base, const struct ledger_cell *after,
                             struct err *e)
{
    struct txn *t = dynamo_txn_of(base);
    struct ledger_dynamo_key key = cell_key(t->dynamo.l, after->kind, after->name);
    struct ledger_dynamo_expr x;
    (void)e;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_if_version(&x, t->cell_version);
    if (after->version == 0) {
        ledger_dynamo_delete(&t->dynamo, &key, &x);
    } else {
        dynamo_put_cell(&t->dynamo, &key, after, &x);
    }
    ledger_dynamo_expr_fini(&x);
    return 0;
}

/* --- running --- */
static int dynamo_run_once(struct txn *t, ledger_step_fn *step, void *arg, bool *done,
                           struct err *e)
{
    t->base.now_ms = t->dynamo.now_ms;
    t->job.job.facts.id = 0;
    t->job_changed = false;
    t->fetched[0] = '\0';
    if (step(&t->base, arg, e) != 0) {
        return -1;
    }
    if (t->job_changed) {
        ledger_dynamo_write_job(&t->dynamo, t->job.known ? &t->job_before : NULL, &t->job);
    }
    return ledger_dynamo_commit(&t->dynamo, done, e);
}

static int dynamo_run_step(void *state, ledger_step_fn *step, void *arg, struct err *e)
{
    struct txn t;
    bool done = false;
    int rc;
    t.base.ops = &ledger_dynamo_txn_ops;
    ledger_dynamo_begin(&t.dynamo, state);
    do {
        rc = dynamo_run_once(&t, step, arg, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t.dynamo, e)) == 0);
    ledger_dynamo_end(&t.dynamo);
    return rc;
}

const struct ledger_txn_ops ledger_dynamo_txn_ops = {
    .run = dynamo_run_step,
    .job = dynamo_load_job,
    .vm = dynamo_load_vm,
    .cell = dynamo_load_cell,
    .write_job = dynamo_write_job,
    .write_vm = dynamo_write_vm,
    .write_cell = dynamo_write_cell,
};

/* --- reading cells --- */
static void dynamo_add_cell(struct ledger_list *cells, const char *kind, const json_t *item)
{
    struct ledger_cell *cell = ledger_list_add(cells);
    (void)snprintf(cell->kind, sizeof cell->kind, "%s", kind);
    ledger_dynamo_read_text(item, "sk", cell->name, sizeof cell->name);
    read_cell(item, cell);
}

int ledger_dynamo_cells(void *state, const char *kind, const char *name, struct ledger_cell **out,
                        size_t *n, struct err *e)
{
    struct ledger_list cells = {.item_size = sizeof(struct ledger_cell)};
    struct ledger_dynamo_key key = cell_key(state, kind, name != NULL ? name : "*");
    struct ledger_dynamo_query all = {.pk = key.pk};
    struct ledger_dynamo_got got;
    int rc = name != NULL ? ledger_dynamo_get(state, &key, 1, &got, e)
                          : ledger_dynamo_query(state, &all, &got, e);
    if (rc != 0) {
        return -1;
    }
    for (size_t i = 0; i < got.count; i++) {
        if (got.items[i] != NULL) {
            dynamo_add_cell(&cells, kind, got.items[i]);
        }
    }
    ledger_dynamo_got_fini(&got);
    *out = cells.items;
    *n = cells.count;
    return 0;
}

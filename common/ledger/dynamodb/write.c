#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

/* Rows in a transaction: loading, adding lines, writing with their counts. */

#define ROW_MAX (64 * 1024)

/* --- loading --- */
static void use_order(struct ledger_dynamo_txn *t, int64_t order)
{
    t->order = order > t->order ? order : t->order;
}

int ledger_dynamo_load_vm(struct ledger_dynamo_txn *t, const char *name,
                          struct ledger_dynamo_vm *out, struct err *e)
{
    if (ledger_dynamo_find_vm(t->l, name, out, e) != 0) {
        return -1;
    }
    use_order(t, out->order);
    return 0;
}

int ledger_dynamo_load_both(struct ledger_dynamo_txn *t, int64_t id, const char *name,
                            struct ledger_dynamo_job *job, struct ledger_dynamo_vm *vm,
                            struct err *e)
{
    if (ledger_dynamo_find_both(t->l, id, name, job, vm, e) != 0) {
        return -1;
    }
    use_order(t, job->order);
    use_order(t, vm->order);
    return 0;
}

/* --- lines --- */
/* Moves the older half of a full tail into an item of its own; after the first lines these items
 * are a ring that is reused. `pk` without the prefix. */
static void spill(struct ledger_dynamo_txn *t, struct ledger_dynamo_lines *lines, const char *pk)
{
    struct ledger_dynamo_expr x;
    struct buf text;
    struct buf attributes;
    int64_t chunk = (lines->count - (int64_t)lines->n) / LEDGER_DYNAMO_CHUNK;
    int64_t first = LEDGER_LINES_FIRST / LEDGER_DYNAMO_CHUNK;
    int64_t at = chunk < first ? chunk : first + (chunk - first) % LEDGER_DYNAMO_RING;
    struct ledger_dynamo_key key = ledger_dynamo_key(t->l, pk, "line:%02" PRId64, at);
    _Static_assert(LEDGER_LINES_FIRST % LEDGER_DYNAMO_CHUNK == 0, "a chunk is kept or not");
    _Static_assert(LEDGER_DYNAMO_RING * LEDGER_DYNAMO_CHUNK >=
                       LEDGER_LINES_MAX - LEDGER_LINES_FIRST,
                   "the ring holds the newest lines");
    buf_init(&text, ROW_MAX);
    buf_init(&attributes, ROW_MAX);
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_pack_lines(lines->tail, LEDGER_DYNAMO_CHUNK, &text);
    ledger_dynamo_put_text(&attributes, "lines", text.data);
    ledger_dynamo_put_number(&attributes, "first", chunk * LEDGER_DYNAMO_CHUNK);
    ledger_dynamo_put(t, &key, &attributes, &x);
    lines->n -= LEDGER_DYNAMO_CHUNK;
    memmove(lines->tail, lines->tail + LEDGER_DYNAMO_CHUNK, lines->n * sizeof lines->tail[0]);
    ledger_dynamo_expr_fini(&x);
    buf_fini(&attributes);
    buf_fini(&text);
}

static bool repeats(const struct ledger_dynamo_lines *lines, const struct ledger_line *line)
{
    const struct ledger_dynamo_line *last = lines->n > 0 ? &lines->tail[lines->n - 1] : NULL;
    return last != NULL && strcmp(last->what, line->what) == 0 &&
           strcmp(last->detail, line->detail) == 0;
}

/* After every line that this step has loaded, and near the clock's time. */
static int64_t next_order(struct ledger_dynamo_txn *t)
{
    int64_t now_us = t->now_ms * 1000;
    t->order = t->order >= now_us ? t->order + 1 : now_us;
    return t->order;
}

static bool append_line(struct ledger_dynamo_txn *t, struct ledger_dynamo_lines *lines,
                        const char *pk, const char *vm, const struct ledger_line *line)
{
    if (line->what == NULL || repeats(lines, line)) {
        return false;
    }
    if (lines->n == LEDGER_DYNAMO_TAIL) {
        spill(t, lines, pk);
    }
    struct ledger_dynamo_line *l = &lines->tail[lines->n++];
    *l = (struct ledger_dynamo_line){.order = next_order(t), .at_ms = t->now_ms};
    (void)snprintf(l->vm, sizeof l->vm, "%s", vm);
    (void)snprintf(l->what, sizeof l->what, "%s", line->what);
    (void)snprintf(l->detail, sizeof l->detail, "%s", line->detail);
    lines->count++;
    return true;
}

bool ledger_dynamo_log_job(struct ledger_dynamo_txn *t, struct ledger_dynamo_job *row,
                           const char *vm, const struct ledger_line *line)
{
    char pk[40];
    (void)snprintf(pk, sizeof pk, "job:%" PRId64, row->job.facts.id);
    return append_line(t, &row->lines, pk, vm, line);
}

bool ledger_dynamo_log_vm(struct ledger_dynamo_txn *t, struct ledger_dynamo_vm *row,
                          const struct ledger_line *line)
{
    char pk[80];
    (void)snprintf(pk, sizeof pk, "lines:%s", row->vm.name);
    return append_line(t, &row->lines, pk, "", line);
}

void ledger_dynamo_relate(struct ledger_dynamo_job *row, const char *vm)
{
    const size_t kept = LEDGER_DYNAMO_JOB_VMS / 2;
    for (size_t i = 0; i < row->vm_count; i++) {
        if (strcmp(row->vms[i], vm) == 0) {
            return;
        }
    }
    if (row->vm_count == LEDGER_DYNAMO_JOB_VMS) {
        row->vm_count--;
        memmove(row->vms[kept], row->vms[kept + 1], (row->vm_count - kept) * sizeof row->vms[0]);
    }
    (void)snprintf(row->vms[row->vm_count++], sizeof row->vms[0], "%s", vm);
}

/* --- one row --- */
static void prove_by(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key)
{
    t->proof = *key;
}

/* Put if unchanged since it was read. */
static void put_row(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                    const struct buf *attributes, const char *version_before)
{
    struct ledger_dynamo_expr x;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_if_version(&x, version_before);
    ledger_dynamo_put(t, key, attributes, &x);
    ledger_dynamo_expr_fini(&x);
    prove_by(t, key);
}

static void delete_row(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                       const char *version_before)
{
    struct ledger_dynamo_expr x;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_if_version(&x, version_before);
    ledger_dynamo_delete(t, key, &x);
    ledger_dynamo_expr_fini(&x);
}

/* --- jobs --- */
static void count_job(struct ledger_dynamo_txn *t, const struct ledger_job *job, int by)
{
    ledger_dynamo_countf(t, by, "j%u.%s", (unsigned)job->state, job->facts.class_name);
    if (job->state == JOB_WAITING) {
        ledger_dynamo_pair_of(t, job->scope, job->facts.class_name)->demand += by;
    }
}

void ledger_dynamo_write_job(struct ledger_dynamo_txn *t, const struct ledger_job *before,
                             struct ledger_dynamo_job *after)
{
    struct ledger_dynamo_key key = ledger_dynamo_job_key(t->l, after->job.facts.id);
    char was[LEDGER_DYNAMO_VERSION];
    struct buf attributes;
    if (before != NULL) {
        count_job(t, before, -1);
    }
    count_job(t, &after->job, 1);
    (void)snprintf(was, sizeof was, "%s", after->version);
    (void)snprintf(after->version, sizeof after->version, "%s", t->version);
    after->order = t->order;
    buf_init(&attributes, ROW_MAX);
    ledger_dynamo_pack_job(t->l, after, &attributes);
    put_row(t, &key, &attributes, was);
    buf_fini(&attributes);
}

void ledger_dynamo_remove_job(struct ledger_dynamo_txn *t, const struct ledger_dynamo_job *row)
{
    struct ledger_dynamo_key key = ledger_dynamo_job_key(t->l, row->job.facts.id);
    count_job(t, &row->job, -1);
    delete_row(t, &key, row->version);
}

/* --- VMs --- */
static bool dynamo_is_supply(const struct ledger_vm *vm)
{
    return vm->state < VM_BUSY;
}

static void count_vm(struct ledger_dynamo_txn *t, const struct ledger_vm *vm, int by)
{
    ledger_dynamo_countf(t, by, "v%u.%s", (unsigned)vm->state, vm->class_name);
    if (dynamo_is_supply(vm)) {
        ledger_dynamo_pair_of(t, vm->scope, vm->class_name)->supply += by;
    }
}

static void count_repository(struct ledger_dynamo_txn *t, const char *name, int64_t by)
{
    if (name[0] == '\0') {
        return; /* launched for no job */
    }
    ASSERT(t->repository_count < COUNT_OF(t->repositories));
    struct ledger_dynamo_repository *r = &t->repositories[t->repository_count++];
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    r->by = by;
}

/* The launch's slot is counted with its caps, by t->launch. */
static void count_birth(struct ledger_dynamo_txn *t, const struct ledger_vm *vm)
{
    struct ledger_dynamo_pair *p = ledger_dynamo_pair_of(t, vm->scope, vm->class_name);
    p->vms++;
    p->installation_id = vm->installation_id;
    count_repository(t, vm->repository, 1);
}

static void count_freed(struct ledger_dynamo_txn *t, const struct ledger_vm *vm)
{
    t->frees = true;
    ledger_dynamo_count(t, "f", 1);
    ledger_dynamo_countf(t, 1, "c.%s", vm->class_name);
    if (vm->target[0] != '\0') {
        ledger_dynamo_countf(t, 1, "t.%s", vm->target);
    }
}

void ledger_dynamo_write_vm(struct ledger_dynamo_txn *t, const struct ledger_vm *before,
                            struct ledger_dynamo_vm *after)
{
    struct ledger_dynamo_key live = ledger_dynamo_vm_key(t->l, after->vm.name);
    struct ledger_dynamo_key gone = ledger_dynamo_gone_key(t->l, after->vm.name);
    bool had = before != NULL && ledger_vm_has_slot(before->state);
    bool has = ledger_vm_has_slot(after->vm.state);
    char was[LEDGER_DYNAMO_VERSION];
    struct buf attributes;
    if (before != NULL) {
        count_vm(t, before, -1);
    } else {
        count_birth(t, &after->vm);
    }
    count_vm(t, &after->vm, 1);
    (void)snprintf(was, sizeof was, "%s", after->version);
    (void)snprintf(after->version, sizeof after->version, "%s", t->version);
    after->order = t->order;
    buf_init(&attributes, ROW_MAX);
    ledger_dynamo_pack_vm(t->l, after, &attributes);
    if (had && (!has || strcmp(before->repository, after->vm.repository) != 0)) {
        count_repository(t, before->repository, -1);
    }
    if (had && has && strcmp(before->repository, after->vm.repository) != 0) {
        count_repository(t, after->vm.repository, 1);
    }
    if (had && !has) {
        count_freed(t, &after->vm);
        delete_row(t, &live, was);
        put_row(t, &gone, &attributes, "");
    } else {
        put_row(t, has ? &live : &gone, &attributes, was);
    }
    t->newborn = before == NULL ? t->count : t->newborn;
    buf_fini(&attributes);
}

void ledger_dynamo_remove_vm(struct ledger_dynamo_txn *t, const struct ledger_dynamo_vm *row)
{
    struct ledger_dynamo_key gone = ledger_dynamo_gone_key(t->l, row->vm.name);
    ASSERT(row->vm.state == VM_GONE); /* one that holds a slot stays */
    count_vm(t, &row->vm, -1);
    ledger_dynamo_pair_of(t, row->vm.scope, row->vm.class_name)->vms--;
    delete_row(t, &gone, row->version);
}

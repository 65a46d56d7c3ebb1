#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/ledger/redis/redis.h"

/* A step on the rows that this process saw last, committed by one script if they are unchanged. */

struct txn {
    struct ledger_txn base; /* first */
    struct ledger_redis_txn redis;
    /* After the step, for the cache. */
    struct ledger_job job;   /* id 0: not written */
    struct ledger_vm vm;     /* name "": not written */
    struct ledger_cell cell; /* kind "": not written */
};

static struct txn *redis_txn_of(struct ledger_txn *t)
{
    return (struct txn *)(void *)t;
}

/* --- cells: version NUL value, in a hash of their kind by name --- */
static struct ledger_redis_name cells_key(const char *kind)
{
    return ledger_redis_named("cells:%s", kind);
}

static void pack_cell(const struct ledger_cell *cell, struct ledger_redis_row *out)
{
    int n = cell->version == 0 ? 0
                               : snprintf(out->bytes, sizeof out->bytes, "%" PRId64 "|%s",
                                          cell->version, cell->value);
    ASSERT(n >= 0 && (size_t)n < sizeof out->bytes);
    out->len = (size_t)n;
}

static int unpack_cell(struct slice row, struct ledger_cell *out, struct err *e)
{
    struct slice version;
    struct slice value;
    if (row.len == 0) {
        return 0;
    }
    if (!slice_cut(row, '|', &version, &value) || !slice_to_int64(version, &out->version) ||
        !slice_to_cstr(value, out->value, sizeof out->value)) {
        return err_set(e, ERR_PERMANENT, 0, "the cell %s/%s in Redis cannot be read", out->kind,
                       out->name);
    }
    return 0;
}

static void saw_cell(struct ledger_redis *l, const struct ledger_cell *cell)
{
    struct ledger_redis_row row;
    struct ledger_redis_name key = cells_key(cell->kind);
    pack_cell(cell, &row);
    ledger_redis_saw(l, key.text, slice_of(cell->name), (struct slice){row.bytes, row.len});
}

/* --- loading --- */
static int redis_load_job(struct ledger_txn *t, int64_t id, const char *vm_hint,
                          struct ledger_job *out, bool *known, struct err *e)
{
    (void)vm_hint;
    return ledger_redis_load_job(&redis_txn_of(t)->redis, id, out, known, e);
}

static int redis_load_vm(struct ledger_txn *t, const char *name, struct ledger_vm *out, bool *known,
                         struct err *e)
{
    return ledger_redis_load_vm(&redis_txn_of(t)->redis, name, out, known, e);
}

static int redis_load_cell(struct ledger_txn *t, struct ledger_cell *cell, struct err *e)
{
    struct ledger_redis_row row;
    struct ledger_redis_name key = cells_key(cell->kind);
    (void)ledger_redis_load(&redis_txn_of(t)->redis, key.text, slice_of(cell->name), &row);
    ledger_redis_guard_clock(&redis_txn_of(t)->redis, t->now_ms);
    return unpack_cell((struct slice){row.bytes, row.len}, cell, e);
}

/* --- writing --- */
static int redis_write_job(struct ledger_txn *t, const struct ledger_job *before,
                           const struct ledger_job *after, bool new_waits,
                           const struct ledger_line *line, struct err *e)
{
    struct ledger_redis_writes *w = &redis_txn_of(t)->redis.writes;
    (void)e;
    if (before != after) {
        ledger_redis_write_job(w, before, after);
    }
    if (new_waits) {
        ledger_redis_write_new_waits(w, after->facts.id);
    }
    ledger_redis_write_line(w, after->facts.id, line->vm, line);
    redis_txn_of(t)->job = *after;
    return 0;
}

static int redis_write_vm(struct ledger_txn *t, const struct ledger_vm *before,
                          const struct ledger_vm *after, const struct ledger_line *line,
                          struct err *e)
{
    struct ledger_redis_writes *w = &redis_txn_of(t)->redis.writes;
    (void)e;
    if (before != after) {
        ledger_redis_write_vm(w, before, after);
    }
    ledger_redis_write_line(w, 0, after->name, line);
    redis_txn_of(t)->vm = *after;
    return 0;
}

static int redis_write_cell(struct ledger_txn *t, const struct ledger_cell *after, struct err *e)
{
    struct ledger_redis_writes *w = &redis_txn_of(t)->redis.writes;
    struct ledger_redis_name key = cells_key(after->kind);
    struct ledger_redis_row row;
    (void)e;
    pack_cell(after, &row);
    if (row.len == 0) {
        LEDGER_REDIS_WRITE(w, "HDEL", ledger_redis_slice(&key), slice_of(after->name));
    } else {
        LEDGER_REDIS_WRITE(w, "HSET", ledger_redis_slice(&key), slice_of(after->name),
                           (struct slice){row.bytes, row.len});
    }
    redis_txn_of(t)->cell = *after;
    return 0;
}

/* --- running --- */
/* The step's error too is valid only if the rows are unchanged, so it is checked by a commit. */
static int redis_run_once(struct txn *t, ledger_step_fn *step, void *arg, bool *done, struct err *e)
{
    struct err refused = {0};
    t->base.now_ms = ledger_redis_now(t->redis.l);
    t->job.facts.id = 0;
    t->vm.name[0] = '\0';
    t->cell.kind[0] = '\0';
    int rc = step(&t->base, arg, &refused);
    if (rc != 0) {
        redis_args_reset(&t->redis.writes.args);
        t->redis.writes.count = 0;
    }
    if (ledger_redis_commit(&t->redis, done, e) != 0) {
        return -1;
    }
    if (*done && rc != 0) {
        *e = refused;
        return -1;
    }
    return 0;
}

static void cache_written(struct ledger_redis *l, const struct txn *t)
{
    if (t->job.facts.id != 0) {
        ledger_redis_saw_job(l, &t->job, &t->redis.writes.job_more);
    }
    if (t->vm.name[0] != '\0') {
        ledger_redis_saw_vm(l, &t->vm, &t->redis.writes.vm_more);
    }
    if (t->cell.kind[0] != '\0') {
        saw_cell(l, &t->cell);
    }
}

static int redis_run_step(void *state, ledger_step_fn *step, void *arg, struct err *e)
{
    struct txn t; /* about 20 KB, so not zeroed; each part is set before it is used */
    bool done = false;
    int rc;
    t.base.ops = &ledger_redis_txn_ops;
    ledger_redis_begin(&t.redis, state);
    do {
        rc = redis_run_once(&t, step, arg, &done, e);
    } while (rc == 0 && !done && (rc = ledger_redis_again(&t.redis, e)) == 0);
    if (rc == 0) {
        cache_written(state, &t);
    }
    ledger_redis_end(&t.redis);
    return rc;
}

const struct ledger_txn_ops ledger_redis_txn_ops = {
    .run = redis_run_step,
    .job = redis_load_job,
    .vm = redis_load_vm,
    .cell = redis_load_cell,
    .write_job = redis_write_job,
    .write_vm = redis_write_vm,
    .write_cell = redis_write_cell,
};

/* --- reading cells --- */
static int redis_add_cell(struct ledger_list *cells, const char *kind, struct slice name,
                          struct slice row, struct err *e)
{
    struct ledger_cell *cell = ledger_list_add(cells);
    (void)snprintf(cell->kind, sizeof cell->kind, "%s", kind);
    (void)snprintf(cell->name, sizeof cell->name, "%.*s", SLICE_ARG(name));
    return unpack_cell(row, cell, e);
}

int ledger_redis_cells(void *state, const char *kind, const char *name, struct ledger_cell **out,
                       size_t *n, struct err *e)
{
    struct ledger_list cells = {.item_size = sizeof(struct ledger_cell)};
    struct ledger_redis_name key = cells_key(kind);
    const char *words[] = {name, NULL};
    struct redis_reply *r = NULL;
    if (ledger_redis_call(state, name != NULL ? "HGET" : "HGETALL", key.text, words, &r, e) != 0) {
        return -1;
    }
    int rc = 0;
    if (name != NULL) {
        ledger_redis_saw(state, key.text, slice_of(name), redis_reply_bytes(r));
    }
    if (name != NULL && redis_reply_bytes(r).len > 0) {
        rc = redis_add_cell(&cells, kind, slice_of(name), redis_reply_bytes(r), e);
    }
    for (size_t i = 0; name == NULL && rc == 0 && i + 1 < redis_reply_count(r); i += 2) {
        rc = redis_add_cell(&cells, kind, redis_reply_bytes(redis_reply_at(r, i)),
                            redis_reply_bytes(redis_reply_at(r, i + 1)), e);
    }
    redis_reply_free(r);
    if (rc != 0) {
        free(cells.items);
        return -1;
    }
    *out = cells.items;
    *n = cells.count;
    return 0;
}

#include "common/ledger/cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"

/* --- any cell --- */
static int load_cell(struct ledger_txn *t, const char *kind, const char *name,
                     struct ledger_cell *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    (void)snprintf(out->kind, sizeof out->kind, "%s", kind);
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    return t->ops->cell(t, out, e);
}

struct put_cell {
    const struct ledger_cell *wanted; /* version: the expected one */
    bool remove;
    int64_t version; /* after */
};

/* A new cell's version is the clock's time, so that no version repeats after a removal. */
static int64_t next_version(const struct ledger_txn *t, int64_t version)
{
    return version >= t->now_ms ? version + 1 : t->now_ms;
}

static int put_cell(struct ledger_txn *t, void *arg, struct err *e)
{
    struct put_cell *p = arg;
    struct ledger_cell cell;
    if (load_cell(t, p->wanted->kind, p->wanted->name, &cell, e) != 0) {
        return -1;
    }
    if (cell.version != p->wanted->version) {
        return err_set(e, ERR_CONFLICT, 0, "the cell %s/%s has another version", cell.kind,
                       cell.name);
    }
    p->version = p->remove ? 0 : next_version(t, cell.version);
    if (cell.version == 0 && p->remove) {
        return 0;
    }
    cell.version = p->version;
    memcpy(cell.value, p->wanted->value, sizeof cell.value);
    return t->ops->write_cell(t, &cell, e);
}

int ledger_step_put_cell(const struct ledger_txn_ops *ops, void *state,
                         const struct ledger_cell *cell, bool remove, int64_t *version,
                         struct err *e)
{
    struct put_cell p = {.wanted = cell, .remove = remove};
    if (ops->run(state, put_cell, &p, e) != 0) {
        return -1;
    }
    *version = p.version;
    return 0;
}

int ledger_write_next_version(struct ledger_txn *t, struct ledger_cell *cell, struct err *e)
{
    cell->version = next_version(t, cell->version);
    return t->ops->write_cell(t, cell, e);
}

/* --- paces: "<next>" --- */
/* A pace that cannot be read begins anew. */
int ledger_take_start(struct ledger_txn *t, const struct ledger_bucket *pace, int64_t *wait_ms,
                      struct err *e)
{
    struct ledger_cell cell;
    int64_t next_us = 0;
    if (load_cell(t, LEDGER_CELL_PACE, pace->name, &cell, e) != 0) {
        return -1;
    }
    if (!slice_to_int64(slice_of(cell.value), &next_us)) {
        next_us = 0;
    }
    int64_t wait_us = ledger_rule_start(&next_us, pace->per_second, pace->burst, t->now_ms);
    (void)snprintf(cell.value, sizeof cell.value, "%" PRId64, next_us);
    *wait_ms = (wait_us + 999) / 1000;
    return ledger_write_next_version(t, &cell, e);
}

/* --- leases: "<until> <ttl> <fence> <holder>" --- */
/* The cell stays when a lease is released, so that the fence keeps growing. */
struct lease_step {
    const struct ledger_lease *request;
    bool held;
    int64_t fence;
};

static int load_lease(struct ledger_txn *t, const char *name, struct ledger_cell *cell,
                      struct ledger_lease_row *out, struct err *e)
{
    struct slice until;
    struct slice ttl;
    struct slice fence;
    struct slice rest;
    *out = (struct ledger_lease_row){.fence = 0};
    if (load_cell(t, LEDGER_CELL_LEASE, name, cell, e) != 0) {
        return -1;
    }
    if (cell->version == 0) {
        return 0;
    }
    if (!slice_cut(slice_of(cell->value), ' ', &until, &rest) ||
        !slice_cut(rest, ' ', &ttl, &rest) || !slice_cut(rest, ' ', &fence, &rest) ||
        !slice_to_int64(until, &out->until_ms) || !slice_to_int64(ttl, &out->ttl_ms) ||
        !slice_to_int64(fence, &out->fence) ||
        !slice_to_cstr(rest, out->holder, sizeof out->holder)) {
        return err_set(e, ERR_PERMANENT, 0, "the lease %s cannot be read", name);
    }
    return 0;
}

static int write_lease(struct ledger_txn *t, struct ledger_cell *cell,
                       const struct ledger_lease_row *row, struct err *e)
{
    (void)snprintf(cell->value, sizeof cell->value, "%" PRId64 " %" PRId64 " %" PRId64 " %s",
                   row->until_ms, row->ttl_ms, row->fence, row->holder);
    return ledger_write_next_version(t, cell, e);
}

static int64_t seen_unchanged_ms(struct ledger_lease_seen *seen, const struct ledger_cell *cell)
{
    int64_t now_ms = clock_mono_ms();
    if (seen->version != cell->version) {
        *seen = (struct ledger_lease_seen){.version = cell->version, .since_ms = now_ms};
    }
    return now_ms - seen->since_ms;
}

/* Writes nothing if another holder has it. */
static int acquire_lease(struct ledger_txn *t, void *arg, struct err *e)
{
    struct lease_step *a = arg;
    struct ledger_cell cell;
    struct ledger_lease_row row;
    if (load_lease(t, a->request->name, &cell, &row, e) != 0) {
        return -1;
    }
    a->held = ledger_rule_lease(&row, a->request->holder, a->request->ttl_ms, t->now_ms,
                                seen_unchanged_ms(a->request->seen, &cell));
    a->fence = row.fence;
    return a->held ? write_lease(t, &cell, &row, e) : 0;
}

int ledger_step_lease(const struct ledger_txn_ops *ops, void *state,
                      const struct ledger_lease *request, bool *held, int64_t *fence, struct err *e)
{
    struct lease_step a = {.request = request};
    if (ops->run(state, acquire_lease, &a, e) != 0) {
        return -1;
    }
    *held = a.held;
    *fence = a.fence;
    return 0;
}

static int release_lease(struct ledger_txn *t, void *arg, struct err *e)
{
    const struct ledger_lease *request = arg;
    struct ledger_cell cell;
    struct ledger_lease_row row;
    if (load_lease(t, request->name, &cell, &row, e) != 0) {
        return -1;
    }
    if (strcmp(row.holder, request->holder) != 0) {
        return 0;
    }
    row.holder[0] = '\0';
    row.until_ms = 0;
    return write_lease(t, &cell, &row, e);
}

int ledger_step_release(const struct ledger_txn_ops *ops, void *state,
                        const struct ledger_lease *request, struct err *e)
{
    struct ledger_lease copy = *request;
    return ops->run(state, release_lease, &copy, e);
}

/* --- counters --- */
struct counter_step {
    const struct ledger_counter_change *request;
    int64_t after;
};

int64_t ledger_cell_number(const struct ledger_cell *cell)
{
    int64_t n;
    return slice_to_int64(slice_of(cell->value), &n) ? n : 0;
}

static int change_counter(struct ledger_txn *t, void *arg, struct err *e)
{
    struct counter_step *c = arg;
    struct ledger_cell cell;
    if (load_cell(t, LEDGER_CELL_COUNTER, c->request->name, &cell, e) != 0) {
        return -1;
    }
    uint64_t before = c->request->add ? (uint64_t)ledger_cell_number(&cell) : 0;
    c->after = (int64_t)(before + (uint64_t)c->request->n);
    (void)snprintf(cell.value, sizeof cell.value, "%" PRId64, c->after);
    return ledger_write_next_version(t, &cell, e);
}

int ledger_step_count(const struct ledger_txn_ops *ops, void *state,
                      const struct ledger_counter_change *request, int64_t *after, struct err *e)
{
    struct counter_step c = {.request = request};
    if (ops->run(state, change_counter, &c, e) != 0) {
        return -1;
    }
    *after = c.after;
    return 0;
}

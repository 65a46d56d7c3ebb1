/* The front's calls on leases, cells and counters, which are all cells of the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/front.h"
#include "common/ledger/list.h"

/* --- leases --- */
static int check_lease_names(const char *name, const char *holder, struct err *e)
{
    if (ledger_check_text("lease", name, 128, e) != 0) {
        return -1;
    }
    return ledger_check_text("the lease's holder", holder,
                             sizeof((struct ledger_lease_row *)0)->holder, e);
}

/* Under the lock. A new lease replaces the oldest entry. */
static struct ledger_lease_seen *seen_of_lease(struct ledger *l, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(l->leases); i++) {
        if (strcmp(l->leases[i].name, name) == 0) {
            return &l->leases[i].seen;
        }
    }
    struct lease_memory *oldest = &l->leases[l->next_lease++ % COUNT_OF(l->leases)];
    *oldest = (struct lease_memory){.seen = {.version = 0}};
    ASSERT(slice_to_cstr(slice_of(name), oldest->name, sizeof oldest->name));
    return &oldest->seen;
}

/* Calls the store without the lock, on a copy. Of two concurrent calls, either's observation is
 * kept. */
static int lease_with_memory(struct ledger *l, struct ledger_lease *request, bool *held,
                             int64_t *fence, struct err *e)
{
    pthread_mutex_lock(&l->lock);
    struct ledger_lease_seen seen = *seen_of_lease(l, request->name);
    pthread_mutex_unlock(&l->lock);
    request->seen = &seen;
    int rc = ledger_step_lease(l->ops->txn, l->state, request, held, fence, e);
    pthread_mutex_lock(&l->lock);
    *seen_of_lease(l, request->name) = seen;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

int ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms, bool *held,
                 int64_t *fence, struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_lease request = {.name = name, .holder = holder, .ttl_ms = ttl_ms};
    if (check_lease_names(name, holder, e) != 0 ||
        ledger_check_positive("ttl_ms", ttl_ms, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_LEASE, began_us, lease_with_memory(l, &request, held, fence, e), e);
}

int ledger_lease_release(struct ledger *l, const char *name, const char *holder, struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_lease request = {.name = name, .holder = holder};
    if (check_lease_names(name, holder, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_LEASE, began_us,
                         ledger_step_release(l->ops->txn, l->state, &request, e), e);
}

/* --- cells --- */
static int check_cell(const char *kind, const char *name, struct err *e)
{
    if (ledger_check_text("the cell's kind", kind, LEDGER_CELL_KIND, e) != 0) {
        return -1;
    }
    return name == NULL ? 0 : ledger_check_text("the cell's name", name, LEDGER_CELL_NAME, e);
}

int ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out, size_t *n,
                     struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (check_cell(kind, NULL, e) != 0) {
        return -1;
    }
    int rc = l->ops->cells(l->state, kind, NULL, out, n, e);
    *n = rc == 0 ? ledger_list_named_cells(*out, *n) : *n;
    return ledger_end_op(l, OP_CELL, began_us, rc, e);
}

int ledger_cell_get(struct ledger *l, const char *kind, const char *name, struct ledger_cell *out,
                    struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    if (check_cell(kind, name, e) != 0 ||
        ledger_end_op(l, OP_CELL, began_us, l->ops->cells(l->state, kind, name, &cells, &n, e),
                      e) != 0) {
        return -1;
    }
    *out = (struct ledger_cell){.version = 0};
    (void)snprintf(out->kind, sizeof out->kind, "%s", kind);
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    if (n > 0) {
        *out = cells[0];
    }
    free(cells);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): its parameters are what ledger.h promises */
int ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                    int64_t expected, int64_t *version, struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_cell cell = {.version = expected};
    int64_t now = 0;
    if (check_cell(kind, name != NULL ? name : "", e) != 0) {
        return -1;
    }
    if (value != NULL && strlen(value) >= sizeof cell.value) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: the cell %s/%s holds at most %zu bytes", kind,
                       name, sizeof cell.value - 1);
    }
    (void)snprintf(cell.kind, sizeof cell.kind, "%s", kind);
    (void)snprintf(cell.name, sizeof cell.name, "%s", name);
    (void)snprintf(cell.value, sizeof cell.value, "%s", value != NULL ? value : "");
    int rc = ledger_step_put_cell(l->ops->txn, l->state, &cell, value == NULL, &now, e);
    if (rc == 0 && version != NULL) {
        *version = now;
    }
    return ledger_end_op(l, OP_CELL, began_us, rc, e);
}

/* --- counters: cells that hold a number --- */
int ledger_counter_get(struct ledger *l, const char *name, int64_t *out, struct err *e)
{
    struct ledger_cell cell;
    if (ledger_cell_get(l, LEDGER_CELL_COUNTER, name, &cell, e) != 0) {
        return -1;
    }
    *out = ledger_cell_number(&cell);
    return 0;
}

static int write_counter(struct ledger *l, const struct ledger_counter_change *request,
                         int64_t *after, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (ledger_check_text("counter", request->name, LEDGER_CELL_NAME, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_COUNTER, began_us,
                         ledger_step_count(l->ops->txn, l->state, request, after, e), e);
}

int ledger_counter_set(struct ledger *l, const char *name, int64_t value, struct err *e)
{
    int64_t after;
    return write_counter(l, &(struct ledger_counter_change){.name = name, .n = value}, &after, e);
}

int ledger_counter_add(struct ledger *l, const char *name, int64_t n, int64_t *out, struct err *e)
{
    return write_counter(l, &(struct ledger_counter_change){.name = name, .add = true, .n = n}, out,
                         e);
}

#include "common/ledger/hosts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/slice.h"

#define KIND "host"
#define TRIES_MAX 8 /* of a compare-and-set, against conflicts */

static void decode(const struct ledger_cell *cell, struct ledger_host *out)
{
    struct slice word;
    struct slice rest;
    *out = (struct ledger_host){.drained_ms = 0};
    (void)!slice_to_cstr(slice_of(cell->name), out->id, sizeof out->id);
    (void)slice_cut(slice_of(cell->value), ' ', &word, &rest);
    if (cell->version == 0 || !slice_to_int64(word, &out->drained_ms)) {
        out->drained_ms = 0;
    }
    (void)!slice_to_cstr(rest, out->name, sizeof out->name);
}

int ledger_host_get(struct ledger *l, const char *id, struct ledger_host *out, struct err *e)
{
    struct ledger_cell cell;
    if (ledger_cell_get(l, KIND, id, &cell, e) != 0) {
        return -1;
    }
    decode(&cell, out);
    return 0;
}

typedef int change_fn(struct ledger_host *h, bool known, const void *arg, struct err *e);

static int update(struct ledger *l, const char *id, change_fn *change, const void *arg,
                  struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        struct ledger_host h;
        char value[LEDGER_CELL_VALUE];
        if (ledger_cell_get(l, KIND, id, &cell, e) != 0) {
            return -1;
        }
        decode(&cell, &h);
        if (change(&h, cell.version != 0, arg, e) != 0) {
            return -1;
        }
        (void)snprintf(value, sizeof value, "%" PRId64 " %s", h.drained_ms, h.name);
        if (ledger_cell_put(l, KIND, id, value, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

static int set_name(struct ledger_host *h, bool known, const void *arg, struct err *e)
{
    (void)known;
    (void)e;
    (void)snprintf(h->name, sizeof h->name, "%s", (const char *)arg);
    return 0;
}

int ledger_host_seen(struct ledger *l, const char *id, const char *name, struct err *e)
{
    return update(l, id, set_name, name, e);
}

static int set_drained(struct ledger_host *h, bool known, const void *arg, struct err *e)
{
    const bool *drained = arg;
    if (!known) {
        return err_set(e, ERR_NOT_FOUND, 0, "there is no host %s: see mayflyctl hosts", h->id);
    }
    if (!*drained) {
        h->drained_ms = 0;
    } else if (h->drained_ms == 0) {
        h->drained_ms = clock_wall_ms();
    }
    return 0;
}

int ledger_host_drain(struct ledger *l, const char *id, bool drained, struct err *e)
{
    return update(l, id, set_drained, &drained, e);
}

int ledger_host_remove(struct ledger *l, const char *id, struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        if (ledger_cell_get(l, KIND, id, &cell, e) != 0) {
            return -1;
        }
        if (cell.version == 0 || ledger_cell_put(l, KIND, id, NULL, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

int ledger_host_list(struct ledger *l, struct ledger_host **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(l, KIND, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_host *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        decode(&cells[i], &list[i]);
    }
    free(cells);
    *out = list;
    *n = count;
    return 0;
}

#include "common/ledger/pauses.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/ledger/kinds.h"

#define TRIES_MAX 8 /* of a compare-and-set, against conflicts */

/* "<since> <by> <reason>". A record that cannot be read pauses all the same, since it was meant to. */
static void decode(const struct ledger_cell *cell, struct ledger_pause *out)
{
    struct slice word;
    struct slice rest;
    *out = (struct ledger_pause){.since_ms = 0};
    (void)!slice_to_cstr(slice_of(cell->name), out->class_name, sizeof out->class_name);
    if (cell->version == 0) {
        return;
    }
    (void)slice_cut(slice_of(cell->value), ' ', &word, &rest);
    if (!slice_to_int64(word, &out->since_ms) || out->since_ms <= 0) {
        out->since_ms = 1;
    }
    (void)slice_cut(rest, ' ', &word, &rest);
    (void)!slice_to_cstr(word, out->by, sizeof out->by);
    (void)!slice_to_cstr(rest, out->reason, sizeof out->reason);
}

static void encode(const struct ledger_pause *p, char out[LEDGER_CELL_VALUE])
{
    (void)snprintf(out, LEDGER_CELL_VALUE, "%" PRId64 " %s %s", p->since_ms, p->by, p->reason);
}

static void set_by(struct ledger_pause *p, const char *by)
{
    (void)snprintf(p->by, sizeof p->by, "%s", by[0] != '\0' ? by : "-");
    for (char *c = p->by; *c != '\0'; c++) {
        *c = *c == ' ' ? '_' : *c;
    }
}

int ledger_pause_get(struct ledger *l, const char *class_name, struct ledger_pause *out,
                     struct err *e)
{
    struct ledger_cell cell;
    if (ledger_cell_get(l, LEDGER_KIND_PAUSE, class_name, &cell, e) != 0) {
        return -1;
    }
    decode(&cell, out);
    return 0;
}

int ledger_pause_begin(struct ledger *l, const char *class_name, const char *by, const char *reason,
                       struct ledger_pause *out, bool *began, struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        struct ledger_pause p;
        char value[LEDGER_CELL_VALUE];
        if (ledger_cell_get(l, LEDGER_KIND_PAUSE, class_name, &cell, e) != 0) {
            return -1;
        }
        decode(&cell, &p);
        bool is_new = cell.version == 0;
        if (is_new) {
            p.since_ms = clock_wall_ms();
        }
        if (is_new || reason[0] != '\0') {
            set_by(&p, by);
            slice_shorten(reason, p.reason, sizeof p.reason);
        }
        encode(&p, value);
        if (ledger_cell_put(l, LEDGER_KIND_PAUSE, class_name, value, cell.version, NULL, e) == 0) {
            *out = p;
            *began = is_new;
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

int ledger_pause_end(struct ledger *l, const char *class_name, struct ledger_pause *was,
                     struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        if (ledger_cell_get(l, LEDGER_KIND_PAUSE, class_name, &cell, e) != 0) {
            return -1;
        }
        if (cell.version == 0 ||
            ledger_cell_put(l, LEDGER_KIND_PAUSE, class_name, NULL, cell.version, NULL, e) == 0) {
            decode(&cell, was);
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

int ledger_pause_list(struct ledger *l, struct ledger_pause **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(l, LEDGER_KIND_PAUSE, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_pause *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        decode(&cells[i], &list[i]);
    }
    free(cells);
    *out = list;
    *n = count;
    return 0;
}

const struct ledger_pause *ledger_pause_of(const struct ledger_pause *list, size_t n,
                                           const char *class_name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].class_name, class_name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

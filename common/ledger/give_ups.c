#include "common/ledger/give_ups.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/ledger/kinds.h"

static const char *const stages[] = {
    [GIVE_UP_ASKED] = "asked", [GIVE_UP_SAID] = "said", [GIVE_UP_CANCELLED] = "cancelled"};

static bool read_stage(struct slice word, enum ledger_give_up_stage *out)
{
    for (size_t i = 0; i < COUNT_OF(stages); i++) {
        if (slice_eq_cstr(word, stages[i])) {
            *out = (enum ledger_give_up_stage)i;
            return true;
        }
    }
    return false;
}

/* "<stage> <at> <why>", by the job's id. */
static bool decode(const struct ledger_cell *cell, struct ledger_give_up *out)
{
    struct slice word;
    struct slice rest;
    *out = (struct ledger_give_up){.version = cell->version};
    (void)slice_cut(slice_of(cell->value), ' ', &word, &rest);
    bool good = read_stage(word, &out->stage);
    (void)slice_cut(rest, ' ', &word, &rest);
    good = good && slice_to_int64(word, &out->at_ms) &&
           slice_to_int64(slice_of(cell->name), &out->job_id) && out->job_id > 0;
    return good && slice_to_cstr(rest, out->why, sizeof out->why);
}

static void name_of(int64_t job_id, char out[24])
{
    (void)snprintf(out, 24, "%" PRId64, job_id);
}

static int put(struct ledger *l, struct ledger_give_up *g, struct err *e)
{
    char value[LEDGER_CELL_VALUE];
    char name[24];
    name_of(g->job_id, name);
    (void)snprintf(value, sizeof value, "%s %" PRId64 " %s", stages[g->stage], g->at_ms, g->why);
    return ledger_cell_put(l, LEDGER_KIND_GIVE_UP, name, value, g->version, &g->version, e);
}

int ledger_give_up_ask(struct ledger *l, int64_t job_id, const char *why, struct err *e)
{
    struct ledger_give_up g = {.job_id = job_id, .at_ms = clock_wall_ms(), .stage = GIVE_UP_ASKED};
    slice_shorten(why, g.why, sizeof g.why);
    return put(l, &g, e) == 0 || e->class == ERR_CONFLICT ? 0 : -1;
}

int ledger_give_up_advance(struct ledger *l, struct ledger_give_up *g, enum ledger_give_up_stage to,
                           struct err *e)
{
    struct ledger_give_up next = *g;
    next.stage = to;
    next.at_ms = clock_wall_ms();
    if (put(l, &next, e) != 0) {
        return -1;
    }
    *g = next;
    return 0;
}

int ledger_give_up_remove(struct ledger *l, const struct ledger_give_up *g, struct err *e)
{
    char name[24];
    name_of(g->job_id, name);
    return ledger_cell_put(l, LEDGER_KIND_GIVE_UP, name, NULL, g->version, NULL, e);
}

int ledger_give_up_list(struct ledger *l, struct ledger_give_up **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    size_t kept = 0;
    if (ledger_cell_list(l, LEDGER_KIND_GIVE_UP, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_give_up *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        kept += decode(&cells[i], &list[kept]);
    }
    free(cells);
    *out = list;
    *n = kept;
    return 0;
}

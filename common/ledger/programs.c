#include "common/ledger/programs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/slice.h"

#define KIND "program"
#define FORMAT_KIND "format"
#define FORMAT_NAME "record"
#define TRIES_MAX 8 /* of a compare-and-set, against conflicts */

/* Sets the value (NULL: removes the cell) unconditionally. */
static int overwrite(struct ledger *l, const char *id, const char *value, struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        if (ledger_cell_get(l, KIND, id, &cell, e) != 0) {
            return -1;
        }
        if (ledger_cell_put(l, KIND, id, value, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

int ledger_program_report(struct ledger *l, const struct ledger_program *p, struct err *e)
{
    char value[LEDGER_CELL_VALUE];
    (void)snprintf(value, sizeof value, "%" PRId64 " %" PRId64 " %" PRId64 " %s", clock_wall_ms(),
                   p->oldest_format, p->newest_format, p->version);
    return overwrite(l, p->id, value, e);
}

int ledger_program_leave(struct ledger *l, const char *id, struct err *e)
{
    return overwrite(l, id, NULL, e);
}

/* False if it is malformed. A newer version may have appended fields. */
static bool read_report(const struct ledger_cell *cell, struct ledger_program *out)
{
    struct slice word;
    struct slice rest = slice_of(cell->value);
    int64_t *const numbers[] = {&out->at_ms, &out->oldest_format, &out->newest_format};
    *out = (struct ledger_program){.at_ms = 0};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (!slice_cut(rest, ' ', &word, &rest) || !slice_to_int64(word, numbers[i])) {
            return false;
        }
    }
    (void)slice_cut(rest, ' ', &word, &rest);
    return slice_to_cstr(word, out->version, sizeof out->version) &&
           slice_to_cstr(slice_of(cell->name), out->id, sizeof out->id);
}

/* A report too far in the future expires too: its writer's clock was ahead. */
static bool is_expired(const struct ledger_program *p)
{
    int64_t age_ms = clock_wall_ms() - p->at_ms;
    return age_ms > LEDGER_REPORT_VALID_MS || age_ms < -LEDGER_REPORT_VALID_MS;
}

int ledger_program_list(struct ledger *l, struct ledger_program **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    size_t kept = 0;
    if (ledger_cell_list(l, KIND, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_program *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        if (read_report(&cells[i], &list[kept]) && !is_expired(&list[kept])) {
            kept++;
        }
    }
    free(cells);
    *out = list;
    *n = kept;
    return 0;
}

/* By compare-and-set, so that a report renewed meanwhile stays. */
static int remove_if_expired(struct ledger *l, const struct ledger_cell *cell, struct err *e)
{
    struct ledger_program p;
    if (read_report(cell, &p) && !is_expired(&p)) {
        return 0;
    }
    if (ledger_cell_put(l, KIND, cell->name, NULL, cell->version, NULL, e) != 0) {
        return e->class == ERR_CONFLICT ? 0 : -1;
    }
    return 0;
}

int ledger_program_tidy(struct ledger *l, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(l, KIND, &cells, &count, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = remove_if_expired(l, &cells[i], e);
    }
    free(cells);
    return rc;
}

/* --- the format --- */
static int load_format(struct ledger *l, struct ledger_cell *cell, int64_t *out, struct err *e)
{
    int64_t format = 1;
    if (ledger_cell_get(l, FORMAT_KIND, FORMAT_NAME, cell, e) != 0) {
        return -1;
    }
    if (cell->version != 0 && (!slice_to_int64(slice_of(cell->value), &format) || format < 1)) {
        return err_set(e, ERR_PERMANENT, 0, "the ledger's record format \"%.40s\" is not a number",
                       cell->value);
    }
    *out = format;
    return 0;
}

int ledger_format_get(struct ledger *l, int64_t *out, struct err *e)
{
    struct ledger_cell cell;
    return load_format(l, &cell, out, e);
}

int ledger_format_raise(struct ledger *l, int64_t format, struct err *e)
{
    char value[24];
    (void)snprintf(value, sizeof value, "%" PRId64, format);
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        int64_t present;
        if (load_format(l, &cell, &present, e) != 0) {
            return -1;
        }
        if (present >= format ||
            ledger_cell_put(l, FORMAT_KIND, FORMAT_NAME, value, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

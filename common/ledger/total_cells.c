#include "common/ledger/total_cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/ledger/kinds.h"
#include "common/ledger/list.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define NUMBERS 9 /* of a total's value, the batch first */

bool ledger_read_numbers(const char *text, int64_t *out, size_t n)
{
    struct slice rest = slice_of(text);
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        struct slice word;
        (void)slice_cut(rest, ' ', &word, &rest);
        good = good && slice_to_int64(word, &out[i]);
        out[i] = good ? out[i] : 0;
    }
    return good;
}

/* --- one total: "<class> <repository>" in the kind of its day --- */
static void kind_of(const char *day, char out[LEDGER_CELL_KIND])
{
    (void)snprintf(out, LEDGER_CELL_KIND, LEDGER_KIND_TOTALS ".%s", day);
}

int ledger_total_cell_get(struct ledger *l, const char *day, const struct ledger_total *of,
                          struct ledger_cell *out, struct err *e)
{
    char kind[LEDGER_CELL_KIND];
    char name[LEDGER_CELL_NAME];
    _Static_assert(CLASS_NAME_SIZE + REPOSITORY_SIZE <= LEDGER_CELL_NAME, "a name holds both");
    kind_of(day, kind);
    (void)snprintf(name, sizeof name, "%s %s", of->class_name, of->repository);
    if (ledger_cell_get(l, kind, name, out, e) != 0) {
        return -1;
    }
    return 0;
}

void ledger_total_decode(const struct ledger_cell *cell, struct ledger_total *out,
                         int64_t *out_batch)
{
    struct slice class_name;
    struct slice repository;
    int64_t n[NUMBERS];
    (void)slice_cut(slice_of(cell->name), ' ', &class_name, &repository);
    if (!ledger_read_numbers(cell->value, n, NUMBERS)) {
        memset(n, 0, sizeof n);
    }
    *out = (struct ledger_total){.vms = n[1],
                                 .jobs = n[2],
                                 .vm_ms = n[3],
                                 .vcpu_ms = n[4],
                                 .mib_s = n[5],
                                 .unsized_ms = n[6],
                                 .queue_ms = n[7],
                                 .job_minutes = n[8]};
    *out_batch = n[0];
    (void)!slice_to_cstr(class_name, out->class_name, sizeof out->class_name);
    (void)!slice_to_cstr(repository, out->repository, sizeof out->repository);
}

void ledger_total_encode(const struct ledger_total *total, int64_t batch,
                         char out[LEDGER_CELL_VALUE])
{
    const int64_t n[NUMBERS] = {
        batch,        total->vms,        total->jobs,     total->vm_ms,      total->vcpu_ms,
        total->mib_s, total->unsized_ms, total->queue_ms, total->job_minutes};
    int len = 0;
    for (size_t i = 0; i < NUMBERS; i++) {
        len += snprintf(out + len, LEDGER_CELL_VALUE - (size_t)len, "%s%" PRId64, i > 0 ? " " : "",
                        n[i]);
    }
}

/* --- days --- */
void ledger_total_day_of(int64_t wall_ms, char out[LEDGER_DAY_SIZE])
{
    char text[32];
    clock_format_utc(wall_ms > 0 ? wall_ms : 0, text, sizeof text);
    (void)snprintf(out, LEDGER_DAY_SIZE, "%.*s", LEDGER_DAY_SIZE - 1, text);
}

static int compare_days(const void *a, const void *b)
{
    const struct ledger_total_day *x = a;
    const struct ledger_total_day *y = b;
    return strcmp(x->name, y->name);
}

int ledger_total_days(struct ledger *l, struct ledger_total_day **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(l, LEDGER_KIND_TOTALS, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_total_day *days = calloc(count + 1, sizeof *days);
    ASSERT(days != NULL);
    for (size_t i = 0; i < count; i++) {
        (void)!slice_to_cstr(slice_of(cells[i].name), days[i].name, sizeof days[i].name);
        (void)ledger_read_numbers(cells[i].value, &days[i].totals, 1);
    }
    free(cells);
    qsort(days, count, sizeof *days, compare_days);
    *out = days;
    *n = count;
    return 0;
}

static int list_day(struct ledger *l, const char *day, struct ledger_cell **out, size_t *n,
                    struct err *e)
{
    char kind[LEDGER_CELL_KIND];
    kind_of(day, kind);
    return ledger_cell_list(l, kind, out, n, e);
}

int ledger_totals_of(struct ledger *l, const char *day, struct ledger_total **out, size_t *n,
                     struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (list_day(l, day, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_total *totals = calloc(count + 1, sizeof *totals);
    ASSERT(totals != NULL);
    for (size_t i = 0; i < count; i++) {
        int64_t batch;
        ledger_total_decode(&cells[i], &totals[i], &batch);
    }
    free(cells);
    *out = totals;
    *n = count;
    return 0;
}

/* --- retention --- */
/* Another process may remove the same cell. */
static int remove_cell(struct ledger *l, const struct ledger_cell *cell, struct err *e)
{
    return ledger_cell_put(l, cell->kind, cell->name, NULL, cell->version, NULL, e) == 0 ||
                   e->class == ERR_CONFLICT
               ? 0
               : -1;
}

/* The day itself goes when it has no totals left. */
static int remove_day(struct ledger *l, const char *day, size_t max, int64_t *removed,
                      struct err *e)
{
    struct ledger_cell *cells = NULL;
    struct ledger_cell cell;
    size_t n = 0;
    int rc = list_day(l, day, &cells, &n, e);
    for (size_t i = 0; rc == 0 && i < n && i < max; i++) {
        rc = remove_cell(l, &cells[i], e);
        *removed += rc == 0 ? 1 : 0;
    }
    free(cells);
    if (rc == 0 && n <= max) {
        rc = ledger_cell_get(l, LEDGER_KIND_TOTALS, day, &cell, e);
        rc = rc == 0 ? remove_cell(l, &cell, e) : rc;
    }
    return rc;
}

int ledger_totals_tidy(struct ledger *l, int64_t now_ms, size_t max, int64_t *removed,
                       struct err *e)
{
    struct ledger_total_day *days = NULL;
    char oldest[LEDGER_DAY_SIZE];
    size_t n = 0;
    int64_t gone = 0;
    ledger_total_day_of(now_ms - LEDGER_TOTAL_DAYS * DAY_MS, oldest);
    int rc = ledger_total_days(l, &days, &n, e);
    for (size_t i = 0; rc == 0 && i < n && gone < (int64_t)max; i++) {
        if (strcmp(days[i].name, oldest) < 0) {
            rc = remove_day(l, days[i].name, max - (size_t)gone, &gone, e);
        }
    }
    free(days);
    *removed = gone;
    return rc;
}

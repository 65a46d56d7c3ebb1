/*
 * The rows that the last sweeps read. A VM without a row may be one whose row ended a moment ago,
 * since lists lag; its former row, which is `gone`, is found by its name. A row that is not in the
 * ledger at all was lost.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "reaper/reaper.h"

static int compare_ids(const void *a, const void *b)
{
    const struct reaper_row *x = a;
    const struct reaper_row *y = b;
    return strcmp(x->vm_id, y->vm_id);
}

const struct reaper_row *reaper_recent_row(const struct reaper *r, const char *vm_id)
{
    struct reaper_row key;
    if (r->row_count == 0 || !slice_to_cstr(slice_of(vm_id), key.vm_id, sizeof key.vm_id)) {
        return NULL;
    }
    return bsearch(&key, r->rows, r->row_count, sizeof *r->rows, compare_ids);
}

/* The newer one of two with the same id stays. */
static size_t drop_doubles(struct reaper_row *rows, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && compare_ids(&rows[kept - 1], &rows[i]) == 0) {
            if (rows[i].seen_ms > rows[kept - 1].seen_ms) {
                rows[kept - 1] = rows[i];
            }
        } else {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

void sweep_remember_rows(struct sweep *s)
{
    struct reaper *r = s->reaper;
    int64_t now_ms = clock_mono_ms();
    struct reaper_row *all = reallocarray(NULL, r->row_count + s->vm_count + 1, sizeof *all);
    size_t n = 0;
    ASSERT(all != NULL);
    for (size_t i = 0; i < r->row_count; i++) {
        if (now_ms - r->rows[i].seen_ms < s->config->reaper.startup_timeout_ms) {
            all[n++] = r->rows[i];
        }
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (vm->vm_id[0] != '\0') {
            all[n] = (struct reaper_row){.seen_ms = now_ms};
            memcpy(all[n].vm_id, vm->vm_id, sizeof all[n].vm_id);
            memcpy(all[n++].name, vm->name, sizeof all[n].name);
        }
    }
    qsort(all, n, sizeof *all, compare_ids);
    free(r->rows);
    r->rows = all;
    r->row_count = drop_doubles(all, n);
}

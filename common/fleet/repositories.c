#include "common/fleet/repositories.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/ledger/kinds.h"

#define NOTED_MS (3600 * 1000LL)
#define WRITTEN_MS (6 * NOTED_MS)

/* "<installation> <wall clock ms>" */
static bool read_cell(const struct ledger_cell *cell, struct repository_seen *out)
{
    struct slice installation;
    struct slice at;
    *out = (struct repository_seen){.installation_id = 0};
    return slice_to_cstr(slice_of(cell->name), out->name, sizeof out->name) &&
           slice_cut(slice_of(cell->value), ' ', &installation, &at) &&
           slice_to_int64(installation, &out->installation_id) && slice_to_int64(at, &out->job_ms);
}

static int write_seen(struct ledger *l, const char *repository, int64_t installation_id,
                      struct err *e)
{
    struct ledger_cell cell;
    struct repository_seen seen;
    char value[64];
    int64_t now_ms = clock_wall_ms();
    if (ledger_cell_get(l, LEDGER_KIND_REPOSITORY, repository, &cell, e) != 0) {
        return -1;
    }
    if (cell.version != 0 && read_cell(&cell, &seen) && seen.installation_id == installation_id &&
        now_ms - seen.job_ms < WRITTEN_MS) {
        return 0;
    }
    (void)snprintf(value, sizeof value, "%lld %lld", (long long)installation_id, (long long)now_ms);
    int rc = ledger_cell_put(l, LEDGER_KIND_REPOSITORY, repository, value, cell.version, NULL, e);
    return rc != 0 && e->class == ERR_CONFLICT ? 0 : rc; /* another process has written it */
}

void repositories_note(struct repositories_noted *noted, struct ledger *l, const char *repository,
                       int64_t installation_id)
{
    struct err e = {0};
    uint64_t name = hash_text(repository) ^ (uint64_t)installation_id;
    uint64_t *place = &noted->names[name % REPOSITORIES_NOTED];
    uint64_t this = name + (uint64_t)(clock_mono_ms() / NOTED_MS + 1);
    if (repository[0] == '\0' || __atomic_load_n(place, __ATOMIC_RELAXED) == this) {
        return;
    }
    if (write_seen(l, repository, installation_id, &e) != 0) {
        log_debug("repository_not_noted", LOG_STR("repository", repository), LOG_ERR(&e));
        return;
    }
    __atomic_store_n(place, this, __ATOMIC_RELAXED);
}

static int compare_names(const void *a, const void *b)
{
    const struct repository_seen *one = a;
    const struct repository_seen *other = b;
    return strcmp(one->name, other->name);
}

static int forget(struct ledger *l, const struct ledger_cell *cell, struct err *e)
{
    int rc = ledger_cell_put(l, LEDGER_KIND_REPOSITORY, cell->name, NULL, cell->version, NULL, e);
    return rc != 0 && e->class == ERR_CONFLICT ? 0 : rc;
}

int repositories_list(struct ledger *l, int64_t since_ms, struct repository_seen **out, size_t *n,
                      struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    size_t kept = 0;
    int failed = 0;
    if (ledger_cell_list(l, LEDGER_KIND_REPOSITORY, &cells, &count, e) != 0) {
        return -1;
    }
    struct repository_seen *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; failed == 0 && i < count; i++) {
        if (read_cell(&cells[i], &list[kept]) && list[kept].job_ms >= since_ms) {
            kept++;
        } else {
            failed = forget(l, &cells[i], e);
        }
    }
    free(cells);
    if (failed != 0) {
        free(list);
        return -1;
    }
    qsort(list, kept, sizeof *list, compare_names);
    *out = list;
    *n = kept;
    return 0;
}

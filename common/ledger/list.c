#include "common/ledger/list.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/job/scope.h"

void *ledger_list_add(struct ledger_list *l)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity == 0 ? 16 : l->capacity * 2;
        void *items = reallocarray(l->items, capacity, l->item_size);
        ASSERT(items != NULL);
        l->items = items;
        l->capacity = capacity;
    }
    char *item = (char *)l->items + l->count * l->item_size;
    memset(item, 0, l->item_size);
    l->count++;
    return item;
}

void ledger_list_reset(struct ledger_list *l)
{
    l->count = 0;
}

static int compare_scopes(const void *a, const void *b)
{
    return strcmp(((const struct ledger_scope *)a)->name, ((const struct ledger_scope *)b)->name);
}

size_t ledger_list_merge_scopes(struct ledger_scope *all, size_t count)
{
    size_t kept = 0;
    if (count > 1) {
        qsort(all, count, sizeof *all, compare_scopes);
    }
    for (size_t i = 0; i < count; i++) {
        struct ledger_scope one = {.installation_id = all[i].installation_id};
        bool fits = slice_to_cstr(scope_place(all[i].name), one.name, sizeof one.name);
        if (!fits || one.name[0] == '\0') {
            continue;
        }
        if (kept == 0 || strcmp(all[kept - 1].name, one.name) != 0) {
            all[kept++] = one;
        } else if (all[kept - 1].installation_id == 0) {
            all[kept - 1].installation_id = one.installation_id;
        }
    }
    return kept;
}

size_t ledger_list_named_cells(struct ledger_cell *cells, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (cells[i].name[0] != '\0') {
            cells[kept++] = cells[i];
        }
    }
    return kept;
}

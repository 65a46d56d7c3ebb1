/*
 * A growing array, for a backend that collects the items of a result.
 *
 * For the backends alone. `items` is one block that the caller frees, on failure too. Do not change
 * `capacity` or `item_size` once there is an item. The caller bounds the number of items; the
 * program aborts when out of memory. One thread at a time.
 */
#ifndef MAYFLY_LEDGER_LIST_H
#define MAYFLY_LEDGER_LIST_H

#include <stddef.h>

#include "common/ledger/ledger.h"

struct ledger_list {
    void *items;
    size_t count;
    size_t capacity;
    size_t item_size; /* set by the caller; all else starts at zero */
};

/* Appends a zeroed item; the pointer is valid until the next call. */
void *ledger_list_add(struct ledger_list *l);
/* Removes all items, for a step that runs again. */
void ledger_list_reset(struct ledger_list *l);

/* Leaves the cells that have a name; others, which another program wrote or whose name is too long, cannot be
 * addressed. Returns how many are left. */
size_t ledger_list_named_cells(struct ledger_cell *cells, size_t count);

/* Leaves one of all runner groups of an organization, and none of adopted VMs; sorted by name. Returns
 * how many are left. */
size_t ledger_list_merge_scopes(struct ledger_scope *all, size_t count);

#endif

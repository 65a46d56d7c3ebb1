#include "common/ledger/list.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"

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

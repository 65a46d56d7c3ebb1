#include "tests/lib/memory_rows.h"

#include <stdlib.h>

#include "common/ledger/memory/memory.h"

static struct ledger_memory *lock_store(const char *url)
{
    struct err e;
    void *state = NULL;
    ASSERT(ledger_ops_memory.open(url, &state, &e) == 0);
    return ledger_memory_lock(state);
}

/* So that no row moves when others are added. */
static struct ledger_list *with_room(struct ledger_list *l)
{
    if (l->room < MEMORY_ROWS_MAX) {
        l->items = reallocarray(l->items, MEMORY_ROWS_MAX, l->item_size);
        ASSERT(l->items != NULL);
        l->room = MEMORY_ROWS_MAX;
    }
    ASSERT(l->count < MEMORY_ROWS_MAX);
    return l;
}

struct ledger_vm *memory_vm(const char *url, const char *name)
{
    struct ledger_memory *m = lock_store(url);
    struct ledger_vm *vm = ledger_memory_need(with_room(&m->vms), name, NULL, 0);
    ledger_memory_unlock(m);
    return vm;
}

struct ledger_job *memory_job(const char *url, int64_t id)
{
    struct ledger_memory *m = lock_store(url);
    struct ledger_memory_job *row = ledger_memory_job(m, id);
    if (row == NULL) {
        row = ledger_list_add(with_room(&m->jobs));
        row->job.facts.id = id;
    }
    ledger_memory_unlock(m);
    return &row->job;
}

#include "tests/lib/memory_rows.h"

#include "common/ledger/memory/memory.h"

void memory_put_vm(const char *url, const struct ledger_vm *vm)
{
    struct err e;
    void *state = NULL;
    ASSERT(ledger_ops_memory.open(url, &state, &e) == 0);
    struct ledger_memory *m = ledger_memory_lock(state);
    *(struct ledger_vm *)ledger_memory_need(&m->vms, vm->name, NULL, 0) = *vm;
    ledger_memory_unlock(m);
}

/*
 * Machines of ours without a row that holds a slot: left by a crash between the provider's answer
 * and our record, or by a ledger that was restored from an older copy.
 */
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

bool sweep_accounts_for(const struct sweep *s, const struct vm_info *machine)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (strcmp(vm->vm_id, machine->id) == 0 ||
            (machine->name[0] != '\0' && strcmp(vm->name, machine->name) == 0)) {
            return true;
        }
    }
    return false;
}

/* Fresh reads of both sides: the row may have been made, the machine may have ended, since. */
static bool is_stray_now(struct sweep *s, const struct sweep_machines *m,
                         const struct vm_info *machine)
{
    struct err e = {0};
    struct vm_info info;
    struct ledger_vm vm;
    if (vm_describe(m->provider, machine->id, &info, &e) != 0 || info.state == VM_RUN_ENDED) {
        return false;
    }
    if (machine->name[0] == '\0') {
        return true;
    }
    if (ledger_vm_get(s->reaper->ledger, machine->name, &vm, &e) == 0) {
        return vm.state == VM_GONE;
    }
    return e.class == ERR_NOT_FOUND;
}

static bool end_stray(struct sweep *s, const struct sweep_machines *m,
                      const struct vm_info *machine)
{
    struct err e = {0};
    if (!sweep_pace(s, m->class->name) || !is_stray_now(s, m, machine) ||
        !sweep_still_holds(s, m->provider)) {
        return false;
    }
    if (vm_terminate(m->provider, machine->id, 0, &e) != 0) {
        log_warn("orphan_vm_terminate_failed", LOG_STR("vm_id", machine->id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
        return false;
    }
    log_warn("orphan_vm_terminated", LOG_STR("vm_id", machine->id), LOG_STR("vm", machine->name),
             LOG_STR("class", m->class->name),
             LOG_STR("reason", "a VM of this deployment that the ledger does not know"));
    return true;
}

int sweep_orphans(struct sweep *s, int64_t *done, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < s->machines_count; i++) {
        const struct sweep_machines *m = &s->machines[i];
        for (size_t k = 0; m->known && k < m->count; k++) {
            const struct vm_info *machine = &m->list[k];
            struct sign_of sign = {SIGN_ORPHAN_VM, m->class->name, machine->id};
            if (machine->state != VM_RUN_ENDED && !sweep_accounts_for(s, machine) &&
                !sweep_may_be_unconfirmed(s, machine) && sweep_confirms(s, m->provider, &sign) &&
                end_stray(s, m, machine)) {
                (*done)++;
            }
        }
    }
    sweep_looked_at_machines(s, SIGN_ORPHAN_VM);
    return 0;
}

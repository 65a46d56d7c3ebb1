/*
 * This deployment's VMs without a row that holds a slot: left by a crash between the provider's
 * response and its record, or by a ledger that was restored from an older copy.
 */
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

bool sweep_has_row_of(const struct sweep *s, const struct vm_info *listed)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (strcmp(vm->vm_id, listed->id) == 0 ||
            (listed->name[0] != '\0' && strcmp(vm->name, listed->name) == 0)) {
            return true;
        }
    }
    return false;
}

/* Fresh reads of both sides: meanwhile the row may have been created or the VM may have ended. */
static bool is_still_orphan(struct sweep *s, const struct sweep_listing *m,
                            const struct vm_info *listed)
{
    struct err e = {0};
    struct vm_info info;
    struct ledger_vm vm;
    if (vm_describe(m->provider, listed->id, &info, &e) != 0 || info.state == VM_RUN_ENDED) {
        return false;
    }
    if (listed->name[0] == '\0') {
        return true;
    }
    if (ledger_vm_get(s->reaper->ledger, listed->name, &vm, &e) == 0) {
        return vm.state == VM_GONE;
    }
    return e.class == ERR_NOT_FOUND;
}

static bool terminate_orphan(struct sweep *s, const struct sweep_listing *m,
                             const struct vm_info *listed)
{
    struct err e = {0};
    if (!sweep_terminate_turn(s, m->class->name) || !is_still_orphan(s, m, listed) ||
        !sweep_still_holds(s, m->provider)) {
        return false;
    }
    if (vm_terminate(m->provider, listed->id, 0, &e) != 0) {
        log_warn("orphan_vm_terminate_failed", LOG_STR("vm_id", listed->id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
        return false;
    }
    log_warn("orphan_vm_terminated", LOG_STR("vm_id", listed->id), LOG_STR("vm", listed->name),
             LOG_STR("class", m->class->name),
             LOG_STR("reason", "a VM of this deployment that the ledger does not know"));
    return true;
}

int sweep_orphans(struct sweep *s, int64_t *repairs, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        for (size_t k = 0; m->known && k < m->count; k++) {
            const struct vm_info *listed = &m->list[k];
            struct sign_of sign = {SIGN_ORPHAN_VM, m->class->name, listed->id};
            if (listed->state != VM_RUN_ENDED && !sweep_has_row_of(s, listed) &&
                !sweep_may_be_unconfirmed(s, listed) && sweep_confirm_sign(s, m->provider, &sign) &&
                terminate_orphan(s, m, listed)) {
                (*repairs)++;
            }
        }
    }
    sweep_vms_observed(s, SIGN_ORPHAN_VM);
    return 0;
}

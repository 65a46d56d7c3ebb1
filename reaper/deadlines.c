/*
 * VMs past their deadline, which is evidence of its own; and VMs that stay `ending` too long.
 */
#include "common/base/clock.h"
#include "reaper/reaper.h"

/* A row whose launch was never recorded has no deadline: it gets one from its class. */
static int64_t deadline_of(const struct sweep *s, const struct ledger_vm *vm)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    if (vm->deadline_ms > 0 || class == NULL) {
        return vm->deadline_ms;
    }
    return vm->reserved_ms + class->max_duration_ms;
}

/* A row whose VM id is unknown (fleet.h): there is no VM to terminate, and unconfirmed_launches.c
 * releases its slot. */
static bool keeps_its_slot(const struct sweep *s, const struct ledger_vm *vm)
{
    return vm->state == VM_ENDING && fleet_vm_id_unknown(s->reaper->fleet, vm);
}

int sweep_deadlines(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct fleet_termination how = {.reason = "deadline: it ran longer than max_duration",
                                    .evidence = FLEET_OVER};
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        int64_t deadline = deadline_of(s, vm);
        if (deadline > 0 && s->now_ms > deadline + s->config->reaper.deadline_grace_period_ms &&
            !keeps_its_slot(s, vm) && sweep_may_act_on(s, vm) && sweep_terminate_vm(s, vm, &how)) {
            (*repairs)++;
        }
    }
    return 0;
}

int sweep_terminations(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct fleet_termination how = {.evidence = FLEET_OVER};
    for (size_t i = 0; i < s->vm_count; i++) {
        struct ledger_vm vm = s->vms[i];
        bool late = s->now_ms > vm.ending_ms + s->config->reaper.terminate_timeout_ms;
        if (vm.state != VM_ENDING || !late || keeps_its_slot(s, &vm) || !sweep_may_act_on(s, &vm)) {
            continue;
        }
        if (ledger_vm_get(s->reaper->ledger, vm.name, &vm, e) != 0) {
            return -1;
        }
        if (vm.state == VM_ENDING && sweep_terminate_vm(s, &vm, &how)) {
            (*repairs)++;
        }
    }
    return 0;
}

/*
 * VMs past their deadline, which is a sign of its own; and VMs that are `ending` and whose end
 * nobody finished.
 */
#include "common/base/clock.h"
#include "reaper/reaper.h"

/* A row whose launch was never recorded has no deadline of its own: it gets one from its class. */
static int64_t deadline_of(const struct sweep *s, const struct ledger_vm *vm)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    if (vm->deadline_ms > 0 || class == NULL) {
        return vm->deadline_ms;
    }
    return vm->reserved_ms + class->max_duration_ms;
}

/* A row whose machine nobody can name (fleet.h): there is nothing to end, and unconfirmed_launches.c frees it.
 */
static bool holds_its_slot(const struct sweep *s, const struct ledger_vm *vm)
{
    return vm->state == VM_ENDING && fleet_machine_unknown(s->reaper->fleet, vm);
}

int sweep_deadlines(struct sweep *s, int64_t *done, struct err *e)
{
    struct fleet_end how = {.reason = "deadline: it ran longer than max_duration"};
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        int64_t deadline = deadline_of(s, vm);
        if (deadline > 0 && s->now_ms > deadline + s->config->reaper.deadline_grace_period_ms &&
            !holds_its_slot(s, vm) && sweep_may_touch(s, vm) && sweep_end_vm(s, vm, &how)) {
            (*done)++;
        }
    }
    return 0;
}

int sweep_endings(struct sweep *s, int64_t *done, struct err *e)
{
    struct fleet_end how = {.reason = NULL, .grace_ms = 0};
    for (size_t i = 0; i < s->vm_count; i++) {
        struct ledger_vm vm = s->vms[i];
        bool late = s->now_ms > vm.ending_ms + s->config->reaper.terminate_timeout_ms;
        if (vm.state != VM_ENDING || !late || holds_its_slot(s, &vm) || !sweep_may_touch(s, &vm)) {
            continue;
        }
        if (ledger_vm_get(s->reaper->ledger, vm.name, &vm, e) != 0) {
            return -1;
        }
        if (vm.state == VM_ENDING && sweep_end_vm(s, &vm, &how)) {
            (*done)++;
        }
    }
    return 0;
}

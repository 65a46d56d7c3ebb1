/*
 * Launches whose answer was lost where machines tell no name (fleet.h): which machines may be
 * theirs, and the end of their rows.
 *
 * Nothing leads from such a row to its machine, but time does: the machine was started after the
 * row was made and before it was `ending`, give or take what clocks differ
 * (reaper.deadline_grace_period). A row holds its slot while any machine without a row fits it,
 * whatever the provider promised about longest lives; and a machine that no row fits, or that is
 * past the longest life that a fitting row gave it, is a stray (orphans.c).
 */
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

static bool lists(const struct sweep_machines *m, const char *id)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->list[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the machine was started when the row's was. */
static bool fits(const struct sweep *s, const struct ledger_vm *vm, const struct vm_info *machine)
{
    int64_t apart_ms = s->config->reaper.deadline_grace_period_ms;
    int64_t asked_until_ms = vm->state == VM_ENDING ? vm->ending_ms : s->now_ms;
    return machine->started_ms == 0 || (machine->started_ms >= vm->reserved_ms - apart_ms &&
                                        machine->started_ms <= asked_until_ms + apart_ms);
}

/* Whether a machine of that row may still be at work then. */
static bool may_be_at_work(const struct sweep *s, const struct ledger_vm *vm,
                           const struct vm_info *machine)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    if (class == NULL || machine->started_ms == 0) {
        return fleet_hold_ms(s->reaper->fleet, vm) > 0;
    }
    return s->now_ms <= machine->started_ms + class->max_duration_ms +
                            s->config->reaper.deadline_grace_period_ms;
}

bool sweep_may_be_unconfirmed(const struct sweep *s, const struct vm_info *machine)
{
    for (size_t i = 0; machine->name[0] == '\0' && i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_machines *m = sweep_machines_of(s, vm->class_name);
        if (fleet_machine_unknown(s->reaper->fleet, vm) && (m == NULL || lists(m, machine->id)) &&
            fits(s, vm, machine) && may_be_at_work(s, vm, machine)) {
            return true;
        }
    }
    return false;
}

static bool none_fits(const struct sweep *s, const struct sweep_machines *m,
                      const struct ledger_vm *vm)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct vm_info *machine = &m->list[i];
        if (machine->state != VM_RUN_ENDED && !sweep_accounts_for(s, machine) &&
            fits(s, vm, machine)) {
            return false;
        }
    }
    return true;
}

/* A list may lag behind a launch, but not for that long. */
static bool would_be_listed(const struct sweep *s, const struct ledger_vm *vm)
{
    return s->now_ms > vm->ending_ms + s->config->reaper.startup_timeout_ms ||
           fleet_hold_ms(s->reaper->fleet, vm) == 0;
}

static bool is_still_unnamed(const struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct ledger_vm now;
    return ledger_vm_get(s->reaper->ledger, vm->name, &now, &e) == 0 && now.state == VM_ENDING &&
           now.vm_id[0] == '\0';
}

static bool confirms(struct sweep *s, const struct sweep_machines *m, const struct ledger_vm *vm)
{
    struct sign_of sign = {SIGN_LAUNCH_UNCONFIRMED, m->class->name, vm->name};
    return sweep_confirms(s, m->provider, &sign);
}

int sweep_unconfirmed_launches(struct sweep *s, int64_t *done, struct err *e)
{
    struct fleet_end how = {.reason = "its launch got no response, and no VM matches it",
                            .nothing_runs = true};
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_machines *m = sweep_machines_of(s, vm->class_name);
        if (vm->state == VM_ENDING && m != NULL && sweep_may_touch(s, vm) &&
            fleet_machine_unknown(s->reaper->fleet, vm) && would_be_listed(s, vm) &&
            none_fits(s, m, vm) && confirms(s, m, vm) && is_still_unnamed(s, vm) &&
            sweep_end_vm(s, vm, &how)) {
            (*done)++;
        }
    }
    sweep_looked_at_machines(s, SIGN_LAUNCH_UNCONFIRMED);
    return 0;
}

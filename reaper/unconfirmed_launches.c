/*
 * Launches whose response was lost, with a provider whose VMs carry no name (fleet.h): which listed
 * VMs may belong to them, and how their rows end.
 *
 * Such a row has no VM id, but it has times: its VM was started after the row was created and
 * before the row was `ending`, within a clock difference of reaper.deadline_grace_period. A row
 * holds its slot while any listed VM without a row matches it, whatever maximum life the provider
 * promised. A VM that no such row matches, or that is past the maximum life that a matching row
 * gave it, is an orphan (orphans.c), which is terminated at its deadline.
 *
 * A VM is terminated before if the launches of all rows that it may belong to are over: they have
 * lost their registration at GitHub, so that they have no job and can get none. But it may also be
 * that of a row that was lost, as with the last writes of a server that another took over: so, in
 * addition, two lists of the runners must show none of its class without a row (quiet.c).
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/fleet/reconcile.h"
#include "reaper/reaper.h"

static bool is_listed(const struct sweep_listing *m, const char *id)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->list[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static bool may_belong_to_row(const struct sweep *s, const struct ledger_vm *vm,
                              const struct vm_info *listed)
{
    return fleet_may_belong_to_row(s->reaper->fleet, vm, listed, s->now_ms);
}

/* Whether a VM of that row may still run now. */
static bool may_still_run(const struct sweep *s, const struct ledger_vm *vm,
                          const struct vm_info *listed)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    if (class == NULL || listed->started_ms == 0) {
        return fleet_slot_hold_ms(s->reaper->fleet, vm) > 0;
    }
    return s->now_ms <=
           listed->started_ms + class->max_duration_ms + s->config->reaper.deadline_grace_period_ms;
}

/* A launch elsewhere, as in a region that is lost, has no VM in this list. */
static bool is_elsewhere(const struct sweep *s, const struct sweep_listing *in,
                         const struct ledger_vm *vm)
{
    const struct sweep_listing *own = sweep_class_of(s, vm);
    return own != NULL && own->target != in->target;
}

bool sweep_may_be_unconfirmed(const struct sweep *s, const struct sweep_listing *in,
                              const struct vm_info *listed)
{
    for (size_t i = 0; listed->name[0] == '\0' && i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_listing *m = sweep_listing_of(s, vm);
        if (fleet_vm_id_unknown(s->reaper->fleet, vm) && !is_elsewhere(s, in, vm) &&
            (m == NULL || is_listed(m, listed->id)) && may_belong_to_row(s, vm, listed) &&
            may_still_run(s, vm, listed)) {
            return true;
        }
    }
    return false;
}

/* Whether no runner of that row has, or can get, a job. */
static bool is_over(struct sweep *s, const struct sweep_listing *m, const struct ledger_vm *vm)
{
    return m != NULL && vm->state == VM_ENDING && sweep_may_act_on(s, vm) &&
           sweep_judge_runner(s, m, vm) == RUNNER_GONE;
}

static bool *find_rows_that_are_over(struct sweep *s)
{
    bool *over = calloc(s->vm_count + 1, sizeof *over);
    ASSERT(over != NULL);
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        over[i] =
            fleet_vm_id_unknown(s->reaper->fleet, vm) && is_over(s, sweep_listing_of(s, vm), vm);
    }
    return over;
}

/* Whether the VM may belong to rows of its class, and all of them are over. */
static bool belongs_to_rows_that_are_over(const struct sweep *s, const struct sweep_listing *m,
                                          const struct vm_info *listed, const bool *over)
{
    bool any = false;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (!fleet_vm_id_unknown(s->reaper->fleet, vm) || sweep_class_of(s, vm) != m ||
            !may_belong_to_row(s, vm, listed)) {
            continue;
        }
        any = true;
        if (!over[i]) {
            return false;
        }
    }
    return any;
}

static void terminate_unconfirmed_of(struct sweep *s, const struct sweep_listing *m,
                                     const bool *over, int64_t *repairs)
{
    bool counted = false;
    struct quiet q;
    for (size_t k = 0; m->known && k < m->count; k++) {
        const struct vm_info *listed = &m->list[k];
        struct absence a = {.listing = m,
                            .listed = listed,
                            .reason = "its launch got no response, and its job is over, or its "
                                      "runner is not registered any more"};
        if (listed->state == VM_RUN_ENDED || listed->name[0] != '\0' || listed->started_ms == 0 ||
            sweep_row_of(s, listed) != NULL || !belongs_to_rows_that_are_over(s, m, listed, over)) {
            continue;
        }
        if (!counted) {
            sweep_count_unmatched(s, m, &q);
            counted = true;
        }
        *repairs += sweep_has_no_runner(s, m, &q, listed, true) && sweep_terminate_orphan(s, &a);
    }
}

static void terminate_unconfirmed(struct sweep *s, const bool *over, int64_t *repairs)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        terminate_unconfirmed_of(s, &s->listings[i], over, repairs);
    }
}

static bool no_vm_may_belong_to_row(const struct sweep *s, const struct sweep_listing *m,
                                    const struct ledger_vm *vm)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct vm_info *listed = &m->list[i];
        if (listed->state != VM_RUN_ENDED && sweep_row_of(s, listed) == NULL &&
            may_belong_to_row(s, vm, listed)) {
            return false;
        }
    }
    return true;
}

/* A list may lag behind a launch, but not by startup_timeout. */
static bool would_be_listed(const struct sweep *s, const struct ledger_vm *vm, int64_t began_ms)
{
    return began_ms > vm->ending_ms + s->config->reaper.startup_timeout_ms ||
           fleet_slot_hold_ms(s->reaper->fleet, vm) == 0;
}

/* Whether a list that is complete decides about that row's slot; if none is, one soon will. */
static bool is_decided_by_list(const struct sweep *s, const struct sweep_listing *m,
                               const struct ledger_vm *vm)
{
    if (vm->state != VM_ENDING || !sweep_may_act_on(s, vm) ||
        !fleet_vm_id_unknown(s->reaper->fleet, vm) || !would_be_listed(s, vm, s->now_ms)) {
        return false;
    }
    sweep_list_soon(s, m);
    return m->fresh && would_be_listed(s, vm, m->began_ms);
}

static bool is_still_unconfirmed(const struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct ledger_vm now;
    return ledger_vm_get(s->reaper->ledger, vm->name, &now, &e) == 0 && now.state == VM_ENDING &&
           now.vm_id[0] == '\0';
}

static bool confirm_no_vm(struct sweep *s, const struct sweep_listing *m,
                          const struct ledger_vm *vm)
{
    struct sign_of sign = {SIGN_LAUNCH_UNCONFIRMED, m->class->name, vm->name};
    return sweep_confirm_sign(s, m->provider, &sign);
}

int sweep_unconfirmed_launches(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct fleet_termination how = {.reason = "its launch got no response, and no VM matches it",
                                    .nothing_runs = true};
    (void)e;
    if (s->scans_runners) {
        bool *over = find_rows_that_are_over(s);
        terminate_unconfirmed(s, over, repairs);
        free(over);
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_listing *m = sweep_class_of(s, vm);
        if (m != NULL && is_decided_by_list(s, m, vm) && no_vm_may_belong_to_row(s, m, vm) &&
            confirm_no_vm(s, m, vm) && is_still_unconfirmed(s, vm) &&
            sweep_terminate_vm(s, vm, &how)) {
            (*repairs)++;
        }
    }
    sweep_vms_observed(s, SIGN_LAUNCH_UNCONFIRMED, SCAN_FRESH_LIST);
    return 0;
}

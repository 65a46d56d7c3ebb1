/*
 * This deployment's VMs without a row that holds a slot: left by a crash between the provider's
 * response and its record, or by a ledger that was lost, emptied, moved or restored from an older
 * copy. Each may run a job.
 *
 * Such a VM ends at its deadline. Before, one that carries its runner's name ends if its runner is
 * gone or abandoned (runners.c), in the scope of its row, if there is one still, or in any scope of
 * the ledger that lists it. One without a name cannot be paired with a runner.
 */
#include <stdlib.h>
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

/* --- deadlines --- */

static int64_t longest_life_ms(const struct sweep *s, const struct sweep_listing *m)
{
    return m->class->max_duration_ms + s->config->reaper.deadline_grace_period_ms;
}

/* One whose start is unknown starts when it is first seen. */
static bool confirm_orphan(struct sweep *s, const struct sweep_listing *m,
                           const struct vm_info *listed, bool *late)
{
    struct sign_of sign = {SIGN_ORPHAN_VM, m->class->name, listed->id};
    if (listed->started_ms == 0) {
        *late = sweep_confirm_sign_after(s, m->provider, &sign, longest_life_ms(s, m));
        return *late;
    }
    *late = s->now_ms > listed->started_ms + longest_life_ms(s, m);
    return sweep_confirm_sign(s, m->provider, &sign);
}

/* --- one that carries its runner's name --- */

/* The row that its runner's scope is known by: its own, which is gone, or a made-up one of the
 * scope that lists the runner. */
static bool find_scope(struct sweep *s, const struct vm_info *listed, struct ledger_vm *out)
{
    struct err e = {0};
    struct ledger_scope *scopes = NULL;
    size_t n = 0;
    bool found = ledger_vm_get(s->reaper->ledger, listed->name, out, &e) == 0;
    if (found || e.class != ERR_NOT_FOUND ||
        ledger_scopes(s->reaper->ledger, &scopes, &n, &e) != 0) {
        return found && out->state == VM_GONE;
    }
    for (size_t i = 0; i < n && !found; i++) {
        const struct sweep_runners *l =
            sweep_runners_of(s, scopes[i].name, scopes[i].installation_id);
        const struct github_runner *r = l != NULL ? sweep_find_runner(l, listed->name) : NULL;
        found = r != NULL;
        *out = (struct ledger_vm){.installation_id = scopes[i].installation_id,
                                  .runner_id = found ? r->id : 0,
                                  .state = VM_GONE};
        memcpy(out->scope, scopes[i].name, sizeof out->scope);
        memcpy(out->name, listed->name, sizeof out->name);
    }
    free(scopes);
    return found;
}

/* A young VM may be one whose row is about to be written. */
static bool is_old_enough(const struct sweep *s, const struct vm_info *listed)
{
    return listed->started_ms > 0 &&
           s->now_ms > listed->started_ms + s->config->reaper.startup_timeout_ms;
}

/* Whether its runner has left GitHub, or waits there offline. */
static bool judge_named(struct sweep *s, const struct sweep_listing *m,
                        const struct vm_info *listed, struct absence *out)
{
    if (listed->name[0] == '\0' || !s->scans_runners || !is_old_enough(s, listed) ||
        !find_scope(s, listed, &out->runner)) {
        return false;
    }
    enum runner_state state = sweep_judge_runner(s, m, &out->runner);
    out->delete_registration = state == RUNNER_ABANDONED;
    return state == RUNNER_GONE || state == RUNNER_ABANDONED;
}

static void check_listed(struct sweep *s, const struct sweep_listing *m,
                         const struct vm_info *listed, struct absences *out)
{
    struct absence a = {.listing = m, .listed = listed, .subject = listed->id};
    if (listed->state == VM_RUN_ENDED || sweep_has_row_of(s, listed) ||
        sweep_may_be_unconfirmed(s, listed)) {
        return;
    }
    bool confirmed = confirm_orphan(s, m, listed, &a.certain);
    bool left = judge_named(s, m, listed, &a);
    a.reason = a.certain ? "it has no row, and ran longer than max_duration"
                         : "it has no row, and its runner has left GitHub";
    if (confirmed && (left || a.certain)) {
        absences_add(out, &a);
    }
}

void sweep_collect_orphans(struct sweep *s, struct absences *out)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        for (size_t k = 0; m->known && k < m->count; k++) {
            check_listed(s, m, &m->list[k], out);
        }
    }
    sweep_vms_observed(s, SIGN_ORPHAN_VM);
}

bool sweep_terminate_orphan(struct sweep *s, const struct absence *a)
{
    struct err e = {0};
    const struct sweep_listing *m = a->listing;
    if (!sweep_terminate_turn(s, m->class->name) || !is_still_orphan(s, m, a->listed) ||
        !sweep_still_holds(s, m->provider)) {
        return false;
    }
    if ((a->delete_registration && !a->certain &&
         fleet_delete_registration(s->reaper->fleet, &a->runner, &e) != 0) ||
        vm_terminate(m->provider, a->listed->id, 0, &e) != 0) {
        log_warn("orphan_vm_terminate_failed", LOG_STR("vm_id", a->listed->id), LOG_ERR(&e),
                 LOG_STR("action", "a later sweep tries again"));
        return false;
    }
    log_warn("orphan_vm_terminated", LOG_STR("vm_id", a->listed->id),
             LOG_STR("vm", a->listed->name), LOG_STR("class", m->class->name),
             LOG_STR("reason", a->reason));
    return true;
}

/*
 * This deployment's VMs without a row that holds a slot: left by a crash between the provider's
 * response and its record, or by a ledger that was lost, emptied, moved or restored from an older
 * copy. Each may run a job.
 *
 * Such a VM gets a row of its own (ledger_vm_adopt), so that the caps hold, unless it may belong to a
 * row without a VM id, or its row has just ended and the list is late. It ends at its deadline. Before, one that
 * carries its runner's name ends if its runner is gone or abandoned (runners.c), in the scope of its
 * former row, if there is one still, or in any scope that lists it. One without a name cannot be
 * paired with a runner: it ends when no runner of its class without a row is registered (quiet.c).
 * A ledger that is found empty is filled by the workers, before they launch (fleet/reconcile.h).
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/fleet/reconcile.h"
#include "reaper/reaper.h"

const struct ledger_vm *sweep_row_of(const struct sweep *s, const struct vm_info *listed)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (strcmp(vm->vm_id, listed->id) == 0 ||
            (listed->name[0] != '\0' && strcmp(vm->name, listed->name) == 0)) {
            return vm;
        }
    }
    return NULL;
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
        return vm.state == VM_GONE || ledger_vm_is_adopted(&vm);
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

/* The row that its runner's scope is known by: its former one, or a made-up one of the scope that
 * lists the runner. */
static bool find_scope(struct sweep *s, const struct vm_info *listed, struct ledger_vm *out)
{
    struct err e = {0};
    int rc = ledger_vm_get(s->reaper->ledger, listed->name, out, &e);
    if (rc == 0 && !ledger_vm_is_adopted(out)) {
        return out->state == VM_GONE;
    }
    if (rc != 0 && e.class != ERR_NOT_FOUND) {
        return false;
    }
    const struct sweep_scopes *scopes = sweep_all_scopes(s);
    for (size_t i = 0; i < scopes->count; i++) {
        const struct ledger_scope *scope = &scopes->list[i];
        const struct sweep_runners *l =
            sweep_runners_of(s, scope->name, scope->installation_id, NULL);
        const struct github_runner *r = l != NULL ? sweep_find_runner(l, listed->name) : NULL;
        if (r != NULL) {
            *out = (struct ledger_vm){
                .installation_id = scope->installation_id, .runner_id = r->id, .state = VM_GONE};
            memcpy(out->scope, scope->name, sizeof out->scope);
            memcpy(out->name, listed->name, sizeof out->name);
            return true;
        }
    }
    return false;
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
    if (listed->name[0] == '\0' || !s->scans_runners || !is_old_enough(s, listed)) {
        return false;
    }
    sweep_read_runners_soon(s, ALL_INSTALLATIONS);
    if (!find_scope(s, listed, &out->runner)) {
        return false;
    }
    enum runner_state state = sweep_judge_runner(s, m, &out->runner);
    out->delete_registration = state == RUNNER_ABANDONED;
    return state == RUNNER_GONE || state == RUNNER_ABANDONED;
}

/* --- its slot --- */

/* Rows are read before the lists, so a VM without a row in one sweep may be one whose row was just
 * added, but not in two. A VM whose row a recent sweep saw had its end, unless that row was lost. */
static bool needs_slot(struct sweep *s, const struct vm_info *listed, bool seen_before)
{
    struct err e = {0};
    struct ledger_vm vm;
    const struct reaper_row *recent = reaper_recent_row(s->reaper, listed->id);
    if (recent == NULL) {
        return seen_before;
    }
    return ledger_vm_get(s->reaper->ledger, recent->name, &vm, &e) != 0 && e.class == ERR_NOT_FOUND;
}

static void adopt(struct sweep *s, const struct sweep_listing *m, const struct vm_info *listed)
{
    struct err e = {0};
    char name[VM_NAME_SIZE];
    bool added = false;
    if (!sweep_still_holds(s, m->provider)) {
        return;
    }
    fleet_adopted_name(listed, name);
    if (fleet_adopt(s->reaper->fleet, m->class, listed, &added, &e) != 0) {
        log_warn("orphan_vm_adopt_failed", LOG_STR("vm_id", listed->id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again; the VM holds no slot until then"));
    } else if (added) {
        log_warn("orphan_vm_adopted", LOG_STR("vm", name), LOG_STR("vm_id", listed->id),
                 LOG_STR("class", m->class->name),
                 LOG_STR("reason", "it is listed by the provider and has no row; it may run a job, "
                                   "and holds a slot until it ends"));
    }
}

/* --- each listed VM --- */

/* Adds the VM if it may be terminated. Returns whether it lives and has no row of a launch. */
static bool check_listed(struct sweep *s, const struct sweep_listing *m,
                         const struct vm_info *listed, struct absences *out)
{
    const struct ledger_vm *row = sweep_row_of(s, listed);
    struct absence a = {.listing = m, .listed = listed, .subject = listed->id, .adopted = row};
    if (listed->state == VM_RUN_ENDED || (row != NULL && !ledger_vm_is_adopted(row)) ||
        (row == NULL && sweep_may_be_unconfirmed(s, m, listed))) {
        return false;
    }
    struct sign_of sign = {SIGN_ORPHAN_VM, m->class->name, listed->id};
    bool seen_before = sweep_sign_is_known(s, m->provider, &sign);
    bool confirmed = confirm_orphan(s, m, listed, &a.certain);
    bool left = judge_named(s, m, listed, &a);
    if (row == NULL && !a.certain && needs_slot(s, listed, seen_before)) {
        adopt(s, m, listed);
    }
    a.reason = a.certain ? "it has no row, and ran longer than max_duration"
                         : "it has no row, and its runner has left GitHub";
    if (confirmed && (left || a.certain)) {
        absences_add(out, &a);
    }
    return true;
}

/* Of a class whose VMs carry no names: those whose runner is none of GitHub's. */
static void collect_without_runner(struct sweep *s, const struct sweep_listing *m,
                                   const struct quiet *q, struct absences *out)
{
    for (size_t k = 0; k < m->count; k++) {
        const struct vm_info *listed = &m->list[k];
        const struct ledger_vm *row = sweep_row_of(s, listed);
        if (listed->state != VM_RUN_ENDED && (row == NULL || ledger_vm_is_adopted(row)) &&
            !sweep_may_be_unconfirmed(s, m, listed) &&
            sweep_has_no_runner(s, m, q, listed, false) && row != NULL) {
            absences_add(out, &(struct absence){.listing = m,
                                                .listed = listed,
                                                .subject = listed->id,
                                                .adopted = row,
                                                .certain = true, /* GitHub says so */
                                                .reason = "it has no row, and no runner of its "
                                                          "class without a row is registered"});
        }
    }
}

static void keep_reconciled(struct sweep *s, const struct sweep_listing *m)
{
    struct err e = {0};
    if (fleet_still_reconciled(s->reaper->fleet, m->class->name, &e) != 0) {
        log_debug("reconciled_not_renewed", LOG_STR("class", m->class->name), LOG_ERR(&e));
    }
}

void sweep_collect_orphans(struct sweep *s, struct absences *out)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        size_t nameless = 0;
        struct quiet quiet;
        for (size_t k = 0; m->known && k < m->count; k++) {
            nameless += check_listed(s, m, &m->list[k], out) && m->list[k].name[0] == '\0';
        }
        if (nameless > 0) {
            sweep_count_unmatched(s, m, &quiet);
            sweep_report_unmatched(s, m, nameless, &quiet);
            collect_without_runner(s, m, &quiet, out);
        }
        if (m->known) {
            keep_reconciled(s, m);
        }
    }
    sweep_vms_observed(s, SIGN_ORPHAN_VM, SCAN_KNOWN_LIST);
    if (s->scans_runners) {
        sweep_vms_observed(s, SIGN_WITHOUT_RUNNER, SCAN_KNOWN_LIST);
    }
}

/* One whose row was adopted is terminated like any other. */
static bool terminate_adopted(struct sweep *s, const struct absence *a)
{
    struct fleet_termination how = {.reason = a->reason, .evidence = FLEET_OVER};
    return sweep_terminate_vm(s, a->adopted, &how);
}

static bool terminate_rowless(struct sweep *s, const struct absence *a)
{
    struct err e = {0};
    const struct sweep_listing *m = a->listing;
    if (!sweep_still_holds(s, m->provider)) {
        return false;
    }
    if (vm_terminate(m->provider, a->listed->id, 0, &e) != 0) {
        log_warn("orphan_vm_terminate_failed", LOG_STR("vm_id", a->listed->id), LOG_ERR(&e),
                 LOG_STR("action", "a later sweep tries again"));
        return false;
    }
    log_warn("orphan_vm_terminated", LOG_STR("vm_id", a->listed->id),
             LOG_STR("vm", a->listed->name), LOG_STR("class", m->class->name),
             LOG_STR("reason", a->reason));
    return true;
}

/* GitHub refuses that for a busy runner. */
static bool delete_its_registration(struct sweep *s, const struct absence *a)
{
    struct err e = {0};
    if (sweep_still_holds(s, a->listing->provider) &&
        fleet_delete_registration(s->reaper->fleet, &a->runner, &e) == 0) {
        return true;
    }
    log_debug("vm_terminate_failed", LOG_STR("vm", a->listed->name), LOG_ERR(&e),
              LOG_STR("action", "none: its registration could not be deleted"));
    return false;
}

bool sweep_terminate_orphan(struct sweep *s, const struct absence *a)
{
    bool is_gone = a->adopted != NULL && a->adopted->state == VM_GONE;
    if (is_gone || (a->adopted == NULL && !sweep_terminate_turn(s, a->listing->class->name)) ||
        !is_still_orphan(s, a->listing, a->listed)) {
        return false;
    }
    if (a->delete_registration && !a->certain && !delete_its_registration(s, a)) {
        return false;
    }
    return a->adopted != NULL ? terminate_adopted(s, a) : terminate_rowless(s, a);
}

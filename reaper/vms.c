/*
 * Rows compared with the providers' lists: VMs that ended by themselves, VMs that vanished,
 * launches that were never finished, runners that never came online.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

enum finding { FINDING_FINE, FINDING_ENDED, FINDING_VANISHED, FINDING_UNFINISHED, FINDING_OFFLINE };

static const char *provider_id(const struct sweep_listing *m, const struct ledger_vm *vm)
{
    return vm->vm_id[0] == '\0' && vm_is_named(m->provider) ? vm->name : vm->vm_id;
}

static const struct vm_info *find_listed(const struct sweep_listing *m, const char *id)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->list[i].id, id) == 0) {
            return &m->list[i];
        }
    }
    return NULL;
}

static bool launch_recorded(const struct ledger_vm *vm)
{
    return vm->state == VM_LAUNCHED || vm->state == VM_BUSY;
}

static enum finding find_problem(const struct sweep *s, const struct sweep_listing *m,
                                 const struct ledger_vm *vm)
{
    const struct vm_info *listed = find_listed(m, provider_id(m, vm));
    if (provider_id(m, vm)[0] == '\0' && vm->state == VM_BUSY) {
        return FINDING_FINE; /* its VM id is unknown */
    }
    if (launch_recorded(vm) && listed == NULL) {
        return FINDING_VANISHED;
    }
    if (launch_recorded(vm) && listed->state == VM_RUN_ENDED) {
        return FINDING_ENDED;
    }
    bool launching = vm->state == VM_RESERVED || vm->state == VM_REGISTERED;
    int64_t heartbeat_limit_ms = ledger_heartbeat_limit_ms(s->config->worker.visibility_timeout_ms);
    if (launching && ledger_now_ms(s->reaper->ledger) > vm->heartbeat_ms + heartbeat_limit_ms) {
        return FINDING_UNFINISHED;
    }
    bool not_used = vm->state == VM_LAUNCHED &&
                    s->now_ms > vm->launched_ms + s->config->reaper.startup_timeout_ms;
    return not_used ? FINDING_OFFLINE : FINDING_FINE;
}

/* Asks the provider again, right now; false when it does not respond. */
static bool vm_has_ended(const struct sweep_listing *m, const struct ledger_vm *vm,
                         struct vm_info *info)
{
    struct err e = {0};
    if (vm_describe(m->provider, provider_id(m, vm), info, &e) == 0) {
        return info->state == VM_RUN_ENDED;
    }
    (void)snprintf(info->reason, sizeof info->reason, "%s", "the provider no longer knows the VM");
    return e.class == ERR_NOT_FOUND;
}

static bool terminate_if_ended(struct sweep *s, const struct sweep_listing *m,
                               const struct ledger_vm *vm)
{
    struct vm_info info = {0};
    char reason[96];
    if (!vm_has_ended(m, vm, &info)) {
        return false;
    }
    (void)snprintf(reason, sizeof reason, "the VM ended: %.75s",
                   info.reason[0] != '\0' ? info.reason : "no reason given");
    struct fleet_termination how = {.reason = reason};
    return sweep_terminate_vm(s, vm, &how);
}

static bool terminate_unfinished(struct sweep *s, const struct ledger_vm *vm)
{
    struct fleet_termination how = {.reason = "its launch was not completed", .unless_busy = true};
    return sweep_terminate_vm(s, vm, &how);
}

enum runner_seen { RUNNER_UP, RUNNER_MISSING, RUNNER_UNKNOWN };

/* GitHub knows whether the runner of a VM without events came online. */
static enum runner_seen look_for_runner(struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct github_runner runner;
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    if (github_get_runner(s->reaper->github, &scope, vm->runner_id, &runner, &e) != 0) {
        return e.class == ERR_NOT_FOUND ? RUNNER_MISSING : RUNNER_UNKNOWN;
    }
    if (runner.busy) {
        struct ledger_advance a = {.vm = vm->name, .to = VM_BUSY};
        log_info(
            "vm_busy_reconciled", LOG_STR("vm", vm->name),
            LOG_STR("reason", "GitHub reports its runner busy; the in_progress event was lost"));
        (void)!ledger_vm_advance(s->reaper->ledger, &a, NULL, &e);
    }
    return runner.online || runner.busy ? RUNNER_UP : RUNNER_MISSING;
}

static bool confirm_vm_sign(struct sweep *s, const struct sweep_listing *m,
                            const struct ledger_vm *vm, enum sign_kind kind)
{
    struct sign_of sign = {kind, m->class->name, vm->name};
    return sweep_confirm_sign(s, m->provider, &sign);
}

static bool terminate_offline(struct sweep *s, const struct sweep_listing *m,
                              const struct ledger_vm *vm)
{
    struct fleet_termination how = {.reason = "its runner did not come online",
                                    .unless_busy = true};
    struct sign_of sign = {SIGN_RUNNER_OFFLINE, m->class->name, vm->name};
    switch (look_for_runner(s, vm)) {
    case RUNNER_UP:
        break;
    case RUNNER_UNKNOWN:
        signs_unsure(sweep_lease_of(s, m->provider)->signs, &sign);
        break;
    case RUNNER_MISSING:
        return sweep_confirm_sign(s, m->provider, &sign) && sweep_terminate_vm(s, vm, &how);
    }
    return false;
}

static bool act_on_problem(struct sweep *s, const struct sweep_listing *m,
                           const struct ledger_vm *vm)
{
    switch (find_problem(s, m, vm)) {
    case FINDING_ENDED: /* the provider reports the end */
        return terminate_if_ended(s, m, vm);
    case FINDING_VANISHED:
        return confirm_vm_sign(s, m, vm, SIGN_VM_VANISHED) && terminate_if_ended(s, m, vm);
    case FINDING_UNFINISHED:
        return confirm_vm_sign(s, m, vm, SIGN_LAUNCH_UNFINISHED) && terminate_unfinished(s, vm);
    case FINDING_OFFLINE:
        return terminate_offline(s, m, vm);
    case FINDING_FINE:
        break;
    }
    return false;
}

int sweep_vms(struct sweep *s, int64_t *repairs, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_listing *m = sweep_listing_of(s, vm->class_name);
        if (m != NULL && vm->state != VM_ENDING && sweep_may_act_on(s, vm) &&
            act_on_problem(s, m, vm)) {
            (*repairs)++;
        }
    }
    sweep_vms_observed(s, SIGN_VM_VANISHED);
    sweep_vms_observed(s, SIGN_LAUNCH_UNFINISHED);
    sweep_vms_observed(s, SIGN_RUNNER_OFFLINE);
    return 0;
}

/*
 * Rows against machines: machines that ended by themselves, machines that vanished, launches that
 * were never finished, runners that never came up.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

enum finding { FINDING_FINE, FINDING_ENDED, FINDING_VANISHED, FINDING_UNFINISHED, FINDING_SILENT };

static const char *machine_id(const struct sweep_machines *m, const struct ledger_vm *vm)
{
    return vm->vm_id[0] == '\0' && vm_is_named(m->provider) ? vm->name : vm->vm_id;
}

static const struct vm_info *find_machine(const struct sweep_machines *m, const char *id)
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

static enum finding judge(const struct sweep *s, const struct sweep_machines *m,
                          const struct ledger_vm *vm)
{
    const struct vm_info *machine = find_machine(m, machine_id(m, vm));
    if (machine_id(m, vm)[0] == '\0' && vm->state == VM_BUSY) {
        return FINDING_FINE; /* nobody knows which machine to miss */
    }
    if (launch_recorded(vm) && machine == NULL) {
        return FINDING_VANISHED;
    }
    if (launch_recorded(vm) && machine->state == VM_RUN_ENDED) {
        return FINDING_ENDED;
    }
    bool launching = vm->state == VM_RESERVED || vm->state == VM_REGISTERED;
    int64_t silence_ms = ledger_heartbeat_limit_ms(s->config->worker.visibility_timeout_ms);
    if (launching && ledger_now_ms(s->reaper->ledger) > vm->heartbeat_ms + silence_ms) {
        return FINDING_UNFINISHED;
    }
    bool unused = vm->state == VM_LAUNCHED &&
                  s->now_ms > vm->launched_ms + s->config->reaper.startup_timeout_ms;
    return unused ? FINDING_SILENT : FINDING_FINE;
}

/* The provider's word right now; false when it cannot be had. */
static bool machine_is_over(const struct sweep_machines *m, const struct ledger_vm *vm,
                            struct vm_info *info)
{
    struct err e = {0};
    if (vm_describe(m->provider, machine_id(m, vm), info, &e) == 0) {
        return info->state == VM_RUN_ENDED;
    }
    (void)snprintf(info->reason, sizeof info->reason, "%s", "the provider no longer knows the VM");
    return e.class == ERR_NOT_FOUND;
}

static bool end_if_over(struct sweep *s, const struct sweep_machines *m, const struct ledger_vm *vm)
{
    struct vm_info info = {0};
    char reason[96];
    if (!machine_is_over(m, vm, &info)) {
        return false;
    }
    (void)snprintf(reason, sizeof reason, "the VM ended: %.75s",
                   info.reason[0] != '\0' ? info.reason : "no reason given");
    struct fleet_end how = {.reason = reason};
    return sweep_end_vm(s, vm, &how);
}

static bool end_unfinished(struct sweep *s, const struct ledger_vm *vm)
{
    struct fleet_end how = {.reason = "its launch was not completed", .spare_if_busy = true};
    return sweep_end_vm(s, vm, &how);
}

enum runner_seen { RUNNER_UP, RUNNER_MISSING, RUNNER_UNKNOWN };

/* A VM that nobody heard of for long: GitHub knows whether its runner came up. */
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

static bool confirms(struct sweep *s, const struct sweep_machines *m, const struct ledger_vm *vm,
                     enum sign_kind kind)
{
    struct sign_of sign = {kind, m->class->name, vm->name};
    return sweep_confirms(s, m->provider, &sign);
}

static bool end_silent(struct sweep *s, const struct sweep_machines *m, const struct ledger_vm *vm)
{
    struct fleet_end how = {.reason = "its runner did not come online", .spare_if_busy = true};
    struct sign_of sign = {SIGN_RUNNER_OFFLINE, m->class->name, vm->name};
    switch (look_for_runner(s, vm)) {
    case RUNNER_UP:
        break;
    case RUNNER_UNKNOWN:
        signs_unsure(sweep_lease_of(s, m->provider)->signs, &sign);
        break;
    case RUNNER_MISSING:
        return sweep_confirms(s, m->provider, &sign) && sweep_end_vm(s, vm, &how);
    }
    return false;
}

static bool act(struct sweep *s, const struct sweep_machines *m, const struct ledger_vm *vm)
{
    switch (judge(s, m, vm)) {
    case FINDING_ENDED: /* the provider's own last word */
        return end_if_over(s, m, vm);
    case FINDING_VANISHED:
        return confirms(s, m, vm, SIGN_VM_VANISHED) && end_if_over(s, m, vm);
    case FINDING_UNFINISHED:
        return confirms(s, m, vm, SIGN_LAUNCH_UNFINISHED) && end_unfinished(s, vm);
    case FINDING_SILENT:
        return end_silent(s, m, vm);
    case FINDING_FINE:
        break;
    }
    return false;
}

int sweep_machines(struct sweep *s, int64_t *done, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_machines *m = sweep_machines_of(s, vm->class_name);
        if (m != NULL && vm->state != VM_ENDING && sweep_may_touch(s, vm) && act(s, m, vm)) {
            (*done)++;
        }
    }
    sweep_looked_at_machines(s, SIGN_VM_VANISHED);
    sweep_looked_at_machines(s, SIGN_LAUNCH_UNFINISHED);
    sweep_looked_at_machines(s, SIGN_RUNNER_OFFLINE);
    return 0;
}

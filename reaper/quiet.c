/*
 * Unmatched runners: runners of this deployment without a row, as they are left by a ledger that was
 * lost. Where VMs carry no names, none can be paired with its VM, so a class's VMs and
 * runners without rows are judged together: while one of these runners is online or busy, any of
 * these VMs may be the one that it runs on.
 */
#include <string.h>

#include "common/job/vm_name.h"
#include "reaper/reaper.h"

static bool has_row(const struct sweep *s, const char *runner)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        if (strcmp(s->vms[i].name, runner) == 0) {
            return true;
        }
    }
    return false;
}

/* Also of rows: a runner may be registered whose row was not read yet. */
static bool has_young_registration(const struct sweep *s, const char *class_name)
{
    int64_t since_ms = s->now_ms - s->config->reaper.startup_timeout_ms;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (strcmp(vm->class_name, class_name) == 0 && !ledger_vm_is_adopted(vm) &&
            (vm->registered_ms > since_ms || vm->reserved_ms > since_ms)) {
            return true;
        }
    }
    return false;
}

static size_t count_unmatched(const struct sweep *s, const struct sweep_runners *l,
                              const char *class_name)
{
    size_t up = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct github_runner *r = &l->list[i];
        up += (r->online || r->busy) && vm_name_is_owned(r->name, s->config->deployment) &&
              vm_name_is_of_class(r->name, class_name) && !has_row(s, r->name);
    }
    return up;
}

/* False: some list is missing, so there may be more. */
static bool count_in_all_scopes(struct sweep *s, const char *class_name, size_t *up)
{
    const struct sweep_scopes *scopes = sweep_all_scopes(s);
    bool complete = scopes->complete;
    *up = 0;
    for (size_t i = 0; i < scopes->count; i++) {
        const struct sweep_runners *l =
            sweep_runners_of(s, scopes->list[i].name, scopes->list[i].installation_id);
        complete = complete && l != NULL;
        *up += l != NULL ? count_unmatched(s, l, class_name) : 0;
    }
    return complete;
}

static void report_vms(struct sweep *s, const struct sweep_listing *m, size_t vms, size_t up,
                       bool complete)
{
    if (complete) {
        sweep_notice(
            s, m->provider, m->class->name,
            "class %s: %zu VMs have no row of a launch in the ledger, and %zu of its runners "
            "without a row are online or busy; these VMs hold slots until none of them is, "
            "or until their deadline",
            m->class->name, vms, up);
    } else {
        sweep_notice(
            s, m->provider, m->class->name,
            "class %s: %zu VMs have no row of a launch in the ledger; they hold slots until "
            "their deadline, since not every scope's runners can be listed",
            m->class->name, vms);
    }
}

bool sweep_class_is_quiet(struct sweep *s, const struct sweep_listing *m, size_t vms)
{
    struct sign_of sign = {SIGN_CLASS_QUIET, m->class->name, ""};
    struct signs *signs = sweep_lease_of(s, m->provider)->signs;
    size_t up = 0;
    if (!s->scans_runners) {
        signs_unsure(signs, &sign);
        return false;
    }
    bool complete = count_in_all_scopes(s, m->class->name, &up);
    report_vms(s, m, vms, up, complete);
    if (up == 0 && !complete) {
        signs_unsure(signs, &sign);
    }
    if (up > 0 || !complete || has_young_registration(s, m->class->name)) {
        return false;
    }
    return sweep_confirm_sign(s, m->provider, &sign);
}

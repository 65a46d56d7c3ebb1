/*
 * Unmatched runners: runners of this deployment without a row, as they are left by a ledger that was
 * lost. Where VMs carry no names, none can be paired with its VM, so a class's VMs and
 * runners without rows are judged together: while one of these runners is registered, any of these
 * VMs may be the one that it runs on. An idle one ends by its agent's idle watchdog; one that is
 * offline and idle is deleted by the task stale_runners.
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

/* One of another deployment with a class of that name counts while it is up: this deployment may have
 * had another name when it launched the VMs. */
static size_t count_unmatched(const struct sweep *s, const struct sweep_runners *l,
                              const char *class_name)
{
    size_t registered = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct github_runner *r = &l->list[i];
        bool owned = vm_name_is_owned(r->name, s->config->deployment);
        registered += (owned || r->online || r->busy) && vm_name_is_of_class(r->name, class_name) &&
                      !has_row(s, r->name);
    }
    return registered;
}

/* False: some list is missing, so there may be more. */
static bool count_in_all_scopes(struct sweep *s, const char *class_name, size_t *registered)
{
    const struct sweep_scopes *scopes = sweep_all_scopes(s);
    bool complete = scopes->complete;
    *registered = 0;
    for (size_t i = 0; i < scopes->count; i++) {
        const struct sweep_runners *l =
            sweep_runners_of(s, scopes->list[i].name, scopes->list[i].installation_id);
        complete = complete && l != NULL;
        *registered += l != NULL ? count_unmatched(s, l, class_name) : 0;
    }
    return complete;
}

static void report_vms(struct sweep *s, const struct sweep_listing *m, size_t vms,
                       size_t registered, bool complete)
{
    if (complete) {
        sweep_notice(
            s, m->provider, m->class->name,
            "class %s: %zu VMs have no row of a launch in the ledger, and %zu runners without a "
            "row "
            "are registered; these VMs hold slots until no such runner is, or until their deadline",
            m->class->name, vms, registered);
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
    size_t registered = 0;
    if (!s->scans_runners) {
        signs_unsure(signs, &sign);
        return false;
    }
    bool complete = count_in_all_scopes(s, m->class->name, &registered);
    report_vms(s, m, vms, registered, complete);
    if (registered == 0 && !complete) {
        signs_unsure(signs, &sign);
    }
    return registered == 0 && complete && sweep_confirm_sign(s, m->provider, &sign);
}

/*
 * VMs and runners without a row, as a ledger that was lost leaves them, where VMs carry no names:
 * none can be paired, so those of a class are judged together. While one of these runners is
 * registered, any of these VMs may be the one that it runs on, and all are left alone.
 *
 * Such a VM is terminated when two complete lists of all scopes, reaper.confirm_after apart, name no
 * such runner of its class. That ends no job, for these reasons.
 *   - A runner is registered before its VM is requested, and stays registered, online or not, busy or
 *     not, until its job is over or its registration is deleted, which GitHub refuses for a busy one
 *     (stale_runners.c deletes those that were offline and idle for long). So a VM that boots, and
 *     one whose runner lost its connection, keep their whole class.
 *   - The signs are the VM's own: both lists were read after a list of VMs had named it, hence after
 *     its registration. That of one row is in neither list only if it is gone.
 *   - A runner counts as another VM's only if a live row of a launch has its name. A VM that may be
 *     that of such a row, since the row has no VM id, is not judged here (sweep_may_be_unconfirmed).
 *   - The image is the deployment's own, but the deployment may have had another name when it launched
 *     the VM. So runners of any deployment's class of that name count: while they are up; and, for a
 *     VM younger than startup_timeout, which may still boot, while they are registered.
 * It is what GitHub says, not an absence: the brake (absences.c) does not hold it.
 *
 * The second list is read as soon as it counts, not a scan interval later: these VMs hold slots.
 */
#include <string.h>

#include "common/base/clock.h"
#include "common/job/vm_name.h"
#include "reaper/reaper.h"

/* A row that a worker added for a VM whose row was lost bears its runner's name, but that VM is judged
 * here. */
static bool is_of_a_launch(const struct ledger_vm *vm)
{
    return vm->state != VM_GONE && !ledger_vm_is_adopted(vm);
}

/* Launches go on, so a row may have been added since the sweep read them. */
static bool has_row(struct sweep *s, const char *runner)
{
    struct err e = {0};
    struct ledger_vm vm;
    for (size_t i = 0; i < s->vm_count; i++) {
        if (strcmp(s->vms[i].name, runner) == 0) {
            return is_of_a_launch(&s->vms[i]);
        }
    }
    return ledger_vm_get(s->reaper->ledger, runner, &vm, &e) == 0 && is_of_a_launch(&vm);
}

static void count_in_list(struct sweep *s, const struct sweep_runners *l, const char *class_name,
                          struct quiet *q)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct github_runner *r = &l->list[i];
        if (!vm_name_is_of_class(r->name, class_name) || has_row(s, r->name)) {
            continue;
        }
        bool counts = vm_name_is_owned(r->name, s->config->deployment) || r->online || r->busy;
        q->registered += counts;
        q->elsewhere += !counts;
    }
}

static void count_in_all_scopes(struct sweep *s, const char *class_name, struct quiet *q)
{
    const struct sweep_scopes *scopes = sweep_all_scopes(s);
    q->listed = true;
    for (size_t i = 0; i < scopes->count; i++) {
        bool later = false;
        const struct sweep_runners *l =
            sweep_runners_of(s, scopes->list[i].name, scopes->list[i].installation_id, &later);
        q->listed = q->listed && l != NULL;
        q->later = q->later || later;
        if (l != NULL) {
            count_in_list(s, l, class_name, q);
        }
    }
    q->complete = q->listed && scopes->complete;
}

void sweep_report_unmatched(struct sweep *s, const struct sweep_listing *m, size_t vms,
                            const struct quiet *q)
{
    if (!s->scans_runners) {
        return;
    }
    if (q->complete) {
        sweep_notice(
            s, m->provider, m->class->name,
            "class %s: %zu VMs have no row of a launch in the ledger, and %zu runners without a "
            "row "
            "are registered; these VMs hold slots until no such runner is, or until their deadline",
            m->class->name, vms, q->registered);
    } else {
        sweep_notice(
            s, m->provider, m->class->name,
            "class %s: %zu VMs have no row of a launch in the ledger; they hold slots until "
            "%s",
            m->class->name, vms,
            q->later ? "the runners of all scopes have been listed"
                     : "their deadline, since not every scope's runners can be listed");
    }
}

static void scan_again_when_it_counts(struct sweep *s)
{
    sweep_read_runners_soon(s, ALL_INSTALLATIONS);
    int64_t due_ms = clock_mono_ms() + s->config->reaper.confirm_after_ms;
    if (due_ms < s->reaper->runners_due_ms) {
        s->reaper->runners_due_ms = due_ms;
    }
}

void sweep_count_unmatched(struct sweep *s, const struct sweep_listing *m, struct quiet *out)
{
    *out = (struct quiet){.listed = false};
    if (s->scans_runners) {
        count_in_all_scopes(s, config_place_class_name(m->class), out);
        scan_again_when_it_counts(s);
    }
}

/* A young VM may still boot. */
static size_t count_of(const struct sweep *s, const struct quiet *q, const struct vm_info *listed)
{
    bool is_old = listed->started_ms > 0 &&
                  s->now_ms > listed->started_ms + s->config->reaper.startup_timeout_ms;
    return q->registered + (is_old ? 0 : q->elsewhere);
}

bool sweep_has_no_runner(struct sweep *s, const struct sweep_listing *m, const struct quiet *q,
                         const struct vm_info *listed, bool in_known_scopes)
{
    struct sign_of sign = {SIGN_WITHOUT_RUNNER, m->class->name, listed->id};
    if (count_of(s, q, listed) > 0) {
        return false;
    }
    if (!(in_known_scopes ? q->listed : q->complete)) {
        signs_unsure(sweep_lease_of(s, m->provider)->signs, &sign);
        return false;
    }
    return sweep_confirm_sign(s, m->provider, &sign);
}

/*
 * VMs that would be terminated because something is absent: a row whose VM is not listed (vms.c), a
 * VM without a row (orphans.c). A mistake in what is absent has no bounds: an emptied ledger, a
 * wrong prefix or a provider that loses its list makes every VM a candidate. Hence the brake.
 *
 * If a sweep would terminate more than a quarter of a target's VMs so, and more than five, it
 * terminates none of them and raises the alarm (log, metric, notice). A held VM is terminated when
 * its absence, read anew with complete lists in every sweep, has stood for
 * reaper.mass_termination_hold. The brake holds as long as there are held VMs. It holds none whose
 * deadline has passed, and nothing that GitHub or the provider says positively.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/metrics.h"
#include "reaper/reaper.h"

#define ALWAYS_ALLOWED 5

void absences_add(struct absences *all, const struct absence *a)
{
    if (all->count == all->room) {
        all->room = all->room == 0 ? 16 : all->room * 2;
        all->list = reallocarray(all->list, all->room, sizeof *all->list);
        ASSERT(all->list != NULL);
    }
    all->list[all->count++] = *a;
}

/* --- targets --- */

static void target_of(const struct sweep *s, const struct vm_provider *p, char out[TARGET_SIZE])
{
    const char *domain = vm_domain(p);
    if (domain[0] != '\0') {
        (void)snprintf(out, TARGET_SIZE, "%s", domain);
    } else {
        (void)snprintf(out, TARGET_SIZE, "host/%s", fleet_host(s->reaper->fleet));
    }
}

static bool is_of_target(const struct sweep *s, const struct vm_provider *p, const char *target)
{
    char own[TARGET_SIZE];
    target_of(s, p, own);
    return strcmp(own, target) == 0;
}

/* Rows and VMs without one. */
static size_t count_vms(const struct sweep *s, const char *target)
{
    size_t count = 0;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        bool there = vm->state != VM_GONE && vm->state != VM_RESERVED && sweep_may_act_on(s, vm);
        count += there && is_of_target(s, fleet_provider_of(s->reaper->fleet, vm), target);
    }
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        for (size_t k = 0; k < m->count && is_of_target(s, m->provider, target); k++) {
            count += m->list[k].state != VM_RUN_ENDED && sweep_row_of(s, &m->list[k]) == NULL;
        }
    }
    return count;
}

static bool lists_are_complete(const struct sweep *s, const char *target)
{
    bool complete = true;
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        complete = complete && (m->known || !is_of_target(s, m->provider, target));
    }
    return complete;
}

/* --- the brake --- */

static void report_held(const char *target, size_t held, size_t vms, bool newly)
{
    struct buf label;
    buf_init(&label, 256);
    metrics_label(&label, "target", target);
    metric_set(metrics_gauge("mayfly_reaper_terminations_held", label.data), (int64_t)held);
    buf_fini(&label);
    if (newly) {
        log_error("terminations_held", LOG_STR("target", target), LOG_INT("vms", (int64_t)held),
                  LOG_INT("of_vms", (int64_t)vms),
                  LOG_STR("reason", "an unusual share of the target's VMs has no row, or is not "
                                    "listed by its provider"),
                  LOG_STR("action", "none is terminated before its deadline, or before that has "
                                    "stood for reaper.mass_termination_hold"),
                  LOG_STR("hint", "check that the ledger is the right one and was not emptied or "
                                  "restored, and that the provider lists its VMs"));
    } else if (held == 0) {
        log_info("terminations_released", LOG_STR("target", target),
                 LOG_STR("reason", "no VM of the target is held any more"));
    }
}

/* Marks which of the target's absences are held. */
static void brake(struct sweep *s, struct absences *all, const struct vm_provider *p)
{
    char target[TARGET_SIZE];
    struct signs *signs = sweep_lease_of(s, p)->signs;
    size_t count = 0;
    size_t held = 0;
    target_of(s, p, target);
    bool engaged = signs_any(signs, SIGN_HELD, target);
    if (!lists_are_complete(s, target)) {
        signs_scan_ended(signs, SIGN_HELD, target); /* the time begins anew */
    }
    for (size_t i = 0; i < all->count; i++) {
        count += !all->list[i].certain && is_of_target(s, all->list[i].listing->provider, target);
    }
    size_t vms = count_vms(s, target);
    size_t limit = vms / 4 > ALWAYS_ALLOWED ? vms / 4 : ALWAYS_ALLOWED;
    if (count <= limit && !engaged) {
        return;
    }
    for (size_t i = 0; i < all->count; i++) {
        struct absence *a = &all->list[i];
        struct sign_of sign = {SIGN_HELD, target, a->subject};
        if (!a->certain && is_of_target(s, a->listing->provider, target)) {
            a->held =
                !sweep_confirm_sign_after(s, p, &sign, s->config->reaper.mass_termination_hold_ms);
            held += a->held;
        }
    }
    /* Orphans are judged by the sweeps that scan the runner lists only. */
    if (s->scans_runners) {
        signs_scan_ended(signs, SIGN_HELD, target);
    }
    if (held > 0) {
        sweep_notice(
            s, p, target,
            "target %s: %zu of %zu VMs have no row, or are not listed by the provider; none "
            "of them is terminated before its deadline, or before that has stood for "
            "reaper.mass_termination_hold (see terminations_held in the reaper's log)",
            target, held, vms);
    }
    if (s->scans_runners || !engaged) {
        report_held(target, held, vms, !engaged && held > 0);
    }
}

static void brake_each_target(struct sweep *s, struct absences *all)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        char target[TARGET_SIZE];
        bool first = true;
        target_of(s, s->listings[i].provider, target);
        for (size_t k = 0; k < i; k++) {
            first = first && !is_of_target(s, s->listings[k].provider, target);
        }
        if (first) {
            brake(s, all, s->listings[i].provider);
        }
    }
}

int sweep_absences(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct absences all = {.count = 0};
    (void)e;
    sweep_collect_missing_vms(s, &all);
    sweep_collect_orphans(s, &all);
    sweep_runners_observed(s);
    brake_each_target(s, &all);
    for (size_t i = 0; i < all.count; i++) {
        const struct absence *a = &all.list[i];
        bool done = !a->held && (a->vm != NULL ? sweep_terminate_missing_vm(s, a->vm)
                                               : sweep_terminate_orphan(s, a));
        *repairs += done;
    }
    free(all.list);
    return 0;
}

#include "worker/reconcile.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/reconcile.h"

#define POLL_MS 250 /* while another worker compares */
#define FAILED_MS 1000

static int64_t failed(struct worker *w, const struct config *c, const struct config_class *class,
                      const struct subjects *subjects, const struct err *why)
{
    log_warn("reconcile_failed", LOG_STR("class", class->name), LOG_ERR(why),
             LOG_STR("action", "no launch of this class starts until its VMs could be listed and "
                               "are in the ledger; this is tried again"));
    if (why->from == ERR_FROM_PROVIDER && why->class != ERR_THROTTLED) {
        const struct verdict v = {.subject =
                                      why->of_this_host ? SUBJECT_TARGET_HERE : SUBJECT_TARGET,
                                  .treatment = TREAT_WAIT,
                                  .at_once = why->class == ERR_AUTH};
        int64_t try = clock_wall_ms(); /* each counts, as that of one more job */
        (void)circuits_failed(w->circuits, c, subjects, &v, try, "", why);
    }
    return FAILED_MS;
}

static const char *const reasons[] = {
    [FLEET_NEVER_RECONCILED] = "the ledger is new, or was emptied, and these VMs run",
    [FLEET_HISTORY_BROKEN] =
        "the ledger was restored, or its server restarted or another took over: its last writes "
        "may be lost, and these VMs run",
    [FLEET_RECONCILED_LONG_AGO] = "the ledger was not in use for a while, or was restored, and "
                                  "these VMs run",
};

int64_t reconcile_wait_ms(struct worker *w, const struct config *c,
                          const struct config_class *class, const struct subjects *subjects,
                          int64_t *known_since_ms)
{
    struct err e = {0};
    struct fleet_knowledge known;
    struct fleet_comparison now;
    if (fleet_reconciled(w->fleet, class->name, &known, &e) != 0) {
        (void)err_said_by(&e, ERR_FROM_LEDGER);
        return failed(w, c, class, subjects, &e);
    }
    if (known.state == FLEET_RECONCILED) {
        *known_since_ms = known.since_ms;
        return 0;
    }
    if (fleet_reconcile(w->fleet, class, c->worker.visibility_timeout_ms, &now, &e) != 0) {
        return failed(w, c, class, subjects, &e);
    }
    if (now.adopted > 0) {
        log_warn("orphan_vms_adopted", LOG_STR("class", class->name),
                 LOG_INT("vms", (int64_t)now.adopted), LOG_STR("reason", reasons[known.state]),
                 LOG_STR("action", "they hold slots until they end; launches of the class begin "
                                   "when the next comparison, soon, finds no more"));
    }
    if (!fleet_comparison_is_clear(&now)) {
        return POLL_MS;
    }
    *known_since_ms = now.since_ms;
    return 0;
}

int reconcile_check(struct worker *w, const struct config_class *class, struct err *e)
{
    struct fleet_knowledge known;
    struct err unclear = {0};
    if (fleet_reconciled(w->fleet, class->name, &known, &unclear) != 0 ||
        known.state > FLEET_HISTORY_BROKEN) {
        return 0;
    }
    (void)err_set(e, ERR_RETRY, 0,
                  "the ledger lost data while the slot was reserved: launches of class %s begin "
                  "when its VMs are in the ledger",
                  class->name);
    return err_said_by(e, ERR_FROM_LEDGER);
}

int reconcile_restore_row(struct worker *w, const struct ledger_vm *vm,
                          const struct ledger_advance *launched, struct err *e)
{
    bool added;
    const struct ledger_adoption adoption = {
        .name = vm->name,
        .class_name = vm->class_name,
        .target = vm->target,
        .provider = vm->provider,
        .host = vm->host,
        .vm_id = launched->vm_id,
        .started_ms = clock_wall_ms(),
        .deadline_ms = launched->deadline_ms,
    };
    if (ledger_vm_adopt(w->ledger, &adoption, &added, e) != 0) {
        return -1;
    }
    log_warn("vm_row_restored", LOG_STR("vm", vm->name), LOG_STR("vm_id", launched->vm_id),
             LOG_STR("reason", "the ledger lost its row while the VM was launched"));
    return 0;
}

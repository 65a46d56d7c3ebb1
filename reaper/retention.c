/*
 * Old rows of the ledger, and what ended VMs left on this host (console log, exit record); and the
 * counts of a ledger that keeps them beside its rows.
 */
#include <stdlib.h>

#include "common/base/log.h"
#include "common/ledger/programs.h"
#include "reaper/reaper.h"

#define ROWS_PER_SWEEP 1000
#define REPAIR_INTERVAL_MS (10 * 60 * 1000LL) /* it reads every row that holds a slot */
#define REPAIR_AGAIN_MS (60 * 1000LL)         /* when a count looked wrong, or it failed */

/* A machine whose end nobody saw is as old as its start. */
static bool is_old(const struct vm_info *machine, int64_t before_ms)
{
    int64_t since_ms = machine->ended_ms > 0 ? machine->ended_ms : machine->started_ms;
    return machine->state == VM_RUN_ENDED && since_ms <= before_ms;
}

static int64_t forget_machines(struct sweep *s, const struct sweep_machines *m)
{
    int64_t done = 0;
    int64_t before = s->now_ms - s->config->reaper.log_retention_ms;
    for (size_t i = 0; m->known && i < m->count; i++) {
        struct err e = {0};
        const struct vm_info *machine = &m->list[i];
        if (!is_old(machine, before) || sweep_accounts_for(s, machine) ||
            !sweep_still_holds(s, m->provider)) {
            continue;
        }
        if (vm_forget(m->provider, machine->id, &e) != 0) {
            if (e.class == ERR_CONFLICT) {
                continue; /* it was only starting when the machines were listed */
            }
            log_warn("vm_files_delete_failed", LOG_STR("vm_id", machine->id), LOG_ERR(&e),
                     LOG_STR("action", "the next sweep tries again"));
            continue;
        }
        done++;
    }
    return done;
}

int64_t sweep_counts_interval_ms(const struct sweep *s)
{
    (void)s;
    return REPAIR_INTERVAL_MS;
}

/* What the ledger corrects it saw twice. */
int sweep_counts(struct sweep *s, int64_t *done, struct err *e)
{
    struct ledger_repair *mended = NULL;
    size_t n = 0;
    size_t suspected = 0;
    if (!sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (ledger_repair(s->reaper->ledger, &mended, &n, &suspected, e) != 0) {
        s->again_ms = REPAIR_AGAIN_MS;
        return -1;
    }
    s->again_ms = suspected > 0 ? REPAIR_AGAIN_MS : s->again_ms;
    for (size_t i = 0; i < n; i++) {
        log_warn("counter_corrected", LOG_STR("count", mended[i].what),
                 LOG_INT("was", mended[i].was), LOG_INT("is", mended[i].is),
                 LOG_STR("action", "none; check whether the store was restored or edited by hand"));
    }
    *done += (int64_t)n;
    free(mended);
    return 0;
}

int sweep_vm_logs(struct sweep *s, int64_t *done, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < s->machines_count; i++) {
        *done += forget_machines(s, &s->machines[i]);
    }
    return 0;
}

int sweep_retention(struct sweep *s, int64_t *done, struct err *e)
{
    int64_t removed = 0;
    if (!sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (ledger_tidy(s->reaper->ledger, s->now_ms - s->config->reaper.retention_ms, ROWS_PER_SWEEP,
                    &removed, e) != 0) {
        return -1;
    }
    *done += removed;
    return ledger_program_tidy(s->reaper->ledger, e);
}

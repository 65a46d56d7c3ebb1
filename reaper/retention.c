/*
 * Old rows of the ledger, the files of ended VMs on this host (console log, exit record), and the
 * counters of a ledger that keeps them beside its rows.
 */
#include <stdlib.h>

#include "common/base/log.h"
#include "common/fleet/reconcile.h"
#include "common/ledger/circuit.h"
#include "common/ledger/programs.h"
#include "reaper/reaper.h"

#define ROWS_PER_SWEEP 1000
#define REPAIR_INTERVAL_MS (10 * 60 * 1000LL) /* each run reads every row that holds a slot */
#define REPAIR_RETRY_MS (60 * 1000LL)         /* after an error or a suspected counter */

/* Without an end time the age counts from the start. */
static bool is_expired(const struct vm_info *listed, int64_t before_ms)
{
    int64_t since_ms = listed->ended_ms > 0 ? listed->ended_ms : listed->started_ms;
    return listed->state == VM_RUN_ENDED && since_ms <= before_ms;
}

static int64_t delete_old_vm_files(struct sweep *s, const struct sweep_listing *m)
{
    int64_t repairs = 0;
    int64_t before = s->now_ms - s->config->reaper.log_retention_ms;
    for (size_t i = 0; m->known && i < m->count; i++) {
        struct err e = {0};
        const struct vm_info *listed = &m->list[i];
        if (!is_expired(listed, before) || sweep_row_of(s, listed) != NULL ||
            !sweep_still_holds(s, m->provider)) {
            continue;
        }
        if (vm_forget(m->provider, listed->id, &e) != 0) {
            if (e.class == ERR_CONFLICT) {
                continue; /* it was still starting when the VMs were listed */
            }
            log_warn("vm_files_delete_failed", LOG_STR("vm_id", listed->id), LOG_ERR(&e),
                     LOG_STR("action", "the next sweep tries again"));
            continue;
        }
        repairs++;
    }
    return repairs;
}

int64_t sweep_counters_interval_ms(const struct sweep *s)
{
    (void)s;
    return REPAIR_INTERVAL_MS;
}

/* The ledger corrects a counter only after it was wrong twice. */
int sweep_counters(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct ledger_repair *repaired = NULL;
    size_t n = 0;
    size_t suspected = 0;
    if (!sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (ledger_repair(s->reaper->ledger, &repaired, &n, &suspected, e) != 0) {
        s->next_run_ms = REPAIR_RETRY_MS;
        return -1;
    }
    s->next_run_ms = suspected > 0 ? REPAIR_RETRY_MS : s->next_run_ms;
    for (size_t i = 0; i < n; i++) {
        log_warn("counter_corrected", LOG_STR("count", repaired[i].what),
                 LOG_INT("was", repaired[i].was), LOG_INT("is", repaired[i].is),
                 LOG_STR("action", "none; check whether the store was restored or edited by hand"));
    }
    *repairs += (int64_t)n;
    free(repaired);
    return 0;
}

int sweep_vm_logs(struct sweep *s, int64_t *repairs, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < s->listing_count; i++) {
        *repairs += delete_old_vm_files(s, &s->listings[i]);
    }
    return 0;
}

int sweep_retention(struct sweep *s, int64_t *repairs, struct err *e)
{
    int64_t removed = 0;
    if (!sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (ledger_tidy(s->reaper->ledger, s->now_ms - s->config->reaper.retention_ms, ROWS_PER_SWEEP,
                    &removed, e) != 0) {
        return -1;
    }
    *repairs += removed;
    if (circuits_tidy(s->reaper->ledger, s->now_ms, e) != 0 ||
        fleet_tidy_reconciled(s->reaper->ledger, e) != 0) {
        return -1;
    }
    return ledger_program_tidy(s->reaper->ledger, e);
}

/*
 * Old rows of the ledger, the files of ended VMs on this host (console log, exit record), the
 * counters of a ledger that keeps them beside its rows, and dead letters whose job is over.
 *
 * A dead letter is kept for reaper.retention, and for as long as its job may still want a runner.
 * The ledger says when the job ended. A job that it does not know either was removed with its own
 * retention, or never got there; then GitHub has cancelled it after a day in its queue. One without
 * a job (it could not be read) stays until a person has seen it.
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
/* A list of dead letters is a scan, and on SQS hides what it reads. */
#define DEAD_LETTERS_INTERVAL_MS (60 * 60 * 1000LL)
#define GITHUB_QUEUES_FOR_MS (24 * 60 * 60 * 1000LL)

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

/* --- dead letters --- */
int64_t sweep_dead_letters_interval_ms(const struct sweep *s)
{
    (void)s;
    return DEAD_LETTERS_INTERVAL_MS;
}

static int dead_letters_exist(struct sweep *s, bool *exist, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    if (queue_depths(s->reaper->queue, NULL, &depths, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        dead += depths[i].dead;
    }
    free(depths);
    *exist = dead > 0;
    return 0;
}

/* Whether the job ended, or was given up by GitHub, before `before_ms`. */
static int is_over(struct sweep *s, const struct queue_entry *entry, int64_t before_ms, bool *over,
                   struct err *e)
{
    struct ledger_job job;
    int64_t id;
    *over = false;
    if (!slice_to_int64(slice_of(entry->message.key), &id) || id <= 0) {
        return 0;
    }
    if (ledger_job_get(s->reaper->ledger, id, &job, e) == 0) {
        *over = (job.state == JOB_DONE || job.state == JOB_CANCELLED) && job.ended_ms < before_ms;
        return 0;
    }
    if (e->class != ERR_NOT_FOUND) {
        return -1;
    }
    int64_t given_up_ms = s->now_ms - GITHUB_QUEUES_FOR_MS;
    *over = entry->dead_lettered_ms > 0 && entry->dead_lettered_ms < before_ms &&
            entry->dead_lettered_ms < given_up_ms;
    return 0;
}

struct judging {
    struct sweep *sweep;
    int failed;
    struct err *e;
};

static enum queue_verdict delete_if_over(void *arg, const struct queue_entry *entry)
{
    struct judging *j = arg;
    struct sweep *s = j->sweep;
    const struct queue_message *m = &entry->message;
    bool over = false;
    j->failed = is_over(s, entry, s->now_ms - s->config->reaper.retention_ms, &over, j->e);
    if (j->failed != 0 || s->lost) {
        return QUEUE_STOP;
    }
    if (!over || !sweep_still_holds(s, NULL)) {
        return QUEUE_LEAVE;
    }
    log_info("dead_letter_deleted", LOG_STR("message_id", m->id), LOG_STR("lane", m->lane),
             LOG_INT("job_id", strtoll(m->key, NULL, 10)), LOG_STR("reason", entry->reason));
    return QUEUE_DELETE;
}

int sweep_dead_letters(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct queue *q = s->reaper->queue;
    struct judging j = {.sweep = s, .e = e};
    bool exist = false;
    if (!queue_can(q, QUEUE_BROWSE) || queue_can(q, QUEUE_SCANS)) {
        return 0;
    }
    if (dead_letters_exist(s, &exist, e) != 0) {
        return -1;
    }
    int rc = exist ? queue_judge_dead(q, delete_if_over, &j, repairs, e) : 0;
    return rc != 0 ? rc : j.failed;
}

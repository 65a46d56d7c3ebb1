/*
 * Jobs that run by the ledger although no VM here runs them: their VM ended and the `completed` event
 * never came, or their runner is another fleet's. Such a job would run forever. So its status is read
 * from GitHub, and the ledger is reconciled.
 *
 * A job whose VM has a row is not asked about: that VM ends on evidence of its own (vms.c, absences.c,
 * deadlines.c), and the job is one of these from then on. But one whose VM is to be held if it fails
 * is, since only its conclusion says that. The first question comes a relaunch_after after the VM's
 * end, since the event is usually on its way; for a runner of another fleet it comes later. While
 * the job runs on, each further question waits as long as the job had run at the one before, so a job
 * costs a few requests however long it runs. A job of a scale set cannot be asked about: it is over when its VM
 * is. GitHub ends every job after five days; what it does not
 * know, or does not let this App read, has ended by then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/github/scale_sets/scale_sets.h"
#include "reaper/reaper.h"

#define JOBS_PER_PAGE 500
#define QUESTIONS_PER_RUN 50
#define ELSEWHERE_MS (10 * 60 * 1000LL)          /* of a runner that had no VM here */
#define PAUSE_MAX_MS (12 * 3600 * 1000LL)        /* between two questions about one job */
#define RUNS_AT_MOST_MS (6 * 24 * 3600 * 1000LL) /* GitHub's limit, and a day for lost time */

struct questions {
    struct sweep *sweep;
    size_t left;
    int64_t repairs;
};

static int compare_names(const void *name, const void *row)
{
    return strcmp(name, ((const struct ledger_vm *)row)->name);
}

/* The rows are ordered by name. */
static bool runs_here(const struct sweep *s, const struct ledger_job *job)
{
    const struct ledger_vm *vm = s->vm_count > 0 ? bsearch(job->facts.runner_name, s->vms,
                                                           s->vm_count, sizeof *vm, compare_names)
                                                 : NULL;
    return vm != NULL && vm->state != VM_ENDING && vm->state != VM_GONE && vm->hold_ms == 0 &&
           (vm->job_id == 0 || vm->job_id == job->facts.id);
}

/* How long after its last news a job is asked about for the n-th time, n > 1. */
static int64_t pause_ms(const struct ledger_job *job)
{
    int64_t ran_ms = job->updated_ms - job->running_ms;
    return ran_ms < PAUSE_MAX_MS ? ran_ms : PAUSE_MAX_MS;
}

static int64_t relaunch_after_ms(const struct sweep *s, const struct ledger_job *job)
{
    const struct config_class *class =
        config_class_by_name(s->config, slice_of(job->facts.class_name));
    return class != NULL ? sweep_relaunch_after_ms(s, class) : s->config->reaper.relaunch_after_ms;
}

static bool is_due(const struct sweep *s, const struct ledger_job *job)
{
    struct err e = {0};
    struct ledger_vm vm;
    int64_t first_ms = ELSEWHERE_MS;
    int64_t since_ms = job->updated_ms;
    if (s->now_ms - job->updated_ms < pause_ms(job)) {
        return false;
    }
    if (job->facts.runner_name[0] != '\0' &&
        ledger_vm_get(s->reaper->ledger, job->facts.runner_name, &vm, &e) == 0) {
        int64_t ended_ms = vm.state == VM_GONE ? vm.gone_ms : vm.ending_ms;
        since_ms = ended_ms > since_ms ? ended_ms : since_ms;
        first_ms = relaunch_after_ms(s, job);
    }
    return s->now_ms - since_ms >= first_ms;
}

static void end_job(struct questions *q, const struct ledger_job *job, const char *conclusion,
                    const char *why)
{
    struct err e = {0};
    if (ledger_reconcile_job(q->sweep->reaper->ledger, job->facts.id, JOB_DONE, conclusion, why,
                             &e) != 0) {
        log_warn("job_reconcile_failed", LOG_INT("job_id", job->facts.id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
        return;
    }
    q->repairs++;
    log_info("job_end_reconciled", LOG_INT("job_id", job->facts.id),
             LOG_STR("class", job->facts.class_name), LOG_STR("repository", job->facts.repository),
             LOG_STR("runner", job->facts.runner_name),
             LOG_INT("running_ms", q->sweep->now_ms - job->running_ms), LOG_STR("reason", why));
}

/* It runs on, or is unknown. */
static void ask_later(struct questions *q, const struct ledger_job *job, const struct err *unknown)
{
    struct err e = {0};
    if (unknown != NULL) {
        log_warn("job_not_found_on_github", LOG_INT("job_id", job->facts.id),
                 LOG_STR("repository", job->facts.repository),
                 LOG_STR("class", job->facts.class_name), LOG_ERR(unknown),
                 LOG_INT("next_check_ms", q->sweep->now_ms - job->running_ms),
                 LOG_STR("action", "it runs in the ledger for six days at most; if its run was not "
                                   "deleted, grant the App read access to the repository's "
                                   "Actions"));
    }
    if (ledger_job_asked(q->sweep->reaper->ledger, job->facts.id, &e) != 0) {
        log_warn("job_reconcile_failed", LOG_INT("job_id", job->facts.id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
    }
}

static void ask_about(struct questions *q, const struct ledger_job *job)
{
    struct sweep *s = q->sweep;
    struct err e = {0};
    struct github_job now;
    struct sweep_call call;
    const struct github_scope scope =
        github_scope_parse(job->facts.repository, job->facts.installation_id);
    if (!sweep_begin_question(s, &scope, GITHUB_RECONCILE, 1, &call)) {
        return;
    }
    q->left--;
    int rc = github_get_job(s->reaper->github, job->facts.repository, job->facts.installation_id,
                            job->facts.id, &now, &e);
    sweep_end_call(s, &call, rc, &e);
    if (rc == 0 && strcmp(now.status, "completed") == 0) {
        char why[128];
        (void)snprintf(why, sizeof why, "reported by GitHub's API (%.40s); the event was lost",
                       now.conclusion[0] != '\0' ? now.conclusion : "no conclusion");
        end_job(q, job, now.conclusion, why);
    } else if (rc == 0 || e.class == ERR_NOT_FOUND) {
        ask_later(q, job, rc != 0 ? &e : NULL);
    }
}

static void look_at(struct questions *q, const struct ledger_job *job)
{
    if (runs_here(q->sweep, job)) {
        return;
    }
    if (q->sweep->now_ms - job->running_ms > RUNS_AT_MOST_MS) {
        end_job(q, job, NULL, "no event came, and GitHub ends every job after five days");
    } else if (is_due(q->sweep, job)) {
        if (github_is_set_job(job->facts.id)) {
            end_job(q, job, NULL, "its VM has ended; GitHub knows its number by no other name");
        } else {
            ask_about(q, job);
        }
    }
}

int64_t sweep_running_jobs_interval_ms(const struct sweep *s)
{
    return sweep_stuck_jobs_interval_ms(s);
}

int sweep_running_jobs(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct questions q = {.sweep = s, .left = QUESTIONS_PER_RUN};
    int64_t before_ms = s->now_ms - sweep_running_jobs_interval_ms(s) + 1;
    int64_t from_ms = 0;
    size_t n = JOBS_PER_PAGE;
    while (n == JOBS_PER_PAGE && q.left > 0) {
        struct ledger_job *jobs = NULL;
        if (ledger_jobs_running(s->reaper->ledger, from_ms, before_ms, JOBS_PER_PAGE, &jobs, &n,
                                e) != 0) {
            return err_wrap(e, "running jobs");
        }
        for (size_t i = 0; i < n && q.left > 0 && !wakeup_raised(&s->reaper->stop); i++) {
            look_at(&q, &jobs[i]);
        }
        if (n > 0) { /* jobs of one ms may be looked at twice, but a page of them not forever */
            int64_t last_ms = jobs[n - 1].updated_ms;
            from_ms = last_ms > from_ms ? last_ms : from_ms + 1;
        }
        free(jobs);
    }
    *repairs += q.repairs;
    return 0;
}

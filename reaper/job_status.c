/*
 * The status of a job that waits in the ledger, as GitHub reports it, and the ledger's correction.
 *
 * If GitHub finds no such job, it was deleted with its run or repository, or the App may not read
 * it; the two look alike. The job stays in the ledger, nothing is launched for it, and it is
 * checked at growing intervals until it is older than GitHub lets a job be queued: then it has
 * ended either way. A sweep checks a few such jobs only, however many there are, and the next sweep
 * continues behind those.
 */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "reaper/reaper.h"

#define CHECK_DELAY_FACTOR 10 /* the longest interval is so many times relaunch_after */
#define UNKNOWN_PER_SWEEP 10  /* then this sweep checks no more jobs */
/* GitHub cancels a queued job after 24 hours, some GitHub Enterprise servers after 48. */
#define QUEUED_AT_MOST_MS (49 * 3600 * 1000LL)

/* --- jobs that GitHub did not find --- */

static struct reaper_unknown *find_unknown(struct reaper *r, int64_t job)
{
    for (size_t i = 0; i < COUNT_OF(r->unknown); i++) {
        if (r->unknown[i].job == job) {
            return &r->unknown[i];
        }
    }
    return NULL;
}

/* The entry that is due for a check first. */
static struct reaper_unknown *place_to_replace(struct reaper *r)
{
    struct reaper_unknown *place = &r->unknown[0];
    for (size_t i = 1; i < COUNT_OF(r->unknown); i++) {
        place = r->unknown[i].next_check_ms < place->next_check_ms ? &r->unknown[i] : place;
    }
    return place;
}

/* Returns the delay until the next check: relaunch_after, then twice as long each time. */
static int64_t remember_unknown(const struct sweep *s, const struct ledger_job *job)
{
    const struct config_class *class =
        config_class_by_name(s->config, slice_of(job->facts.class_name));
    int64_t base_ms =
        class != NULL ? sweep_relaunch_after_ms(s, class) : s->config->reaper.relaunch_after_ms;
    int64_t longest = CHECK_DELAY_FACTOR * base_ms;
    struct reaper_unknown *known = find_unknown(s->reaper, job->facts.id);
    int64_t after_ms = known != NULL ? 2 * known->after_ms : base_ms;
    after_ms = after_ms < longest ? after_ms : longest;
    *(known != NULL ? known : place_to_replace(s->reaper)) = (struct reaper_unknown){
        .job = job->facts.id, .next_check_ms = clock_mono_ms() + after_ms, .after_ms = after_ms};
    return after_ms;
}

/* --- the status --- */

static void reconcile_job(struct sweep *s, const struct ledger_job *job, enum ledger_job_state to,
                          const char *why)
{
    struct err e = {0};
    if (ledger_reconcile_job(s->reaper->ledger, job->facts.id, to, NULL, why, &e) != 0) {
        log_warn("job_reconcile_failed", LOG_INT("job_id", job->facts.id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
    }
}

static enum job_status handle_unknown_job(struct sweep *s, const struct ledger_job *job,
                                          const struct err *why)
{
    if (s->now_ms - job->waiting_ms > QUEUED_AT_MOST_MS) {
        reconcile_job(s, job, JOB_CANCELLED,
                      "GitHub does not know the job, and keeps none queued for so long");
        return JOB_STATUS_NOT_WAITING;
    }
    if (++s->jobs_unknown == UNKNOWN_PER_SWEEP) {
        s->reaper->status_check_offset = s->jobs_checked;
    }
    int64_t after_ms = remember_unknown(s, job);
    log_warn("job_not_found_on_github", LOG_INT("job_id", job->facts.id),
             LOG_STR("repository", job->facts.repository), LOG_STR("class", job->facts.class_name),
             LOG_ERR(why), LOG_INT("next_check_ms", after_ms),
             LOG_STR("action", "no VM is launched for it; if its run was not deleted, grant the "
                               "App read access to the repository's Actions"));
    return JOB_STATUS_UNKNOWN;
}

enum job_status sweep_job_status(struct sweep *s, const struct ledger_job *job)
{
    static const char why[] = "reported by GitHub's API; the event was lost";
    struct err e = {0};
    struct github_job now;
    const struct reaper_unknown *unknown = find_unknown(s->reaper, job->facts.id);
    struct sweep_call call;
    bool has_turn =
        ++s->jobs_checked > s->status_check_offset && s->jobs_unknown < UNKNOWN_PER_SWEEP;
    if (!has_turn || (unknown != NULL && clock_mono_ms() < unknown->next_check_ms)) {
        return JOB_STATUS_UNKNOWN;
    }
    const struct github_scope scope =
        github_scope_parse(job->facts.repository, job->facts.installation_id);
    if (!sweep_begin_question(s, &scope, GITHUB_RECONCILE, 1, &call)) {
        return JOB_STATUS_UNKNOWN; /* no VM can be launched now either, or it is asked later */
    }
    int rc = github_get_job(s->reaper->github, job->facts.repository, job->facts.installation_id,
                            job->facts.id, &now, &e);
    sweep_end_call(s, &call, rc, &e);
    if (rc != 0) {
        return e.class == ERR_NOT_FOUND ? handle_unknown_job(s, job, &e) : JOB_STATUS_UNAVAILABLE;
    }
    if (strcmp(now.status, "completed") == 0) {
        reconcile_job(s, job, now.runner_id > 0 ? JOB_DONE : JOB_CANCELLED, why);
        return JOB_STATUS_NOT_WAITING;
    }
    if (strcmp(now.status, "in_progress") == 0 && now.runner_id > 0) {
        reconcile_job(s, job, JOB_RUNNING, why);
        return JOB_STATUS_NOT_WAITING;
    }
    return JOB_STATUS_WAITS;
}

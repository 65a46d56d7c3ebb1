/*
 * GitHub's word on a job that the ledger thinks waits, and what it settles.
 *
 * Where GitHub knows no such job it was deleted with its run or repository, or the App may not read
 * it; the two look alike. So it stays, is launched no more for, and is asked about ever more
 * rarely, until it is older than GitHub lets a job be queued: then it is over either way. However
 * many such jobs there are, a sweep asks about a few of them, and the next one goes on behind
 * those.
 */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "reaper/reaper.h"

#define UNKNOWN_PATIENCES_MAX 10 /* between two questions; the first comes after one */
#define UNKNOWN_PER_SWEEP 10     /* then no more questions in this sweep */
/* GitHub cancels after 24 hours, some servers after 48. */
#define QUEUED_AT_MOST_MS (49 * 3600 * 1000LL)

/* --- jobs that GitHub did not know --- */

static struct reaper_unknown *find_unknown(struct reaper *r, int64_t job)
{
    for (size_t i = 0; i < COUNT_OF(r->unknown); i++) {
        if (r->unknown[i].job == job) {
            return &r->unknown[i];
        }
    }
    return NULL;
}

/* The place of the one that would be asked about first. */
static struct reaper_unknown *free_place(struct reaper *r)
{
    struct reaper_unknown *place = &r->unknown[0];
    for (size_t i = 1; i < COUNT_OF(r->unknown); i++) {
        place = r->unknown[i].again_ms < place->again_ms ? &r->unknown[i] : place;
    }
    return place;
}

/* Returns when it is asked about again, from now: one patience, then twice as long each time. */
static int64_t remember_unknown(const struct sweep *s, const struct ledger_job *job)
{
    const struct config_class *class =
        config_class_by_name(s->config, slice_of(job->facts.class_name));
    int64_t patience =
        class != NULL ? sweep_patience_ms(s, class) : s->config->reaper.relaunch_after_ms;
    int64_t longest = UNKNOWN_PATIENCES_MAX * patience;
    struct reaper_unknown *known = find_unknown(s->reaper, job->facts.id);
    int64_t after_ms = known != NULL ? 2 * known->after_ms : patience;
    after_ms = after_ms < longest ? after_ms : longest;
    *(known != NULL ? known : free_place(s->reaper)) = (struct reaper_unknown){
        .job = job->facts.id, .again_ms = clock_mono_ms() + after_ms, .after_ms = after_ms};
    return after_ms;
}

/* --- the word --- */

static void settle(struct sweep *s, const struct ledger_job *job, enum ledger_job_state to,
                   const char *why)
{
    struct err e = {0};
    if (ledger_reconcile_job(s->reaper->ledger, job->facts.id, to, why, &e) != 0) {
        log_warn("job_reconcile_failed", LOG_INT("job_id", job->facts.id), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
    }
}

static enum job_status note_unknown(struct sweep *s, const struct ledger_job *job,
                                    const struct err *why)
{
    if (s->now_ms - job->waiting_ms > QUEUED_AT_MOST_MS) {
        settle(s, job, JOB_CANCELLED,
               "GitHub does not know the job, and keeps none queued for so long");
        return JOB_STATUS_OVER;
    }
    if (++s->unknown == UNKNOWN_PER_SWEEP) {
        s->reaper->ask_from = s->asked;
    }
    int64_t after_ms = remember_unknown(s, job);
    log_warn("job_not_found_on_github", LOG_INT("job_id", job->facts.id),
             LOG_STR("repository", job->facts.repository), LOG_STR("class", job->facts.class_name),
             LOG_ERR(why), LOG_INT("again_ms", after_ms),
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
    bool has_turn = ++s->asked > s->ask_from && s->unknown < UNKNOWN_PER_SWEEP;
    if (!has_turn || (unknown != NULL && clock_mono_ms() < unknown->again_ms)) {
        return JOB_STATUS_UNKNOWN;
    }
    if (github_get_job(s->reaper->github, job->facts.repository, job->facts.installation_id,
                       job->facts.id, &now, &e) != 0) {
        return e.class == ERR_NOT_FOUND ? note_unknown(s, job, &e) : JOB_STATUS_UNAVAILABLE;
    }
    if (strcmp(now.status, "completed") == 0) {
        settle(s, job, now.runner_id > 0 ? JOB_DONE : JOB_CANCELLED, why);
        return JOB_STATUS_OVER;
    }
    if (strcmp(now.status, "in_progress") == 0 && now.runner_id > 0) {
        settle(s, job, JOB_RUNNING, why);
        return JOB_STATUS_OVER;
    }
    return JOB_STATUS_WAITS;
}

/* The answer that a job which is given up gets at GitHub: see give_up.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/random.h"
#include "common/ledger/kinds.h"
#include "reaper/give_up/give_up.h"

#define INTERVAL_SHARE 100
#define INTERVAL_MAX_MS 60000
#define FAILED_WAIT_MS (5 * 60000)   /* after GitHub refused or did not answer */
#define CANCEL_AGAIN_MS (10 * 60000) /* GitHub accepted it, and the job still waits */

struct giving_up {
    struct sweep *sweep;
    const struct ledger_give_up *all;
    size_t count;
    int questions_left;
    int64_t repairs;
    bool failed; /* GitHub refused one, perhaps for its repository's or its installation's sake */
    bool away;   /* or did not respond: it would not to the others either */
};

/* That the App may not do this says nothing about launches: no circuit opens for it. */
static void end_call(struct giving_up *a, struct sweep_call *call, int rc, const struct err *e)
{
    struct err seen = *e;
    bool refused = rc != 0 && e->class != ERR_RETRY && e->class != ERR_THROTTLED;
    seen.from = refused && e->from == ERR_FROM_GITHUB ? ERR_FROM_US : e->from;
    sweep_end_call(a->sweep, call, rc, &seen);
}

static bool begin_call(struct giving_up *a, const struct ledger_job *job, int64_t calls,
                       struct sweep_call *call)
{
    const struct github_scope scope =
        github_scope_parse(job->facts.repository, job->facts.installation_id);
    return sweep_begin_question(a->sweep, &scope, GITHUB_RECONCILE, calls, call);
}

static void report_failure(struct giving_up *a, const struct ledger_job *job, const struct err *e)
{
    bool away = e->class == ERR_RETRY || e->class == ERR_THROTTLED;
    a->failed = true;
    a->away = a->away || away;
    log_warn("job_give_up_failed", LOG_INT("job_id", job->facts.id),
             LOG_STR("repository", job->facts.repository), LOG_ERR(e),
             LOG_STR("action", away ? "none: tried again in 5 minutes"
                                    : "tried again in 5 minutes; check that the App's permissions "
                                      "Actions: write and Checks: write are granted and accepted: "
                                      "mayflyctl app check"));
}

static void add_to_timeline(struct giving_up *a, const struct ledger_give_up *g, const char *what,
                            const char *detail)
{
    struct err e = {0};
    if (ledger_log_event(a->sweep->reaper->ledger, g->job_id, "", what, detail, &e) != 0) {
        log_debug("timeline_write_failed", LOG_INT("job_id", g->job_id), LOG_ERR(&e));
    }
}

/* --- the check run --- */

static int create_check_run(struct giving_up *a, const struct ledger_give_up *g,
                            const struct ledger_job *job, const struct github_job *now,
                            struct err *e)
{
    char name[160];
    char id[40];
    char summary[sizeof g->why + 400];
    struct sweep_call call;
    (void)snprintf(name, sizeof name, "Mayfly: %.96s (%lld)", job->facts.name,
                   (long long)g->job_id);
    (void)snprintf(id, sizeof id, "mayfly-job-%lld", (long long)g->job_id);
    (void)snprintf(
        summary, sizeof summary,
        "No VM is launched for job %lld of run %lld: %s.\n\nIts run is cancelled as soon "
        "as none of its other jobs runs or can still run. Run the job again once the "
        "cause is fixed.",
        (long long)g->job_id, (long long)job->facts.run_id, g->why);
    const struct github_check_run run = {.repository = job->facts.repository,
                                         .installation_id = job->facts.installation_id,
                                         .head_sha = now->head_sha,
                                         .name = name,
                                         .external_id = id,
                                         .title = "Mayfly has given up this job",
                                         .summary = summary};
    if (!begin_call(a, job, 1, &call)) {
        return err_set(e, ERR_THROTTLED, GITHUB_LATER, "GitHub is asked later");
    }
    int rc = github_create_check_run(a->sweep->reaper->github, &run, e);
    end_call(a, &call, rc, e);
    return rc;
}

static void say(struct giving_up *a, struct ledger_give_up *g, const struct ledger_job *job,
                const struct github_job *now)
{
    struct err e = {0};
    if (create_check_run(a, g, job, now, &e) != 0) {
        if (e.code != GITHUB_LATER) {
            report_failure(a, job, &e);
        }
        return;
    }
    if (ledger_give_up_advance(a->sweep->reaper->ledger, g, GIVE_UP_SAID, &e) != 0) {
        log_debug("give_up_not_recorded", LOG_INT("job_id", g->job_id), LOG_ERR(&e),
                  LOG_STR("action", "the next sweep makes the check run again"));
        return;
    }
    a->repairs++;
    add_to_timeline(a, g, LEDGER_GIVEN_UP, g->why);
    log_warn("job_given_up", LOG_INT("job_id", g->job_id),
             LOG_STR("repository", job->facts.repository), LOG_INT("run_id", job->facts.run_id),
             LOG_STR("class", job->facts.class_name),
             LOG_INT("waiting_ms", a->sweep->now_ms - job->waiting_ms), LOG_STR("reason", g->why));
}

/* --- the run --- */

struct others {
    const struct giving_up *of;
    int64_t job_id;
    bool waits; /* the job itself, in the run's last attempt */
    size_t alive;
};

static bool is_given_up(const struct giving_up *a, int64_t job_id)
{
    for (size_t i = 0; i < a->count; i++) {
        if (a->all[i].job_id == job_id && a->all[i].stage != GIVE_UP_ASKED) {
            return true;
        }
    }
    return false;
}

/* One that was given up, too, may have got a runner since. */
static void count_other(void *arg, int64_t job_id, const char *status)
{
    struct others *o = arg;
    bool waits = strcmp(status, "queued") == 0;
    if (job_id == o->job_id) {
        o->waits = waits;
    } else {
        o->alive += strcmp(status, "completed") != 0 && !(waits && is_given_up(o->of, job_id));
    }
}

/* Whether it may be: one call, or a few. */
static bool may_cancel(struct giving_up *a, const struct ledger_give_up *g,
                       const struct ledger_job *job)
{
    struct err e = {0};
    struct sweep_call call;
    struct others o = {.of = a, .job_id = g->job_id};
    if (!begin_call(a, job, 1, &call)) {
        return false;
    }
    int rc =
        github_list_run_states(a->sweep->reaper->github, job->facts.repository,
                               job->facts.installation_id, job->facts.run_id, count_other, &o, &e);
    end_call(a, &call, rc, &e);
    if (rc != 0) {
        report_failure(a, job, &e);
    }
    return rc == 0 && o.waits && o.alive == 0;
}

static void cancel(struct giving_up *a, struct ledger_give_up *g, const struct ledger_job *job)
{
    struct err e = {0};
    struct sweep_call call;
    if (!may_cancel(a, g, job) || !sweep_still_holds(a->sweep, NULL) ||
        !begin_call(a, job, 1, &call)) {
        return;
    }
    int rc = github_cancel_run(a->sweep->reaper->github, job->facts.repository,
                               job->facts.installation_id, job->facts.run_id, &e);
    end_call(a, &call, rc, &e);
    if (rc != 0) {
        report_failure(a, job, &e);
        return;
    }
    a->repairs++;
    add_to_timeline(a, g, "run_cancelled", "no other job of its run runs or can still run");
    log_warn("run_cancelled", LOG_INT("job_id", g->job_id), LOG_INT("run_id", job->facts.run_id),
             LOG_STR("repository", job->facts.repository), LOG_STR("reason", g->why));
    if (ledger_give_up_advance(a->sweep->reaper->ledger, g, GIVE_UP_CANCELLED, &e) != 0) {
        log_debug("give_up_not_recorded", LOG_INT("job_id", g->job_id), LOG_ERR(&e),
                  LOG_STR("action", "the next sweep cancels the run again, if it still waits"));
    }
}

/* --- one job --- */

/* Whether GitHub too has it queued; the other tasks correct the ledger where it has not. */
static bool is_queued(struct giving_up *a, const struct ledger_job *job, struct github_job *now)
{
    struct err e = {0};
    struct sweep_call call;
    if (!begin_call(a, job, 1, &call)) {
        return false;
    }
    int rc = github_get_job(a->sweep->reaper->github, job->facts.repository,
                            job->facts.installation_id, job->facts.id, now, &e);
    sweep_end_call(a->sweep, &call, rc, &e);
    return rc == 0 && strcmp(now->status, "queued") == 0;
}

static bool is_due(const struct sweep *s, const struct ledger_give_up *g)
{
    return g->stage != GIVE_UP_CANCELLED || s->now_ms - g->at_ms >= CANCEL_AGAIN_MS;
}

static void answer(struct giving_up *a, struct ledger_give_up *g, const struct ledger_job *job)
{
    struct github_job now;
    if (give_up_has_vm(a->sweep, g->job_id) || !is_due(a->sweep, g) || a->questions_left == 0) {
        return;
    }
    a->questions_left--;
    if (!is_queued(a, job, &now) || !sweep_still_holds(a->sweep, NULL)) {
        return;
    }
    if (g->stage == GIVE_UP_ASKED) {
        say(a, g, job, &now);
    }
    if (g->stage != GIVE_UP_ASKED) {
        cancel(a, g, job);
    }
}

/* Held back, it waits for GitHub, which may yet queue it. */
static int handle(struct giving_up *a, struct ledger_give_up *g, struct err *e)
{
    struct ledger *l = a->sweep->reaper->ledger;
    struct ledger_job job;
    bool known = ledger_job_get(l, g->job_id, &job, e) == 0;
    if (!known && e->class != ERR_NOT_FOUND) {
        return -1;
    }
    if (!known || (job.state != JOB_WAITING && job.state != JOB_SEEN)) {
        return ledger_give_up_remove(l, g, e) == 0 || e->class == ERR_CONFLICT ? 0 : -1;
    }
    if (job.state == JOB_WAITING) {
        answer(a, g, &job);
    }
    return 0;
}

/* Often enough for what is seen again and again; the lanes and the oldest jobs are read for it. */
int64_t sweep_give_up_interval_ms(const struct sweep *s)
{
    int64_t share_ms = s->config->reaper.give_up_after_ms / INTERVAL_SHARE;
    return share_ms < INTERVAL_MAX_MS ? share_ms : INTERVAL_MAX_MS;
}

int sweep_give_up(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct ledger_give_up *list = NULL;
    size_t n = 0;
    if (!s->config->reaper.give_up) {
        return 0;
    }
    if (give_up_find_overdue(s, e) != 0 ||
        ledger_give_up_list(s->reaper->ledger, &list, &n, e) != 0) {
        return -1;
    }
    struct giving_up a = {.sweep = s, .all = list, .count = n, .questions_left = GIVE_UP_QUESTIONS};
    int rc = 0;
    size_t first = n > 0 ? (size_t)random_below(n) : 0; /* so that none is behind refused ones */
    for (size_t i = 0; rc == 0 && i < n && !a.away && !s->lost; i++) {
        rc = handle(&a, &list[(first + i) % n], e);
    }
    s->next_run_ms = a.failed ? FAILED_WAIT_MS : s->next_run_ms;
    *repairs += a.repairs;
    free(list);
    return rc;
}

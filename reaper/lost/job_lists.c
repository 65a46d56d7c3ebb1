/*
 * The jobs of a repository as GitHub lists them: its runs that are queued, its runs that are in
 * progress (some of their jobs may still be queued), and the jobs of each. A run that starts in
 * between is in the second list.
 *
 * A job is treated as its delivery would be, by the same code: labels, admitted repositories, public
 * repositories, jobs that are held back. It is new to the ledger when its deliveries were lost, or
 * the ledger was. A queued one is recorded as waiting and gets a launch request; should the request
 * be lost, relaunch.c puts another. One in progress is recorded, so that nothing is launched for it;
 * so is the end of one that the ledger believes to wait or run.
 */
#include "reaper/lost/job_lists.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/github/webhook.h"
#include "common/job/publish.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"

#define RUNS_MAX 10000 /* of one repository in one reading; the next one finds more */
#define CALLS_MIN 4    /* in a sweep, however slow GitHub is */

/* --- the budget --- */

bool sweep_may_reconcile(struct sweep *s)
{
    int64_t now_ms = clock_mono_ms();
    if (s->reconcile_calls == 0) {
        s->reconcile_began_ms = now_ms;
    }
    bool late = now_ms - s->reconcile_began_ms >= s->config->reaper.interval_ms;
    if (wakeup_raised(&s->reaper->stop) || (late && s->reconcile_calls >= CALLS_MIN)) {
        return false;
    }
    s->reconcile_calls++;
    return true;
}

bool sweep_begin_reconcile_call(struct sweep *s, const char *place, int64_t installation_id,
                                struct sweep_call *call)
{
    const struct github_scope scope = github_scope_parse(place, installation_id);
    return sweep_may_reconcile(s) && sweep_begin_question(s, &scope, GITHUB_RECONCILE, 1, call);
}

/* --- one job --- */

struct found {
    struct sweep *sweep;
    bool ledger_lost;
    int64_t *repairs;
    int failed;
    struct err *e;
};

/* known NULL: the ledger does not know the job. */
static bool is_news(const struct job_event *ev, const struct ledger_job *known)
{
    switch (ev->action) {
    case JOB_ACTION_QUEUED:
        return job_event_wants_runner(ev) && (known == NULL || known->state == JOB_SEEN);
    case JOB_ACTION_IN_PROGRESS:
        return ev->runner_id > 0 && (known == NULL || known->state < JOB_RUNNING);
    case JOB_ACTION_COMPLETED:
        return known != NULL && known->state < JOB_DONE;
    case JOB_ACTION_WAITING:
        break;
    }
    return false;
}

static bool may_be_on_its_way(const struct found *f, const struct job_event *ev)
{
    const struct sweep *s = f->sweep;
    return !f->ledger_lost && ev->action == JOB_ACTION_QUEUED &&
           s->now_ms - ev->job.created_ms < s->config->reaper.relaunch_after_ms;
}

/* The ledger may be lost and the queue not. */
static bool has_request(struct sweep *s, int64_t job_id)
{
    struct err e = {0};
    struct queue_entry *entries = NULL;
    size_t n = 0;
    bool found = false;
    char key[32];
    struct queue *q = s->reaper->queue;
    (void)snprintf(key, sizeof key, "%" PRId64, job_id);
    if (!queue_can(q, QUEUE_FIND) || queue_can(q, QUEUE_SCANS) ||
        queue_find(q, key, 8, &entries, &n, &e) != 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        found = found || (launch_lane_class(entries[i].message.lane) != NULL &&
                          entries[i].place != QUEUE_DEAD);
    }
    queue_entries_free(entries, n);
    return found;
}

static int request_launch(struct sweep *s, const struct job_event *ev, struct err *e)
{
    struct job_message message;
    struct launch_request request = launch_request_of(ev);
    (void)snprintf(request.reason, sizeof request.reason, "recovered");
    request.delivery[0] = '\0';
    job_message_of_launch(&request, presence_format(s->reaper->presence), &message);
    int failed = job_publish(s->reaper->queue, &message, e);
    job_message_fini(&message);
    return failed;
}

static int give_to_ledger(struct found *f, struct job_event *ev)
{
    struct sweep *s = f->sweep;
    struct ledger_effect effect;
    char scope[SCOPE_SIZE];
    const struct github_scope of = github_scope_of(
        s->config, config_class_by_name(s->config, slice_of(ev->job.class_name)), &ev->job);
    scope_name_make(of.name, of.group, scope);
    if (!sweep_still_holds(s, NULL)) {
        return err_set(f->e, ERR_CONFLICT, 0, "the lease of the sweep is lost");
    }
    if (ledger_apply_event(s->reaper->ledger, ev, scope, &effect, f->e) != 0) {
        return -1;
    }
    if (!effect.changed && effect.known_before) {
        return 0;
    }
    repositories_note(&s->reaper->noted, s->reaper->ledger, ev->job.repository,
                      ev->job.installation_id);
    ++*f->repairs;
    log_info("job_recovered", LOG_INT("job_id", ev->job.id),
             LOG_STR("repository", ev->job.repository), LOG_STR("class", ev->job.class_name),
             LOG_STR("state", ledger_job_state_name(effect.after)),
             LOG_INT("age_ms", s->now_ms - ev->job.created_ms),
             LOG_STR("reason",
                     f->ledger_lost ? "the ledger was lost" : "no delivery has brought it so far"));
    bool waits = effect.after == JOB_WAITING;
    return waits && !has_request(s, ev->job.id) ? request_launch(s, ev, f->e) : 0;
}

static void report_refused(const struct found *f, const struct job_event *ev, const char *reason)
{
    if (f->ledger_lost) { /* else it is found again and again */
        log_warn("job_refused", LOG_INT("job_id", ev->job.id),
                 LOG_STR("repository", ev->job.repository), LOG_STR("class", ev->job.class_name),
                 LOG_STR("reason", reason));
    }
}

static void take_job(void *arg, const char *status, struct slice delivery)
{
    struct found *f = arg;
    struct job_event ev;
    struct ledger_job known;
    struct err e = {0};
    const char *reason = "";
    const struct webhook_request request = {.event = SLICE("workflow_job"),
                                            .delivery = SLICE("job-list"),
                                            .content_type = SLICE("application/json"),
                                            .body = delivery};
    (void)status;
    if (f->failed != 0) {
        return;
    }
    enum webhook_verdict verdict = webhook_parse(&request, f->sweep->config, &ev, &reason);
    if (verdict == WEBHOOK_REFUSED) {
        report_refused(f, &ev, reason);
    }
    if ((verdict != WEBHOOK_LAUNCH && verdict != WEBHOOK_EVENT) || may_be_on_its_way(f, &ev)) {
        return;
    }
    bool is_known = ledger_job_get(f->sweep->reaper->ledger, ev.job.id, &known, &e) == 0;
    if (!is_known && e.class != ERR_NOT_FOUND) {
        *f->e = e;
        f->failed = -1;
    } else if (is_news(&ev, is_known ? &known : NULL)) {
        f->failed = give_to_ledger(f, &ev);
    }
}

/* --- the lists --- */

void job_lists_begin(struct job_lists *l, const char *repository, int64_t installation_id)
{
    job_lists_end(l);
    *l = (struct job_lists){.under_way = true, .installation_id = installation_id, .page = 1};
    (void)snprintf(l->repository, sizeof l->repository, "%s", repository);
}

void job_lists_end(struct job_lists *l)
{
    free(l->runs);
    *l = (struct job_lists){.under_way = false};
}

static int add_run(void *arg, const struct github_run *run)
{
    struct job_lists *l = arg;
    memcpy(l->oldest, run->created, sizeof l->oldest);
    for (size_t i = l->run_count; i > 0; i--) {
        if (l->runs[i - 1].id == run->id) {
            return 0;
        }
    }
    l->runs = reallocarray(l->runs, l->run_count + 1, sizeof *l->runs);
    ASSERT(l->runs != NULL);
    l->runs[l->run_count++] = *run;
    return l->run_count < RUNS_MAX ? 0 : 1;
}

static void next_stage(struct job_lists *l)
{
    l->stage++;
    l->page = 1;
    l->created_until[0] = '\0';
}

/* Behind the most runs that one query names, the next query goes on at the oldest of them. */
static bool continue_at_oldest(struct job_lists *l)
{
    bool cut = l->page * 100 >= GITHUB_RUNS_MAX && l->run_count < RUNS_MAX &&
               l->oldest[0] != '\0' && strcmp(l->oldest, l->created_until) != 0;
    if (cut) {
        memcpy(l->created_until, l->oldest, sizeof l->created_until);
        l->page = 1;
    }
    return cut;
}

static int list_runs(struct sweep *s, struct job_lists *l, struct err *e)
{
    bool more = false;
    const struct github_runs_query q = {.repository = l->repository,
                                        .installation_id = l->installation_id,
                                        .status = l->stage == LISTS_QUEUED_RUNS ? "queued"
                                                                                : "in_progress",
                                        .created_until = l->created_until,
                                        .page = l->page};
    if (github_list_runs(s->reaper->github, &q, add_run, l, &more, e) != 0) {
        return -1;
    }
    if (more && l->run_count < RUNS_MAX) {
        l->page++;
    } else if (!continue_at_oldest(l)) {
        next_stage(l);
    }
    return 0;
}

static int list_jobs(struct job_lists *l, struct found *f, struct err *e)
{
    bool more = false;
    const struct github_run *run = &l->runs[l->next_run];
    int rc = github_list_run_jobs(f->sweep->reaper->github, run, l->page, take_job, f, &more, e);
    bool is_gone = rc != 0 && e->class == ERR_NOT_FOUND; /* deleted since it was listed */
    if (rc != 0 && !is_gone) {
        return -1;
    }
    if (f->failed != 0) {
        return 0;
    }
    if (more && !is_gone) {
        l->page++;
    } else {
        l->next_run++;
        l->page = 1;
    }
    return 0;
}

/* Not that of an installation: one that is suspended may come back. */
static bool is_refused(const struct err *e)
{
    return e->from == ERR_FROM_GITHUB &&
           ((e->class == ERR_AUTH && e->code == 403) || e->class == ERR_NOT_FOUND);
}

enum job_lists_result sweep_read_job_lists(struct sweep *s, struct job_lists *l, bool ledger_lost,
                                           int64_t *repairs, struct err *e)
{
    struct found f = {.sweep = s, .ledger_lost = ledger_lost, .repairs = repairs, .e = e};
    while (l->stage != LISTS_JOBS || l->next_run < l->run_count) {
        struct sweep_call call;
        if (!sweep_begin_reconcile_call(s, l->repository, l->installation_id, &call)) {
            return JOB_LISTS_PAUSED;
        }
        int rc = l->stage != LISTS_JOBS ? list_runs(s, l, e) : list_jobs(l, &f, e);
        sweep_end_call(s, &call, rc, e);
        if (rc != 0) {
            return is_refused(e) ? JOB_LISTS_REFUSED : JOB_LISTS_FAILED;
        }
        if (f.failed != 0) {
            return JOB_LISTS_FAILED;
        }
    }
    job_lists_end(l);
    return JOB_LISTS_DONE;
}

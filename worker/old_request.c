#include "worker/old_request.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/github/budget.h"

static bool has_no_row(struct worker *w, int64_t job_id)
{
    struct err e = {0};
    struct ledger_job row;
    return ledger_job_get(w->ledger, job_id, &row, &e) != 0 && e.class == ERR_NOT_FOUND;
}

/* The event that the ledger has lost. Returns whether there was one. */
static bool lost_event(const struct launch_request *r, const struct github_job *now,
                       struct job_event *out)
{
    bool over = strcmp(now->status, "completed") == 0;
    bool runs = strcmp(now->status, "in_progress") == 0 && now->runner_id > 0;
    *out = (struct job_event){.action = over ? JOB_ACTION_COMPLETED : JOB_ACTION_IN_PROGRESS,
                              .job = r->job,
                              .runner_id = now->runner_id,
                              .received_ms = clock_wall_ms()};
    memcpy(out->job.conclusion, now->conclusion, sizeof out->job.conclusion);
    memcpy(out->job.runner_name, now->runner_name, sizeof out->job.runner_name);
    memcpy(out->status, now->status, sizeof out->status);
    return over || runs;
}

void old_request_check(struct worker *w, const struct launch_request *r, const char *scope,
                       int64_t known_since_ms)
{
    struct err e = {0};
    struct github_job now;
    struct job_event lost;
    struct ledger_effect effect;
    if (r->job.id == 0 || r->requested_ms >= known_since_ms || !has_no_row(w, r->job.id)) {
        return;
    }
    /* Above the budget it is launched unasked: its VM may be one too many. */
    const struct github_scope of = github_scope_parse(r->job.repository, r->job.installation_id);
    if (!github_budget_allows(w->github, &of, GITHUB_RECONCILE, 1)) {
        return;
    }
    if (github_get_job(w->github, r->job.repository, r->job.installation_id, r->job.id, &now, &e) !=
        0) {
        log_debug("old_request_unchecked", LOG_INT("job_id", r->job.id), LOG_ERR(&e));
        return;
    }
    if (!lost_event(r, &now, &lost)) {
        return;
    }
    if (ledger_apply_event(w->ledger, &lost, scope, &effect, &e) != 0) {
        log_debug("old_request_unchecked", LOG_INT("job_id", r->job.id), LOG_ERR(&e));
        return;
    }
    log_info("old_request_over", LOG_INT("job_id", r->job.id), LOG_STR("class", r->class_name),
             LOG_STR("state", ledger_job_state_name(effect.after)),
             LOG_STR("reason",
                     "the request is older than what the ledger knows, and GitHub reports "
                     "that its job waits no more"));
}

/*
 * What GitHub says about a job, a run or a runner group, for `mayflyctl why`.
 *
 * It asks with the deployment's own credentials, if this user can read them, and takes nothing from
 * the rate that the programs share: a person asks rarely. Nobody waits for a GitHub that is away:
 * each call has a few seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fleet/repositories.h"
#include "deploy/ctl/why.h"

static bool is_open(struct ctl *c, struct why_github *g)
{
    struct err e = {0};
    const struct config_github *cg = &c->config->github;
    if (g->github != NULL || g->trouble[0] != '\0') {
        return g->github != NULL;
    }
    if (c->serves) {
        (void)snprintf(g->trouble, sizeof g->trouble,
                       "the console asks GitHub nothing (mayflyctl why does)");
        return false;
    }
    if (cg->token[0] == '\0' && !config_has_app_keys(c->config)) {
        (void)snprintf(g->trouble, sizeof g->trouble,
                       "this user cannot read the App's key or the token of the configuration "
                       "(run it as the worker's user)");
        return false;
    }
    g->config = *c->config;
    if (g->config.github.timeout_ms > WHY_GITHUB_TIMEOUT_MS) {
        g->config.github.timeout_ms = WHY_GITHUB_TIMEOUT_MS;
    }
    if (github_open(&g->config, NULL, &g->github, &e) != 0) {
        (void)snprintf(g->trouble, sizeof g->trouble, "%.390s", e.message);
        g->github = NULL;
    }
    return g->github != NULL;
}

void why_github_close(struct why_github *g)
{
    if (g->github != NULL) {
        github_close(g->github);
    }
    g->github = NULL;
}

/* --- one job --- */

static void ask_repository(struct why_github *g, const char *repository, int64_t installation_id,
                           int64_t job_id, struct why_github_job *out)
{
    struct err e = {0};
    if (github_get_job(g->github, repository, installation_id, job_id, &out->job, &e) != 0) {
        out->answer = e.class == ERR_NOT_FOUND ? WHY_NOT_FOUND : WHY_UNANSWERED;
        (void)snprintf(out->trouble, sizeof out->trouble, "%.390s", e.message);
        return;
    }
    out->answer = WHY_FOUND;
    (void)snprintf(out->repository, sizeof out->repository, "%s", repository);
    if (github_get_run(g->github, repository, installation_id, out->job.run_id, &out->run, &e) !=
        0) {
        out->run = (struct github_run){.id = 0}; /* its repository may be public or not */
    }
}

static int compare_newest_first(const void *a, const void *b)
{
    const struct repository_seen *one = a;
    const struct repository_seen *other = b;
    return (one->job_ms < other->job_ms) - (one->job_ms > other->job_ms);
}

/* An id is unique at GitHub, and its API wants the repository too. */
static void ask_known_repositories(struct ctl *c, struct why_github *g, int64_t job_id,
                                   struct why_github_job *out)
{
    struct err e = {0};
    struct repository_seen *all = NULL;
    size_t n = 0;
    if (repositories_list(c->ledger, 0, &all, &n, &e) != 0) {
        n = 0;
    }
    if (n > 1) {
        qsort(all, n, sizeof *all, compare_newest_first);
    }
    out->answer = WHY_NOT_FOUND;
    for (size_t i = 0; i < n && i < WHY_REPOSITORIES_MAX && out->answer == WHY_NOT_FOUND; i++) {
        ask_repository(g, all[i].name, all[i].installation_id, job_id, out);
    }
    if (out->answer == WHY_NOT_FOUND && (n == 0 || n > WHY_REPOSITORIES_MAX)) {
        out->answer = WHY_UNANSWERED;
        (void)snprintf(out->trouble, sizeof out->trouble,
                       "its repository is not known: give the URL of the job instead of its id");
    }
    free(all);
}

void why_ask_for_job(struct ctl *c, struct why_github *g, const char *repository, int64_t job_id,
                     struct why_github_job *out)
{
    *out = (struct why_github_job){.answer = WHY_UNANSWERED};
    if (!is_open(c, g)) {
        (void)snprintf(out->trouble, sizeof out->trouble, "%s", g->trouble);
    } else if (repository[0] != '\0') {
        ask_repository(g, repository, 0, job_id, out);
    } else {
        ask_known_repositories(c, g, job_id, out);
    }
}

/* --- the jobs of a run --- */

struct run_jobs {
    int64_t *ids;
    size_t count;
};

static void take_job(void *arg, const char *status, struct slice delivery)
{
    struct run_jobs *r = arg;
    json_t *root = json_loadb(delivery.ptr, delivery.len, 0, NULL);
    int64_t id = json_integer_value(json_object_get(json_object_get(root, "workflow_job"), "id"));
    (void)status;
    if (id > 0 && r->count < WHY_RUN_JOBS_MAX) {
        r->ids[r->count++] = id;
    }
    json_decref(root);
}

int why_ask_for_run(struct ctl *c, struct why_github *g, const char *repository, int64_t run_id,
                    int64_t **jobs, size_t *n, struct err *e)
{
    struct run_jobs r = {.ids = calloc(WHY_RUN_JOBS_MAX, sizeof r.ids[0])};
    struct github_run run;
    bool more = false;
    ASSERT(r.ids != NULL);
    int rc = is_open(c, g) ? 0 : err_set(e, ERR_AUTH, 0, "GitHub was not asked: %s", g->trouble);
    if (rc != 0 || github_get_run(g->github, repository, 0, run_id, &run, e) != 0 ||
        github_list_run_jobs(g->github, &run, 1, take_job, &r, &more, e) != 0) {
        free(r.ids);
        return -1;
    }
    *jobs = r.ids;
    *n = r.count;
    return 0;
}

/* --- the runner group --- */

bool why_ask_admission(struct ctl *c, struct why_github *g, const struct ledger_job *job,
                       const struct config_class *class, char group[SCOPE_GROUP_SIZE])
{
    struct err e = {0};
    bool admits = true;
    const struct github_scope scope = github_scope_of(c->config, class, &job->facts);
    const char *mapped = config_mapped_group(c->config, job->facts.repository);
    (void)snprintf(group, SCOPE_GROUP_SIZE, "%s",
                   mapped[0] != '\0' ? mapped : config_class_group(c->config, class));
    return scope.is_repository || !is_open(c, g) ||
           github_group_admits(g->github, &scope, group, job->facts.repository, &admits, &e) != 0 ||
           admits;
}

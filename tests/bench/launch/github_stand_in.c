/*
 * GitHub, for benches that drive a worker's real threads: every call is answered at once, at no
 * cost, and no runner is ever found again. Linked in the place of common/github; any thread.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/github/budget.h"

struct github_scope github_scope_of(const struct config *c, const struct config_class *class,
                                    const struct job *job)
{
    (void)c;
    (void)class;
    return github_scope_parse(job->organization, job->installation_id);
}

struct github_scope github_scope_parse(const char *name, int64_t installation_id)
{
    struct github_scope s = {.installation_id = installation_id};
    (void)snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

bool github_budget_allows(struct github *g, const struct github_scope *s,
                          enum github_purpose purpose, int64_t calls)
{
    (void)g;
    (void)s;
    (void)purpose;
    (void)calls;
    return true;
}

int github_budget_take(struct github *g, const struct github_scope *s, enum github_purpose purpose,
                       int64_t calls, struct err *e)
{
    (void)g;
    (void)s;
    (void)purpose;
    (void)calls;
    (void)e;
    return 0;
}

int github_register_runner(struct github *g, const struct github_register *r,
                           struct github_jit *out, struct err *e)
{
    static int64_t ids;
    (void)g;
    (void)r;
    (void)e;
    out->runner_id = __atomic_add_fetch(&ids, 1, __ATOMIC_RELAXED);
    out->config = slice_dup(SLICE("eyJub3QiOiJhIHRydWUgSklUIGNvbmZpZyJ9"));
    return 0;
}

void github_jit_fini(struct github_jit *j)
{
    free(j->config);
    j->config = NULL;
}

int github_delete_runner(struct github *g, const struct github_scope *s, int64_t id, struct err *e)
{
    (void)g;
    (void)s;
    (void)id;
    (void)e;
    return 0;
}

int github_get_runner(struct github *g, const struct github_scope *s, int64_t id,
                      struct github_runner *out, struct err *e)
{
    (void)g;
    (void)s;
    (void)id;
    (void)out;
    return err_set(e, ERR_NOT_FOUND, 404, "none");
}

int github_get_job(struct github *g, const char *repository, int64_t installation_id,
                   int64_t job_id, struct github_job *out, struct err *e)
{
    (void)g;
    (void)repository;
    (void)installation_id;
    (void)job_id;
    (void)out;
    return err_set(e, ERR_NOT_FOUND, 404, "no job");
}

int github_ping(struct github *g, struct err *e)
{
    (void)g;
    (void)e;
    return 0;
}

int github_find_runner(struct github *g, const struct github_scope *s, const char *name,
                       struct github_runner *out, struct err *e)
{
    (void)g;
    (void)s;
    (void)name;
    (void)out;
    return err_set(e, ERR_NOT_FOUND, 404, "none");
}

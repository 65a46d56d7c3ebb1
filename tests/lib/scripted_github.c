#include "tests/lib/scripted_github.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/budget.h"
#include "tests/lib/calls.h"

struct scripted_github scripted_github;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the runners, during calls */

void scripted_github_reset(void)
{
    memset(&scripted_github, 0, sizeof scripted_github);
    scripted_github.page_size = 100;
}

static int end_call(const struct call *c, int rc, struct err *e)
{
    return call_end(c, rc, e) == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

/* --- runners --- */
struct github_runner *scripted_github_add_runner(const char *name, bool online, bool busy)
{
    ASSERT(scripted_github.runner_count < SCRIPTED_GITHUB_MAX);
    struct github_runner *r = &scripted_github.runners[scripted_github.runner_count];
    scripted_github.runner_scope[scripted_github.runner_count++] = "acme";
    *r = (struct github_runner){
        .id = 1000 + (int64_t)scripted_github.runner_count, .online = online, .busy = busy};
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    return r;
}

int github_register_runner(struct github *g, const struct github_register *r,
                           struct github_jit *out, struct err *e)
{
    struct call c =
        call_begin("github_register_runner", e,
                   "scope=%s installation=%lld name=%s label=%s group=%s", r->scope->name,
                   (long long)r->scope->installation_id, r->name, r->labels->items[0], r->group);
    (void)g;
    if (c.goes_on) {
        pthread_mutex_lock(&lock);
        out->runner_id = scripted_github_add_runner(r->name, false, false)->id;
        pthread_mutex_unlock(&lock);
        out->config = strdup(SCRIPTED_JIT_CONFIG);
        ASSERT(out->config != NULL);
    }
    return end_call(&c, 0, e);
}

void github_jit_fini(struct github_jit *j)
{
    free(j->config);
    *j = (struct github_jit){0};
}

static bool is_in(size_t i, const struct github_scope *s)
{
    const char *scope = scripted_github.runner_scope[i];
    return scope != NULL && strcmp(s->name, scope) == 0 &&
           s->installation_id == (strcmp(scope, "acme") == 0 ? 11 : 22);
}

/* Finds a runner by name, or if that is NULL by id; the end of the array if there is none. */
static size_t find_runner(const struct github_scope *s, int64_t id, const char *name)
{
    size_t i = 0;
    pthread_mutex_lock(&lock);
    while (i < scripted_github.runner_count &&
           !(is_in(i, s) && (name != NULL ? strcmp(scripted_github.runners[i].name, name) == 0
                                          : scripted_github.runners[i].id == id))) {
        i++;
    }
    pthread_mutex_unlock(&lock);
    return i;
}

static int give_runner(struct call *c, size_t i, struct github_runner *out, struct err *e)
{
    if (c->goes_on && i == scripted_github.runner_count) {
        return end_call(c, err_set(e, ERR_NOT_FOUND, 404, "no runner"), e);
    }
    *out = c->goes_on ? scripted_github.runners[i] : *out;
    return end_call(c, 0, e);
}

int github_get_runner(struct github *g, const struct github_scope *s, int64_t id,
                      struct github_runner *out, struct err *e)
{
    struct call c = call_begin("github_get_runner", e, "scope=%s id=%lld", s->name, (long long)id);
    (void)g;
    return give_runner(&c, find_runner(s, id, NULL), out, e);
}

int github_find_runner(struct github *g, const struct github_scope *s, const char *name,
                       struct github_runner *out, struct err *e)
{
    struct call c = call_begin("github_find_runner", e, "scope=%s name=%s", s->name, name);
    (void)g;
    return give_runner(&c, find_runner(s, 0, name), out, e);
}

int github_ping(struct github *g, struct err *e)
{
    struct call c = call_begin("github_ping", e, "%s", "");
    (void)g;
    return end_call(&c, 0, e);
}

int github_delete_runner(struct github *g, const struct github_scope *s, int64_t id, struct err *e)
{
    struct call c =
        call_begin("github_delete_runner", e, "scope=%s id=%lld", s->name, (long long)id);
    size_t i = find_runner(s, id, NULL);
    (void)g;
    if (c.goes_on && i == scripted_github.runner_count) {
        return end_call(&c, err_set(e, ERR_NOT_FOUND, 404, "no runner"), e);
    }
    if (c.goes_on) {
        if (scripted_github.runners[i].busy) {
            return end_call(&c, err_set(e, ERR_CONFLICT, 422, "busy"), e);
        }
        pthread_mutex_lock(&lock);
        scripted_github.runner_scope[i] = NULL;
        scripted_github.deleted++;
        pthread_mutex_unlock(&lock);
    }
    return end_call(&c, 0, e);
}

bool github_budget_allows(struct github *g, const struct github_scope *s,
                          enum github_purpose purpose, int64_t calls)
{
    bool is_other = scripted_github.refused_installation != 0 &&
                    scripted_github.refused_installation != s->installation_id;
    (void)g;
    (void)calls;
    return purpose == GITHUB_LAUNCH || is_other || !scripted_github.refuses[purpose];
}

int64_t github_intake_calls(struct github *g, const struct github_hook *h, int64_t most,
                            int64_t *pause_ms)
{
    (void)g;
    (void)h;
    *pause_ms = scripted_github.intake_pause_ms;
    if (scripted_github.intake_ends) {
        return 0;
    }
    return *pause_ms > 0 ? 1 : most;
}

int github_budget_later(const struct github_scope *s, struct err *e)
{
    return err_set(e, ERR_THROTTLED, GITHUB_LATER, "%s later", s->name);
}

int github_budget_take(struct github *g, const struct github_scope *s, enum github_purpose purpose,
                       int64_t calls, struct err *e)
{
    return github_budget_allows(g, s, purpose, calls) ? 0 : github_budget_later(s, e);
}

bool github_lowest_rate(struct github *g, struct github_rate *out)
{
    (void)g;
    *out = scripted_github.rate;
    return out->limit > 0;
}

int github_list_runners(struct github *g, const struct github_scope *s, enum github_purpose purpose,
                        github_runner_fn *each, void *arg, struct err *e)
{
    struct call c = call_begin("github_list_runners", e, "scope=%s", s->name);
    (void)g;
    (void)purpose;
    for (size_t i = 0; c.goes_on && i < scripted_github.runner_count; i++) {
        if (is_in(i, s) && each(arg, &scripted_github.runners[i]) != 0) {
            break;
        }
    }
    return end_call(&c, 0, e);
}

/* --- installations --- */
int github_list_installations(struct github *g, github_installation_fn *each, void *arg,
                              struct err *e)
{
    struct call c = call_begin("github_list_installations", e, "%s", "");
    (void)g;
    for (size_t i = 0; c.goes_on && i < scripted_github.installation_count; i++) {
        if (each(arg, &scripted_github.installations[i]) != 0) {
            break;
        }
    }
    return end_call(&c, 0, e);
}

int github_list_repositories(struct github *g, int64_t installation_id, github_repository_fn *each,
                             void *arg, struct err *e)
{
    struct call c =
        call_begin("github_list_repositories", e, "installation=%lld", (long long)installation_id);
    (void)g;
    for (size_t i = 0; c.goes_on && i < scripted_github.repository_count; i++) {
        if (each(arg, scripted_github.repositories[i]) != 0) {
            break;
        }
    }
    return end_call(&c, 0, e);
}

int github_list_repositories_page(struct github *g, int64_t installation_id, int number,
                                  github_repository_fn *each, void *arg,
                                  struct github_repositories *out, struct err *e)
{
    struct call c = call_begin("github_list_repositories_page", e, "installation=%lld page=%d",
                               (long long)installation_id, number);
    size_t first = ((size_t)number - 1) * scripted_github.page_size;
    size_t end = first + scripted_github.page_size;
    (void)g;
    for (size_t i = first; c.goes_on && i < end && i < scripted_github.repository_count; i++) {
        if (each(arg, scripted_github.repositories[i]) != 0) {
            break;
        }
    }
    *out = (struct github_repositories){.total = (int64_t)scripted_github.repository_count,
                                        .more = end < scripted_github.repository_count};
    return end_call(&c, 0, e);
}

/* --- jobs --- */
static const char *repository_of(size_t i)
{
    const char *named = scripted_github.job_facts[i].repository;
    return named != NULL ? named : "acme/app";
}

int github_list_runs(struct github *g, const struct github_runs_query *q, github_run_fn *each,
                     void *arg, bool *more, struct err *e)
{
    struct call c =
        call_begin("github_list_runs", e, "repository=%s installation=%lld status=%s page=%d.",
                   q->repository, (long long)q->installation_id, q->status, q->page);
    size_t first = ((size_t)q->page - 1) * scripted_github.page_size;
    size_t n = 0;
    (void)g;
    *more = false;
    for (size_t i = 0; c.goes_on && i < scripted_github.job_count; i++) {
        const struct github_job *job = &scripted_github.jobs[i];
        struct github_run run = {.id = job->id,
                                 .installation_id = q->installation_id,
                                 .organization = "acme",
                                 .created = "2026-11-20T18:12:03Z",
                                 .is_public = scripted_github.job_facts[i].is_public};
        (void)snprintf(run.repository, sizeof run.repository, "%s", q->repository);
        if (strcmp(job->status, q->status) != 0 || strcmp(repository_of(i), q->repository) != 0 ||
            n++ < first) {
            continue;
        }
        if (n > first + scripted_github.page_size) {
            *more = true;
            break;
        }
        if (each(arg, &run) != 0) {
            break;
        }
    }
    return end_call(&c, 0, e);
}

int github_get_run(struct github *g, const char *repository, int64_t installation_id,
                   int64_t run_id, struct github_run *out, struct err *e)
{
    struct call c =
        call_begin("github_get_run", e, "repository=%s run=%lld.", repository, (long long)run_id);
    size_t i = 0;
    (void)g;
    while (i < scripted_github.job_count &&
           (scripted_github.jobs[i].id != run_id || strcmp(repository_of(i), repository) != 0)) {
        i++;
    }
    if (c.goes_on && i == scripted_github.job_count) {
        return end_call(&c, err_set(e, ERR_NOT_FOUND, 404, "no run"), e);
    }
    *out = (struct github_run){.id = run_id,
                               .installation_id = installation_id,
                               .organization = "acme",
                               .is_public = scripted_github.job_facts[i].is_public};
    (void)snprintf(out->repository, sizeof out->repository, "%s", repository);
    return end_call(&c, 0, e);
}

int github_list_run_jobs(struct github *g, const struct github_run *run, int page,
                         github_run_job_fn *each, void *arg, bool *more, struct err *e)
{
    struct call c = call_begin("github_list_run_jobs", e, "repository=%s run=%lld page=%d.",
                               run->repository, (long long)run->id, page);
    (void)g;
    *more = false;
    for (size_t i = 0; c.goes_on && i < scripted_github.job_count; i++) {
        const struct github_job *job = &scripted_github.jobs[i];
        int64_t created_ms = scripted_github.job_facts[i].created_ms;
        char created[40];
        char text[700];
        if (job->id != run->id) {
            continue;
        }
        clock_format_utc(created_ms != 0 ? created_ms : 1800000000000 - 3600000, created,
                         sizeof created);
        (void)snprintf(
            text, sizeof text,
            "{\"action\":\"%s\",\"workflow_job\":{\"id\":%lld,\"run_id\":%lld,\"status\":\"%s\","
            "\"labels\":[\"self-hosted\"],\"conclusion\":null,\"created_at\":\"%s\","
            "\"runner_id\":%lld,\"runner_name\":\"%s\"},"
            "\"repository\":{\"full_name\":\"%s\",\"private\":%s},"
            "\"organization\":{\"login\":\"acme\"},\"installation\":{\"id\":%lld}}",
            job->status, (long long)job->id, (long long)run->id, job->status, created,
            (long long)job->runner_id, job->runner_name, run->repository,
            run->is_public ? "false" : "true", (long long)run->installation_id);
        each(arg, job->status, slice_of(text));
    }
    return end_call(&c, 0, e);
}

struct github_job *scripted_github_add_job(int64_t id, const char *status)
{
    ASSERT(scripted_github.job_count < SCRIPTED_GITHUB_MAX);
    struct github_job *job = &scripted_github.jobs[scripted_github.job_count++];
    *job = (struct github_job){.id = id, .run_id = id};
    (void)snprintf(job->status, sizeof job->status, "%s", status);
    return job;
}

int github_get_job(struct github *g, const char *repository, int64_t installation_id,
                   int64_t job_id, struct github_job *out, struct err *e)
{
    struct call c = call_begin("github_get_job", e, "repository=%s installation=%lld job=%lld.",
                               repository, (long long)installation_id, (long long)job_id);
    bool known = (installation_id == 11 || installation_id == 0) && /* 0: it is looked up */
                 strcmp(repository, "acme/app") == 0;
    size_t i = 0;
    (void)g;
    while (i < scripted_github.job_count && scripted_github.jobs[i].id != job_id) {
        i++;
    }
    if (c.goes_on && (!known || i == scripted_github.job_count)) {
        return end_call(&c, err_set(e, ERR_NOT_FOUND, 404, "no job"), e);
    }
    *out = c.goes_on ? scripted_github.jobs[i] : *out;
    return end_call(&c, 0, e);
}

int github_group_admits(struct github *g, const struct github_scope *s, const char *group,
                        const char *repository, bool *admits, struct err *e)
{
    const char *refusing = scripted_github.refusing_group;
    struct call c = call_begin("github_group_admits", e, "scope=%s group=%s repository=%s.",
                               s->name, group, repository);
    (void)g;
    *admits = refusing == NULL || strcmp(refusing, group) != 0;
    return end_call(&c, 0, e);
}

/* --- webhook deliveries --- */
struct scripted_delivery *scripted_github_add_delivery(int64_t job_id, const char *action,
                                                       int status_code, int64_t age_ms)
{
    struct scripted_delivery *top = &scripted_github.deliveries[0];
    ASSERT(scripted_github.delivery_count < SCRIPTED_GITHUB_MAX);
    memmove(top + 1, top, scripted_github.delivery_count * sizeof *top);
    scripted_github.delivery_count++;
    *top = (struct scripted_delivery){.entry = {.id = (int64_t)scripted_github.delivery_count,
                                                .repository_id = 501,
                                                .installation_id = 11,
                                                .delivered_ms = clock_wall_ms() - age_ms,
                                                .ok = status_code >= 200 && status_code < 300,
                                                .status_code = status_code,
                                                .event = "workflow_job"}};
    (void)snprintf(top->entry.guid, sizeof top->entry.guid, "guid-%lld-%s", (long long)job_id,
                   strcmp(action, "queued") == 0 ? "q" : "c");
    (void)snprintf(top->entry.action, sizeof top->entry.action, "%s", action);
    (void)snprintf(
        top->payload, sizeof top->payload,
        "{\"action\":\"%s\",\"workflow_job\":{\"id\":%lld,\"run_id\":1,\"status\":\"%s\","
        "\"labels\":[\"self-hosted\"],\"conclusion\":null},"
        "\"repository\":{\"full_name\":\"acme/app\",\"private\":true},"
        "\"organization\":{\"login\":\"acme\"},\"installation\":{\"id\":11}}",
        action, (long long)job_id, action);
    return top;
}

bool github_hook_of(const struct config *c, struct github_hook *out)
{
    (void)c;
    *out = (struct github_hook){.id = 7};
    return scripted_github.has_hook;
}

static size_t find_delivery(int64_t id)
{
    size_t i = 0;
    while (i < scripted_github.delivery_count && scripted_github.deliveries[i].entry.id != id) {
        i++;
    }
    return i;
}

/* The cursor is the id of the page's first entry. */
int github_list_deliveries(struct github *g, const struct github_hook *h, const char *cursor,
                           github_delivery_fn *each, void *arg, char next[GITHUB_CURSOR_BYTES],
                           struct err *e)
{
    struct call c =
        call_begin("github_list_deliveries", e, "hook=%lld cursor=%s", (long long)h->id, cursor);
    size_t i = cursor[0] != '\0' ? find_delivery(strtoll(cursor, NULL, 10)) : 0;
    bool goes_on = c.goes_on;
    (void)g;
    next[0] = '\0';
    for (size_t n = 0;
         goes_on && i < scripted_github.delivery_count && n < scripted_github.page_size; i++, n++) {
        goes_on = each(arg, &scripted_github.deliveries[i].entry) == 0;
    }
    if (c.goes_on && i < scripted_github.delivery_count) {
        (void)snprintf(next, GITHUB_CURSOR_BYTES, "%lld",
                       (long long)scripted_github.deliveries[i].entry.id);
    }
    return end_call(&c, 0, e);
}

static struct scripted_delivery *delivery(int64_t id)
{
    size_t i = find_delivery(id);
    ASSERT(i < scripted_github.delivery_count);
    return &scripted_github.deliveries[i];
}

int github_delivery_payload(struct github *g, const struct github_hook *h, int64_t id,
                            struct buf *out, struct err *e)
{
    struct call c = call_begin("github_delivery_payload", e, "hook=%lld id=%lld", (long long)h->id,
                               (long long)id);
    const struct scripted_delivery *d = delivery(id);
    (void)g;
    if (c.goes_on && d->payload_fails != ERR_NONE) {
        return end_call(&c, err_set(e, d->payload_fails, 403, "scripted"), e);
    }
    if (c.goes_on) {
        buf_append_cstr(out, d->payload);
    }
    return end_call(&c, 0, e);
}

int github_delivery_repository(struct github *g, const struct github_hook *h, int64_t id,
                               char out[REPOSITORY_SIZE], struct err *e)
{
    struct call c = call_begin("github_delivery_repository", e, "hook=%lld id=%lld",
                               (long long)h->id, (long long)id);
    (void)g;
    (void)snprintf(out, REPOSITORY_SIZE, "%s",
                   delivery(id)->entry.repository_id == 502 ? "acme/site" : "acme/app");
    return end_call(&c, 0, e);
}

int github_redeliver(struct github *g, const struct github_hook *h, int64_t id, struct err *e)
{
    struct call c =
        call_begin("github_redeliver", e, "hook=%lld id=%lld", (long long)h->id, (long long)id);
    enum err_class fails = delivery(id)->redeliver_fails;
    (void)g;
    return end_call(&c, fails == ERR_NONE ? 0 : err_set(e, fails, 403, "scripted"), e);
}

/* --- terminal answers --- */

int github_create_check_run(struct github *g, const struct github_check_run *run, struct err *e)
{
    struct call c = call_begin("github_create_check_run", e, "repository=%s sha=%s id=%s name=%s.",
                               run->repository, run->head_sha, run->external_id, run->name);
    (void)g;
    return end_call(&c, 0, e);
}

int github_list_run_states(struct github *g, const char *repository, int64_t installation_id,
                           int64_t run_id, github_run_state_fn *each, void *arg, struct err *e)
{
    struct call c =
        call_begin("github_list_run_states", e, "repository=%s installation=%lld run=%lld.",
                   repository, (long long)installation_id, (long long)run_id);
    (void)g;
    for (size_t i = 0; c.goes_on && i < scripted_github.job_count; i++) {
        const struct github_job *job = &scripted_github.jobs[i];
        if (job->run_id == run_id) {
            each(arg, job->id, job->status);
        }
    }
    return end_call(&c, 0, e);
}

int github_cancel_run(struct github *g, const char *repository, int64_t installation_id,
                      int64_t run_id, struct err *e)
{
    struct call c = call_begin("github_cancel_run", e, "repository=%s installation=%lld run=%lld.",
                               repository, (long long)installation_id, (long long)run_id);
    (void)g;
    for (size_t i = 0; c.goes_on && i < scripted_github.job_count; i++) {
        struct github_job *job = &scripted_github.jobs[i];
        if (job->run_id == run_id) {
            (void)snprintf(job->status, sizeof job->status, "completed");
        }
    }
    return end_call(&c, 0, e);
}

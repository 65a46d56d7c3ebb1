/* Sources: docs.github.com, "REST API endpoints for workflow runs" and "… for workflow jobs". */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/github/internal.h"
#include "common/github/json.h"

#define RUNS_LIMIT_BYTES ((size_t)8 * 1024 * 1024)
#define JOB_LIMIT_BYTES ((size_t)4 * 1024 * 1024)   /* a job may have a thousand steps */
#define JOBS_LIMIT_BYTES ((size_t)32 * 1024 * 1024) /* a hundred jobs with their steps */

/* --- runs --- */

/* Fails closed, as for deliveries: a repository is private only if GitHub says so. */
static bool is_public(const json_t *repository)
{
    return !json_is_true(json_object_get(repository, "private")) ||
           slice_eq_cstr(github_json_text(repository, "visibility"), "public");
}

static bool read_run(const json_t *item, const struct github_runs_query *q, struct github_run *out)
{
    const json_t *repository = json_object_get(item, "repository");
    const json_t *owner = json_object_get(repository, "owner");
    *out = (struct github_run){.id = (int64_t)json_integer_value(json_object_get(item, "id")),
                               .installation_id = q->installation_id,
                               .is_public = is_public(repository)};
    (void)snprintf(out->repository, sizeof out->repository, "%s", q->repository);
    github_json_copy(item, "created_at", out->created, sizeof out->created);
    if (slice_eq_cstr(github_json_text(owner, "type"), "Organization")) {
        github_json_copy(owner, "login", out->organization, sizeof out->organization);
    }
    return out->id > 0;
}

int github_parse_runs(struct slice body, const struct github_runs_query *q, github_run_fn *each,
                      void *arg, struct github_page *out, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *list = json_object_get(root, "workflow_runs");
    struct github_page page = {.count = json_array_size(list)};
    int rc = json_is_array(list) ? 0 : github_json_senseless(e, "list of workflow runs");
    for (size_t i = 0; rc == 0 && i < page.count && !page.stopped; i++) {
        struct github_run run;
        if (!read_run(json_array_get(list, i), q, &run)) {
            rc = github_json_senseless(e, "workflow run");
        } else {
            page.stopped = each(arg, &run) != 0;
        }
    }
    json_decref(root);
    *out = rc == 0 ? page : *out;
    return rc;
}

/* Appends "/repos/o/r/actions/runs". */
static int runs_path(struct buf *path, const char *repository, struct github_scope *scope,
                     struct err *e)
{
    scope->is_repository = true;
    if (github_path_scope(path, scope, e) != 0) {
        return err_wrap(e, "workflow runs of %s", repository);
    }
    buf_append_cstr(path, "/actions/runs");
    return 0;
}

static int get_runs(struct github *g, const struct github_scope *scope, enum github_op op,
                    const char *path, struct http_response *out, struct err *e)
{
    const struct github_call call = {
        .op = op, .method = "GET", .path = path, .limit_bytes = RUNS_LIMIT_BYTES};
    return github_call(g, scope, &call, out, e);
}

int github_list_runs(struct github *g, const struct github_runs_query *q, github_run_fn *each,
                     void *arg, bool *more, struct err *e)
{
    struct buf path;
    struct http_response r;
    struct github_page page = {.count = 0};
    struct github_scope scope = github_scope_parse(q->repository, q->installation_id);
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = runs_path(&path, q->repository, &scope, e);
    if (rc == 0) {
        buf_printf(&path, "?status=%s&per_page=%d&page=%d", q->status, GITHUB_PAGE_ITEMS, q->page);
        if (q->created_until[0] != '\0') {
            buf_append_cstr(&path, "&created=");
            codec_percent(&path, SLICE("<="));
            codec_percent(&path, slice_of(q->created_until));
        }
        rc = get_runs(g, &scope, GITHUB_OP_LIST_RUNS, path.data, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return err_wrap(e, "listing workflow runs of %s that are %s", q->repository, q->status);
    }
    rc = github_parse_runs(buf_slice(&r.body), q, each, arg, &page, e);
    *more = !page.stopped && github_more_pages(http_header(&r, "link"), page.count);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

int github_get_run(struct github *g, const char *repository, int64_t installation_id,
                   int64_t run_id, struct github_run *out, struct err *e)
{
    struct buf path;
    struct http_response r;
    const struct github_runs_query q = {.repository = repository,
                                        .installation_id = installation_id};
    struct github_scope scope = github_scope_parse(repository, installation_id);
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = runs_path(&path, repository, &scope, e);
    if (rc == 0) {
        buf_printf(&path, "/%" PRId64, run_id);
        rc = get_runs(g, &scope, GITHUB_OP_GET_RUN, path.data, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return err_wrap(e, "workflow run %" PRId64 " of %s", run_id, repository);
    }
    json_t *root = github_json_load(buf_slice(&r.body));
    rc = read_run(root, &q, out) ? 0 : github_json_senseless(e, "workflow run");
    json_decref(root);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

/* --- the jobs of a run --- */

/* The body of the delivery that GitHub sends of a job in that state; "" for states of which it sends
 * none. */
static void delivery_of(json_t *item, const struct github_run *run, const char *status,
                        struct buf *out)
{
    static const char *const actions[] = {"queued", "waiting", "in_progress", "completed"};
    size_t i = 0;
    while (i < COUNT_OF(actions) && strcmp(status, actions[i]) != 0) {
        i++;
    }
    if (i == COUNT_OF(actions)) {
        return;
    }
    (void)json_object_del(item, "steps");
    json_t *root =
        json_pack("{s:s, s:O, s:{s:s, s:b, s:s}, s:{s:I}}", "action", status, "workflow_job", item,
                  "repository", "full_name", run->repository, "private", run->is_public ? 0 : 1,
                  "visibility", run->is_public ? "public" : "private", "installation", "id",
                  (json_int_t)run->installation_id);
    ASSERT(root != NULL);
    if (run->organization[0] != '\0') {
        (void)json_object_set_new(root, "organization",
                                  json_pack("{s:s}", "login", run->organization));
    }
    char *text = json_dumps(root, JSON_COMPACT);
    ASSERT(text != NULL);
    buf_append_cstr(out, text);
    free(text);
    json_decref(root);
}

static int take_job(json_t *item, const struct github_run *run, github_run_job_fn *each, void *arg,
                    struct err *e)
{
    char status[JOB_STATUS_SIZE];
    struct buf body;
    github_json_copy(item, "status", status, sizeof status);
    if (json_integer_value(json_object_get(item, "id")) <= 0 || status[0] == '\0') {
        return github_json_senseless(e, "workflow job");
    }
    buf_init(&body, JOBS_LIMIT_BYTES);
    delivery_of(item, run, status, &body);
    int rc = 0;
    if (body.failed) {
        rc = err_set(e, ERR_PERMANENT, 0, "a job of run %" PRId64 " is too large", run->id);
    } else if (body.len > 0) {
        each(arg, status, buf_slice(&body));
    }
    buf_fini(&body);
    return rc;
}

int github_parse_run_jobs(struct slice body, const struct github_run *run, github_run_job_fn *each,
                          void *arg, struct github_page *out, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *list = json_object_get(root, "jobs");
    struct github_page page = {.count = json_array_size(list)};
    int rc = json_is_array(list) ? 0 : github_json_senseless(e, "list of workflow jobs");
    for (size_t i = 0; rc == 0 && i < page.count; i++) {
        rc = take_job(json_array_get(list, i), run, each, arg, e);
    }
    json_decref(root);
    *out = rc == 0 ? page : *out;
    return rc;
}

int github_list_run_jobs(struct github *g, const struct github_run *run, int number,
                         github_run_job_fn *each, void *arg, bool *more, struct err *e)
{
    struct buf path;
    struct http_response r;
    struct github_page page = {.count = 0};
    struct github_scope scope = github_scope_parse(run->repository, run->installation_id);
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = runs_path(&path, run->repository, &scope, e);
    if (rc == 0) {
        buf_printf(&path, "/%" PRId64 "/jobs?filter=latest&per_page=%d&page=%d", run->id,
                   GITHUB_PAGE_ITEMS, number);
        const struct github_call call = {.op = GITHUB_OP_LIST_RUN_JOBS,
                                         .method = "GET",
                                         .path = path.data,
                                         .limit_bytes = JOBS_LIMIT_BYTES};
        rc = github_call(g, &scope, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return err_wrap(e, "listing the jobs of workflow run %" PRId64 " of %s", run->id,
                        run->repository);
    }
    rc = github_parse_run_jobs(buf_slice(&r.body), run, each, arg, &page, e);
    *more = github_more_pages(http_header(&r, "link"), page.count);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

/* --- one job --- */

int github_get_job(struct github *g, const char *repository, int64_t installation_id,
                   int64_t job_id, struct github_job *out, struct err *e)
{
    struct buf path;
    struct http_response r;
    struct github_scope s = github_scope_parse(repository, installation_id);
    s.is_repository = true;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_scope(&path, &s, e);
    if (rc == 0) {
        buf_printf(&path, "/actions/jobs/%" PRId64, job_id);
        const struct github_call call = {.op = GITHUB_OP_GET_JOB,
                                         .method = "GET",
                                         .path = path.data,
                                         .limit_bytes = JOB_LIMIT_BYTES};
        rc = github_call(g, &s, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return -1;
    }
    rc = github_parse_job(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

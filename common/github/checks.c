/* Sources: docs.github.com, "REST API endpoints for check runs", "… for workflow runs", "… for
 * workflow jobs". */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "common/github/internal.h"
#include "common/github/json.h"

#define JOBS_LIMIT_BYTES ((size_t)32 * 1024 * 1024) /* a hundred jobs with their steps */
#define CHECK_BODY_BYTES 16384
#define RUN_PAGES_MAX 20 /* a run has fewer jobs */

/* Appends "/repos/o/r". */
static int append_repository(struct buf *path, struct github_scope *scope, struct err *e)
{
    scope->is_repository = true;
    return github_path_scope(path, scope, e);
}

/* --- a check run --- */

static void append_member(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "\"%s\":", key);
    buf_append_json(out, slice_of(value));
}

static void append_check_run(const struct github_check_run *r, struct buf *out)
{
    buf_append_byte(out, '{');
    append_member(out, "name", r->name);
    buf_append_byte(out, ',');
    append_member(out, "head_sha", r->head_sha);
    buf_append_byte(out, ',');
    append_member(out, "external_id", r->external_id);
    buf_append_cstr(out, ",\"status\":\"completed\",\"conclusion\":\"failure\",\"output\":{");
    append_member(out, "title", r->title);
    buf_append_byte(out, ',');
    append_member(out, "summary", r->summary);
    buf_append_cstr(out, "}}");
}

int github_create_check_run(struct github *g, const struct github_check_run *run, struct err *e)
{
    struct buf path;
    struct buf body;
    struct http_response r;
    struct github_scope scope = github_scope_parse(run->repository, run->installation_id);
    buf_init(&path, GITHUB_PATH_BYTES);
    buf_init(&body, CHECK_BODY_BYTES);
    append_check_run(run, &body);
    int rc = body.failed ? err_set(e, ERR_PERMANENT, 0, "its texts are too long")
                         : append_repository(&path, &scope, e);
    if (rc == 0) {
        buf_append_cstr(&path, "/check-runs");
        const struct github_call call = {.op = GITHUB_OP_CREATE_CHECK_RUN,
                                         .method = "POST",
                                         .path = path.data,
                                         .body = buf_slice(&body)};
        rc = github_call(g, &scope, &call, &r, e);
    }
    buf_fini(&path);
    buf_fini(&body);
    if (rc != 0) {
        return err_wrap(e, "creating a check run in %s", run->repository);
    }
    http_response_fini(&r);
    return 0;
}

/* --- cancelling a run --- */

int github_cancel_run(struct github *g, const char *repository, int64_t installation_id,
                      int64_t run_id, struct err *e)
{
    struct buf path;
    struct http_response r;
    struct github_scope scope = github_scope_parse(repository, installation_id);
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = append_repository(&path, &scope, e);
    if (rc == 0) {
        buf_printf(&path, "/actions/runs/%" PRId64 "/cancel", run_id);
        const struct github_call call = {
            .op = GITHUB_OP_CANCEL_RUN, .method = "POST", .path = path.data};
        rc = github_call(g, &scope, &call, &r, e);
    }
    buf_fini(&path);
    if (rc == 0) {
        http_response_fini(&r);
        return 0;
    }
    return e->code == 409
               ? 0 /* it is over */
               : err_wrap(e, "cancelling workflow run %" PRId64 " of %s", run_id, repository);
}

/* --- the jobs of a run --- */

int github_parse_run_states(struct slice body, github_run_state_fn *each, void *arg,
                            struct github_page *out, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *list = json_object_get(root, "jobs");
    struct github_page page = {.count = json_array_size(list)};
    int rc = json_is_array(list) ? 0 : github_json_senseless(e, "list of workflow jobs");
    for (size_t i = 0; rc == 0 && i < page.count; i++) {
        const json_t *item = json_array_get(list, i);
        char status[JOB_STATUS_SIZE];
        int64_t id = (int64_t)json_integer_value(json_object_get(item, "id"));
        github_json_copy(item, "status", status, sizeof status);
        if (id <= 0 || status[0] == '\0') {
            rc = github_json_senseless(e, "workflow job");
        } else {
            each(arg, id, status);
        }
    }
    json_decref(root);
    *out = rc == 0 ? page : *out;
    return rc;
}

static int read_page(struct github *g, const struct github_scope *scope, const char *path,
                     github_run_state_fn *each, void *arg, bool *more, struct err *e)
{
    struct http_response r;
    struct github_page page = {.count = 0};
    const struct github_call call = {.op = GITHUB_OP_LIST_RUN_JOBS,
                                     .method = "GET",
                                     .path = path,
                                     .limit_bytes = JOBS_LIMIT_BYTES};
    if (github_call(g, scope, &call, &r, e) != 0) {
        return -1;
    }
    int rc = github_parse_run_states(buf_slice(&r.body), each, arg, &page, e);
    *more = github_more_pages(http_header(&r, "link"), page.count);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

int github_list_run_states(struct github *g, const char *repository, int64_t installation_id,
                           int64_t run_id, github_run_state_fn *each, void *arg, struct err *e)
{
    struct buf path;
    struct github_scope scope = github_scope_parse(repository, installation_id);
    bool more = true;
    int rc = 0;
    buf_init(&path, GITHUB_PATH_BYTES);
    for (int page = 1; rc == 0 && more; page++) {
        buf_reset(&path);
        rc = page > RUN_PAGES_MAX ? err_set(e, ERR_PERMANENT, 0, "it has too many jobs")
                                  : append_repository(&path, &scope, e);
        if (rc == 0) {
            buf_printf(&path, "/actions/runs/%" PRId64 "/jobs?filter=latest&per_page=%d&page=%d",
                       run_id, GITHUB_PAGE_ITEMS, page);
            rc = read_page(g, &scope, path.data, each, arg, &more, e);
        }
    }
    buf_fini(&path);
    return rc == 0 ? 0
                   : err_wrap(e, "listing the jobs of workflow run %" PRId64 " of %s", run_id,
                              repository);
}

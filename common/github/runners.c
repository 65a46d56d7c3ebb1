#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/github/budget.h"
#include "common/github/internal.h"
#include "common/github/scale_sets/scale_sets.h"

#define RUNNER_NAME_MAX 64
#define LABELS_MAX 100
#define REPOSITORY_GROUP 1 /* runners of a repository cannot choose a group */
#define JIT_LIMIT_BYTES ((size_t)256 * 1024)
#define BODY_LIMIT_BYTES ((size_t)64 * 1024)

void github_jit_fini(struct github_jit *j)
{
    if (j->config != NULL) {
        explicit_bzero(j->config, strlen(j->config));
        free(j->config);
    }
    *j = (struct github_jit){.config = NULL};
}

/* --- one runner ------------------------------------------------------------------------------- */

/* Appends "/orgs/o/actions/runners" or the repository's. */
static int runners_path(struct buf *path, const struct github_scope *s, struct err *e)
{
    if (github_path_scope(path, s, e) != 0) {
        return -1;
    }
    buf_append_cstr(path, "/actions/runners");
    return 0;
}

/* r: initialised on success. */
static int call_runner(struct github *g, const struct github_scope *s, enum github_op op,
                       const char *method, int64_t id, struct http_response *r, struct err *e)
{
    struct buf path;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = runners_path(&path, s, e);
    if (rc == 0) {
        buf_printf(&path, "/%" PRId64, id);
        const struct github_call call = {.op = op, .method = method, .path = path.data};
        rc = github_call(g, s, &call, r, e);
    }
    buf_fini(&path);
    return rc;
}

int github_get_runner(struct github *g, const struct github_scope *s, int64_t id,
                      struct github_runner *out, struct err *e)
{
    struct http_response r;
    if (call_runner(g, s, GITHUB_OP_GET_RUNNER, "GET", id, &r, e) != 0) {
        return -1;
    }
    int rc = github_parse_runner(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

int github_delete_runner(struct github *g, const struct github_scope *s, int64_t id, struct err *e)
{
    struct http_response r;
    if (call_runner(g, s, GITHUB_OP_DELETE_RUNNER, "DELETE", id, &r, e) == 0) {
        http_response_fini(&r);
        return 0;
    }
    if (e->code == 422) {
        e->class = ERR_CONFLICT;
        (void)err_wrap(e, "runner %" PRId64 " runs a job, or GitHub still reports that", id);
    }
    return -1;
}

/* --- listing page by page --------------------------------------------------------------------- */

/* So many runners more may a list of several pages count than name: these, or a share. */
#define MOVED_MIN 5
#define MOVED_SHARE 10

struct walk {
    enum github_op op;
    const char *base; /* the path, ending in "?" or "&" */
    github_runner_fn *each;
    void *arg;
    enum github_purpose purpose;
};

static int walk_page(struct github *g, const struct github_scope *s, const struct walk *w,
                     int number, struct github_page *page, bool *more, struct err *e)
{
    char path[GITHUB_PATH_BYTES];
    struct http_response r;
    (void)snprintf(path, sizeof path, "%sper_page=%d&page=%d", w->base, GITHUB_PAGE_ITEMS, number);
    const struct github_call call = {.op = w->op, .method = "GET", .path = path};
    *page = (struct github_page){.count = 0};
    if (github_call(g, s, &call, &r, e) != 0) {
        return -1;
    }
    int rc = github_parse_runners(buf_slice(&r.body), w->each, w->arg, page, e);
    *more = !page->stopped && github_more_pages(http_header(&r, "link"), page->count);
    http_response_fini(&r);
    return rc;
}

/* A runner that the whole list does not name is gone, so a list that names fewer than it counts is
 * none. Between two pages runners come and go. */
static int check_whole(const struct github_scope *s, int64_t named, int64_t total, bool one_page,
                       struct err *e)
{
    int64_t share = total / MOVED_SHARE;
    int64_t moved = share > MOVED_MIN ? share : MOVED_MIN;
    if (total - named <= (one_page ? 0 : moved)) {
        return 0;
    }
    return err_set(e, ERR_RETRY, 0,
                   "GitHub's list of the runners of %s names %" PRId64 " and counts %" PRId64
                   ": try again",
                   s->name, named, total);
}

/* Half a list is no use, so its pages are taken from the budget together. */
static int take_pages(struct github *g, const struct github_scope *s, const struct walk *w,
                      int64_t total, struct err *e)
{
    int64_t pages = (total - 1) / GITHUB_PAGE_ITEMS;
    return github_budget_take(g, s, w->purpose, pages > 0 ? pages : 1, e);
}

static int walk_runners(struct github *g, const struct github_scope *s, const struct walk *w,
                        struct err *e)
{
    struct github_page page = {.count = 0};
    int64_t named = 0;
    bool more = true;
    int number;
    for (number = 1; more; number++) {
        if (number > GITHUB_PAGES_MAX) {
            return err_set(e, ERR_PERMANENT, 0,
                           "%s has more than %d pages of runners: remove those that are offline",
                           s->name, GITHUB_PAGES_MAX);
        }
        if (walk_page(g, s, w, number, &page, &more, e) != 0) {
            return -1;
        }
        named += (int64_t)page.count;
        if (number == 1 && more && take_pages(g, s, w, page.total, e) != 0) {
            return -1;
        }
    }
    bool whole = w->op == GITHUB_OP_LIST_RUNNERS && !page.stopped;
    return whole ? check_whole(s, named, page.total, number == 2, e) : 0;
}

int github_list_runners(struct github *g, const struct github_scope *s, enum github_purpose purpose,
                        github_runner_fn *each, void *arg, struct err *e)
{
    struct buf base;
    buf_init(&base, GITHUB_PATH_BYTES - 64);
    int rc = runners_path(&base, s, e);
    if (rc == 0) {
        buf_append_byte(&base, '?');
        struct walk w = {GITHUB_OP_LIST_RUNNERS, base.data, each, arg, purpose};
        rc = walk_runners(g, s, &w, e);
    }
    buf_fini(&base);
    return rc;
}

struct search {
    const char *name;
    struct github_runner found;
};

static int take_if_exact(void *arg, const struct github_runner *r)
{
    struct search *search = arg;
    if (strcmp(r->name, search->name) != 0) {
        return 0;
    }
    search->found = *r;
    return 1;
}

int github_find_runner(struct github *g, const struct github_scope *s, const char *name,
                       struct github_runner *out, struct err *e)
{
    struct buf base;
    struct search search = {.name = name};
    buf_init(&base, GITHUB_PATH_BYTES - 64);
    int rc = runners_path(&base, s, e);
    if (rc == 0) {
        buf_append_cstr(&base, "?name=");
        codec_percent(&base, slice_of(name));
        buf_append_byte(&base, '&');
        struct walk w = {GITHUB_OP_FIND_RUNNER, base.data, take_if_exact, &search, GITHUB_LAUNCH};
        rc = base.failed ? err_set(e, ERR_PERMANENT, 0, "the runner's name is too long")
                         : walk_runners(g, s, &w, e);
    }
    buf_fini(&base);
    if (rc == 0 && search.found.id == 0) {
        rc = err_set(e, ERR_NOT_FOUND, 404, "%s has no runner named %s", s->name, name);
    }
    if (rc == 0) {
        *out = search.found;
    }
    return rc;
}

/* --- registering ------------------------------------------------------------------------------ */

static int check_register(const struct github_register *r, struct err *e)
{
    size_t length = strlen(r->name);
    if (length == 0 || length > RUNNER_NAME_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "a runner's name has 1 to %d characters, not %zu",
                       RUNNER_NAME_MAX, length);
    }
    if (r->labels->count == 0 || r->labels->count > LABELS_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "runner %s: GitHub requires 1 to %d labels, not %zu",
                       r->name, LABELS_MAX, r->labels->count);
    }
    return 0;
}

static void register_body(const struct github_register *r, int64_t group, struct buf *body)
{
    buf_append_cstr(body, "{\"name\":");
    buf_append_json(body, slice_of(r->name));
    buf_printf(body, ",\"runner_group_id\":%" PRId64 ",\"work_folder\":\"_work\",\"labels\":[",
               group);
    for (size_t i = 0; i < r->labels->count; i++) {
        buf_append_cstr(body, i > 0 ? "," : "");
        buf_append_json(body, slice_of(r->labels->items[i]));
    }
    buf_append_cstr(body, "]}");
}

/* GitHub's answer when the group has as many runners as it may have. */
static bool is_group_full(const struct err *e)
{
    return e->code == 422 && strstr(e->message, "max limit of") != NULL;
}

static int register_in_group(struct github *g, const struct github_register *r, int64_t group,
                             struct github_jit *out, struct err *e)
{
    struct buf path;
    struct buf body;
    struct http_response answer;
    buf_init(&path, GITHUB_PATH_BYTES);
    buf_init(&body, BODY_LIMIT_BYTES);
    int rc = runners_path(&path, r->scope, e);
    if (rc == 0) {
        buf_append_cstr(&path, "/generate-jitconfig");
        register_body(r, group, &body);
        const struct github_call call = {.op = GITHUB_OP_REGISTER_RUNNER,
                                         .method = "POST",
                                         .path = path.data,
                                         .body = buf_slice(&body),
                                         .limit_bytes = JIT_LIMIT_BYTES};
        rc = body.failed ? err_set(e, ERR_PERMANENT, 0, "the labels are too long")
                         : github_call(g, r->scope, &call, &answer, e);
    }
    buf_fini(&path);
    buf_fini(&body);
    if (rc != 0) {
        e->class = is_group_full(e) ? ERR_CAPACITY : e->class;
        return -1;
    }
    rc = github_parse_jit(buf_slice(&answer.body), out, e);
    http_response_fini(&answer);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

/* Finds the group and registers. A group that was deleted and created again has another id: a 404
 * with a cached id is retried once with a new lookup. */
static int register_once(struct github *g, const struct github_register *r, struct github_jit *out,
                         struct err *e)
{
    const char *name = r->group != NULL && r->group[0] != '\0' ? r->group : "Default";
    int rc = -1;
    bool again = false;
    int tries = 0;
    if (r->scope->is_repository) {
        return register_in_group(g, r, REPOSITORY_GROUP, out, e);
    }
    do {
        int64_t group = 0;
        bool cached = false;
        if (github_group_id(g, r->scope, name, &group, &cached, e) != 0) {
            return -1;
        }
        rc = register_in_group(g, r, group, out, e);
        bool unknown = rc != 0 && e->class == ERR_NOT_FOUND;
        if (unknown) {
            github_group_forget(g, r->scope, name, group);
        }
        tries++;
        again = unknown && cached && tries < 2;
    } while (again);
    return rc;
}

/* A runner of that name exists from an earlier attempt whose response was lost. */
static int remove_leftover(struct github *g, const struct github_register *r, struct err *e)
{
    struct github_runner left;
    if (github_find_runner(g, r->scope, r->name, &left, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    int rc = github_delete_runner(g, r->scope, left.id, e);
    return rc != 0 && e->class == ERR_NOT_FOUND ? 0 : rc;
}

int github_register_runner(struct github *g, const struct github_register *r,
                           struct github_jit *out, struct err *e)
{
    if (check_register(r, e) != 0) {
        return err_said_by(e, ERR_FROM_GITHUB); /* as GitHub would: it is not about a job */
    }
    if (scope_set(r->scope->group) != NULL) {
        const struct github_scale_set set = {
            .scope = *r->scope, .name = scope_set(r->scope->group), .group = r->group};
        return github_set_register_runner(g, &set, r->name, out, e);
    }
    if (register_once(g, r, out, e) == 0) {
        return 0;
    }
    if (e->class != ERR_CONFLICT) {
        return err_wrap(e, "registering runner %s", r->name);
    }
    if (remove_leftover(g, r, e) != 0) {
        return err_wrap(e, "removing the runner %s that is registered already", r->name);
    }
    return register_once(g, r, out, e) == 0 ? 0 : err_wrap(e, "registering runner %s", r->name);
}

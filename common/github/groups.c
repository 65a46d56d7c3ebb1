#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/internal.h"

#define GROUP_FRESH_MS (INT64_C(10) * 60 * 1000)
#define GROUP_VALID_MS (INT64_C(30) * 60 * 1000)

struct wanted {
    struct github *g;
    const struct github_scope *scope;
    const char *name;
    const char
        *visible_to; /* only groups that this repository of the organization may use; NULL: all */
};

/* out->id 0: there is none. */
static int find_group(const struct wanted *w, const char *base, struct github_group *out,
                      struct err *e)
{
    char path[GITHUB_PATH_BYTES];
    bool more = true;
    out->id = 0;
    for (int page = 1; more && out->id == 0 && page <= GITHUB_PAGES_MAX; page++) {
        struct http_response r;
        size_t count = 0;
        (void)snprintf(path, sizeof path, "%s/actions/runner-groups?per_page=%d&page=%d%s%s", base,
                       GITHUB_PAGE_ITEMS, page,
                       w->visible_to != NULL ? "&visible_to_repository=" : "",
                       w->visible_to != NULL ? w->visible_to : "");
        const struct github_call call = {
            .op = GITHUB_OP_LIST_GROUPS, .method = "GET", .path = path};
        if (github_call(w->g, w->scope, &call, &r, e) != 0) {
            return -1;
        }
        int rc = github_parse_groups(buf_slice(&r.body), w->name, out, &count, e);
        more = github_more_pages(http_header(&r, "link"), count);
        http_response_fini(&r);
        if (rc != 0) {
            return err_said_by(e, ERR_FROM_GITHUB);
        }
    }
    return 0;
}

static int look_for_group(const struct wanted *w, struct github_group *out, struct err *e)
{
    struct buf base;
    buf_init(&base, GITHUB_PATH_BYTES / 2);
    int rc = github_path_scope(&base, w->scope, e);
    if (rc == 0) {
        rc = find_group(w, base.data, out, e);
    }
    buf_fini(&base);
    return rc;
}

static int fetch_group(const struct wanted *w, struct github_group *out, struct err *e)
{
    int rc = look_for_group(w, out, e);
    if (rc == 0 && out->id == 0) {
        (void)err_set(e, ERR_PERMANENT, 0,
                      "%s %s has no runner group \"%s\": create it there (Settings, "
                      "Actions, Runner groups), or name another in runner_group",
                      w->scope->is_enterprise ? "enterprise" : "organisation", w->scope->name,
                      w->name);
        return err_said_by(e, ERR_FROM_GITHUB);
    }
    return rc;
}

int github_get_group(struct github *g, const struct github_scope *s, const char *name,
                     struct github_group *out, struct err *e)
{
    const struct wanted w = {g, s, name, NULL};
    struct github_group found = {.id = 0};
    if (fetch_group(&w, &found, e) != 0) {
        return -1;
    }
    *out = found;
    return 0;
}

static int fetch_group_id(void *arg, struct github_fetched *out, struct err *e)
{
    struct github_group found = {.id = 0};
    int rc = fetch_group(arg, &found, e);
    if (rc == 0) {
        buf_printf(&out->value, "%" PRId64, found.id);
        out->fresh_ms = clock_wall_ms() + GROUP_FRESH_MS;
        out->valid_ms = clock_wall_ms() + GROUP_VALID_MS;
    }
    return rc;
}

static void key_of(const struct github_scope *s, const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/%.*s", s->name, (int)(size - sizeof s->name - 2), name);
}

int github_group_id(struct github *g, const struct github_scope *s, const char *name, int64_t *id,
                    bool *cached, struct err *e)
{
    char key[CACHE_KEY_BYTES];
    struct buf text;
    struct wanted w = {g, s, name, NULL};
    key_of(s, name, key, sizeof key);
    buf_init(&text, 32);
    int rc = github_cache_get(g->groups, key, fetch_group_id, &w, &text, cached, e);
    if (rc == 0 && !slice_to_int64(buf_slice(&text), id)) {
        rc = err_set(e, ERR_RETRY, 0, "runner group \"%s\": the id is not a number", name);
    }
    buf_fini(&text);
    return rc;
}

void github_group_forget(struct github *g, const struct github_scope *s, const char *name,
                         int64_t id)
{
    char key[CACHE_KEY_BYTES];
    char value[24];
    key_of(s, name, key, sizeof key);
    (void)snprintf(value, sizeof value, "%" PRId64, id);
    github_cache_drop(g->groups, key, slice_of(value));
}

static int fetch_admission(void *arg, struct github_fetched *out, struct err *e)
{
    struct github_group found = {.id = 0};
    int rc = look_for_group(arg, &found, e);
    if (rc == 0) {
        buf_append_cstr(&out->value, found.id != 0 ? "yes" : "no");
        out->fresh_ms = clock_wall_ms() + GROUP_FRESH_MS;
        out->valid_ms = clock_wall_ms() + GROUP_VALID_MS;
    }
    return rc;
}

int github_group_admits(struct github *g, const struct github_scope *s, const char *group,
                        const char *repository, bool *admits, struct err *e)
{
    char key[CACHE_KEY_BYTES];
    struct buf text;
    if (s->is_enterprise) { /* its groups are open to organizations, and GitHub lists no repository's */
        *admits = true;
        return 0;
    }
    const char *slash = strchr(repository, '/');
    struct wanted w = {g, s, group, slash != NULL ? slash + 1 : repository};
    size_t len = strspn(w.visible_to, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789._-");
    if (len == 0 || w.visible_to[len] != '\0') {
        return err_set(e, ERR_PERMANENT, 0, "%s is no repository's name", repository);
    }
    if ((size_t)snprintf(key, sizeof key, "%s/%s>%s", s->name, group, w.visible_to) >= sizeof key) {
        return err_set(e, ERR_PERMANENT, 0, "the names of %s and its group are too long",
                       repository);
    }
    buf_init(&text, 8);
    int rc = github_cache_get(g->groups, key, fetch_admission, &w, &text, NULL, e);
    *admits = rc == 0 && slice_eq_cstr(buf_slice(&text), "yes");
    buf_fini(&text);
    return rc;
}

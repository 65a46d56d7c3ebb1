/* Source: docs.github.com, "REST API endpoints for GitHub Apps" and "… for GitHub App
 * installations". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/github/budget.h"
#include "common/github/internal.h"
#include "common/github/json.h"

/* An item that cannot be read is an error: without it the list would be a shorter one. */
static int read_installation(const json_t *item, struct github_installation *out, struct err *e)
{
    const json_t *account = json_object_get(item, "account");
    const char *type = json_string_value(json_object_get(account, "type"));
    const json_t *suspended = json_object_get(item, "suspended_at");
    *out = (struct github_installation){
        .id = (int64_t)json_integer_value(json_object_get(item, "id")),
        .is_organization = type != NULL && strcmp(type, "Organization") == 0,
        .suspended = suspended != NULL && !json_is_null(suspended)};
    github_json_copy(account, "login", out->owner, sizeof out->owner);
    github_json_levels(json_object_get(item, "permissions"), &out->levels);
    out->workflow_job = github_json_contains(json_object_get(item, "events"), GITHUB_APP_EVENT);
    return out->id > 0 && out->owner[0] != '\0' ? 0 : github_json_senseless(e, "installation");
}

int github_parse_installations(struct slice body, github_installation_fn *each, void *arg,
                               struct github_page *out, struct err *e)
{
    json_t *root = github_json_load(body);
    struct github_page page = {.count = json_array_size(root)};
    int rc = json_is_array(root) ? 0 : github_json_senseless(e, "list of installations");
    for (size_t i = 0; rc == 0 && i < page.count && !page.stopped; i++) {
        struct github_installation one;
        rc = read_installation(json_array_get(root, i), &one, e);
        page.stopped = rc == 0 && each(arg, &one) != 0;
    }
    json_decref(root);
    *out = rc == 0 ? page : *out;
    return rc;
}

int github_parse_repositories(struct slice body, github_repository_fn *each, void *arg,
                              struct github_page *out, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *list = json_object_get(root, "repositories");
    struct github_page page = {.count = json_array_size(list),
                               .total = json_integer_value(json_object_get(root, "total_count"))};
    int rc = json_is_array(list) ? 0 : github_json_senseless(e, "list of repositories");
    for (size_t i = 0; rc == 0 && i < page.count && !page.stopped; i++) {
        char name[REPOSITORY_SIZE];
        github_json_copy(json_array_get(list, i), "full_name", name, sizeof name);
        rc = name[0] != '\0' ? 0 : github_json_senseless(e, "repository");
        page.stopped = rc == 0 && each(arg, name) != 0;
    }
    json_decref(root);
    *out = rc == 0 ? page : *out;
    return rc;
}

int github_list_app_installations(struct github *g, size_t app, github_installation_fn *each,
                                  void *arg, struct err *e)
{
    bool more = true;
    for (int number = 1; more; number++) {
        char path[128];
        struct http_response r;
        struct github_page page = {.count = 0};
        (void)snprintf(path, sizeof path, "/app/installations?per_page=%d&page=%d",
                       GITHUB_PAGE_ITEMS, number);
        const struct github_call call = {
            .op = GITHUB_OP_LIST_INSTALLATIONS, .method = "GET", .path = path};
        if (number > GITHUB_PAGES_MAX) {
            return err_set(e, ERR_PERMANENT, 0, "the App has too many installations");
        }
        if (github_call_app(g, &g->identities[app], &call, &r, e) != 0) {
            return err_wrap(e, "listing the App's installations");
        }
        int rc = github_parse_installations(buf_slice(&r.body), each, arg, &page, e);
        more = !page.stopped && github_more_pages(http_header(&r, "link"), page.count);
        http_response_fini(&r);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* The walk through the Apps. */
struct all_apps {
    struct github *g;
    size_t app;
    github_installation_fn *each;
    void *arg;
    struct config_list owners; /* listed already */
    /* Another App of the owner may not be suspended. */
    struct github_installation *suspended;
    size_t suspended_count;
    bool stopped;
};

static bool is_listed(const struct all_apps *all, const char *owner)
{
    for (size_t i = 0; i < all->owners.count; i++) {
        if (strcasecmp(all->owners.items[i], owner) == 0) {
            return true;
        }
    }
    return false;
}

static int list_once(struct all_apps *all, const struct github_installation *i)
{
    if (!all->stopped && !is_listed(all, i->owner)) {
        config_list_add(&all->owners, slice_of(i->owner));
        all->stopped = all->each(all->arg, i) != 0;
    }
    return all->stopped ? 1 : 0;
}

static int list_if_served(void *arg, const struct github_installation *i)
{
    struct all_apps *all = arg;
    if (!github_app_serves(all->g, all->app, i->owner)) {
        return 0;
    }
    if (i->suspended) {
        all->suspended = reallocarray(all->suspended, all->suspended_count + 1, sizeof *i);
        ASSERT(all->suspended != NULL);
        all->suspended[all->suspended_count++] = *i;
        return 0;
    }
    github_note_owner(all->g, &all->g->identities[all->app], i);
    return list_once(all, i);
}

int github_list_installations(struct github *g, github_installation_fn *each, void *arg,
                              struct err *e)
{
    struct all_apps all = {.g = g, .each = each, .arg = arg};
    struct err why;
    int rc = 0;
    if (g->app_count < 2) {
        return github_list_app_installations(g, 0, each, arg, e);
    }
    for (; all.app < g->app_count && !all.stopped; all.app++) {
        if (github_list_app_installations(g, all.app, list_if_served, &all, &why) != 0) {
            *e = rc == 0 ? why : *e;
            rc = -1;
        }
    }
    for (size_t i = 0; i < all.suspended_count; i++) {
        (void)list_once(&all, &all.suspended[i]);
    }
    config_list_fini(&all.owners);
    free(all.suspended);
    return rc;
}

int github_list_repositories_page(struct github *g, int64_t installation_id, int number,
                                  github_repository_fn *each, void *arg,
                                  struct github_repositories *out, struct err *e)
{
    const struct github_scope of = {.installation_id = installation_id};
    char path[128];
    struct http_response r;
    struct github_page page = {.count = 0};
    (void)snprintf(path, sizeof path, "/installation/repositories?per_page=%d&page=%d",
                   GITHUB_PAGE_ITEMS, number);
    const struct github_call call = {
        .op = GITHUB_OP_LIST_REPOSITORIES, .method = "GET", .path = path};
    if (number > GITHUB_PAGES_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "the installation has too many repositories");
    }
    if (github_call(g, &of, &call, &r, e) != 0) {
        return err_wrap(e, "listing the repositories of an installation");
    }
    int rc = github_parse_repositories(buf_slice(&r.body), each, arg, &page, e);
    out->total = page.total;
    out->more = !page.stopped && github_more_pages(http_header(&r, "link"), page.count);
    http_response_fini(&r);
    return rc;
}

int github_list_repositories(struct github *g, int64_t installation_id, github_repository_fn *each,
                             void *arg, struct err *e)
{
    const struct github_scope of = {.installation_id = installation_id};
    struct github_repositories page = {.more = true};
    for (int number = 1; page.more; number++) {
        if (number > 1 && github_budget_take(g, &of, GITHUB_RECONCILE, 1, e) != 0) {
            return -1;
        }
        if (github_list_repositories_page(g, installation_id, number, each, arg, &page, e) != 0) {
            return -1;
        }
    }
    return 0;
}

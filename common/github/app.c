/* Source: docs.github.com, "REST API endpoints for GitHub Apps" and "… for GitHub App webhooks"; of a
 * runner's deprecation, "REST API endpoints for self-hosted runners" of Enterprise Cloud. */
#include <string.h>

#include "common/base/clock.h"
#include "common/github/internal.h"
#include "common/github/json.h"

#define HOOK_BODY_BYTES 4096

int github_parse_app(struct slice body, struct github_app *out, struct err *e)
{
    struct github_app app = {.slug = ""};
    json_t *root = github_json_load(body);
    const json_t *permissions = json_object_get(root, "permissions");
    bool ok = json_is_object(permissions) && json_is_array(json_object_get(root, "events"));
    github_json_copy(root, "slug", app.slug, sizeof app.slug);
    github_json_levels(permissions, &app.levels);
    app.workflow_job = github_json_contains(json_object_get(root, "events"), GITHUB_APP_EVENT);
    app.installations = (int64_t)json_integer_value(json_object_get(root, "installations_count"));
    json_decref(root);
    if (!ok) {
        return github_json_senseless(e, "App");
    }
    *out = app;
    return 0;
}

/* GitHub sends insecure_ssl as 0 or 1, as a text or a number. */
static bool is_one(const json_t *value)
{
    const char *text = json_string_value(value);
    return json_integer_value(value) == 1 || (text != NULL && strcmp(text, "1") == 0);
}

int github_parse_hook_config(struct slice body, struct github_hook_config *out, struct err *e)
{
    struct github_hook_config hook = {.url = ""};
    json_t *root = github_json_load(body);
    bool ok = json_is_object(root);
    github_json_copy(root, "url", hook.url, sizeof hook.url);
    github_json_copy(root, "content_type", hook.content_type, sizeof hook.content_type);
    hook.has_secret = json_string_length(json_object_get(root, "secret")) > 0;
    hook.insecure = is_one(json_object_get(root, "insecure_ssl"));
    json_decref(root);
    if (!ok) {
        return github_json_senseless(e, "webhook's configuration");
    }
    *out = hook;
    return 0;
}

size_t github_apps(const struct github *g)
{
    return g->app_count;
}

int github_get_app(struct github *g, size_t app, struct github_app *out, struct err *e)
{
    struct http_response r;
    const struct github_call call = {.op = GITHUB_OP_GET_APP, .method = "GET", .path = "/app"};
    if (github_call_app(g, &g->identities[app], &call, &r, e) != 0) {
        return err_wrap(e, "reading the App");
    }
    int rc = github_parse_app(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

int github_get_hook_config(struct github *g, const struct github_hook *h,
                           struct github_hook_config *out, struct err *e)
{
    struct buf path;
    struct http_response r;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_hook(&path, h, e);
    if (rc == 0) {
        buf_append_cstr(&path, "/config");
        const struct github_call call = {
            .op = GITHUB_OP_GET_HOOK, .method = "GET", .path = path.data};
        rc = github_call_hook(g, h, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return err_wrap(e, "reading the webhook's configuration");
    }
    rc = github_parse_hook_config(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

int github_set_hook_url(struct github *g, const char *url, struct err *e)
{
    struct http_response r;
    struct buf body;
    buf_init(&body, HOOK_BODY_BYTES);
    buf_append_cstr(&body, "{\"content_type\":\"json\",\"url\":");
    buf_append_json(&body, slice_of(url));
    buf_append_byte(&body, '}');
    const struct github_call call = {.op = GITHUB_OP_SET_HOOK,
                                     .method = "PATCH",
                                     .path = "/app/hook/config",
                                     .body = buf_slice(&body)};
    int rc = body.failed ? err_set(e, ERR_PERMANENT, 0, "the URL is too long")
                         : github_call_app(g, &g->identities[0], &call, &r, e);
    buf_fini(&body);
    if (rc != 0) {
        return err_wrap(e, "changing the webhook's URL");
    }
    http_response_fini(&r);
    return 0;
}

static int64_t time_member(const json_t *object, const char *key)
{
    char text[40];
    github_json_copy(object, key, text, sizeof text);
    int64_t at_ms = text[0] != '\0' ? clock_parse_utc(text) : 0;
    return at_ms > 0 ? at_ms : 0;
}

int github_parse_deprecation(struct slice body, struct github_deprecation *out, struct err *e)
{
    json_t *root = github_json_load(body);
    bool ok = github_json_text(root, "runner_version").len > 0;
    const struct github_deprecation d = {.registration_ms =
                                             time_member(root, "registration_deprecates_at"),
                                         .runtime_ms = time_member(root, "runtime_deprecates_at")};
    json_decref(root);
    if (!ok) {
        return github_json_senseless(e, "runner's deprecation");
    }
    *out = d;
    return 0;
}

int github_get_deprecation(struct github *g, const struct github_scope *s, const char *version,
                           struct github_deprecation *out, struct err *e)
{
    struct buf path;
    struct http_response r;
    if (version[strspn(version, "0123456789.")] != '\0') {
        return err_set(e, ERR_PERMANENT, 0, "\"%s\" is no version of a runner", version);
    }
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_scope(&path, s, e);
    if (rc == 0) {
        buf_printf(&path, "/actions/runners/deprecations/%s", version);
        const struct github_call call = {
            .op = GITHUB_OP_GET_DEPRECATION, .method = "GET", .path = path.data};
        rc = github_call(g, s, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return -1;
    }
    rc = github_parse_deprecation(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

/* /rate_limit is not counted against the limit. */
static int ping_with_token(struct github *g, struct github_identity *i, struct err *e)
{
    struct http_response r;
    struct github_pass pass;
    const struct github_scope nobody = {.name = ""};
    const struct github_call call = {.op = GITHUB_OP_PING, .method = "GET", .path = "/rate_limit"};
    if (github_pass_get(g, i, &nobody, &pass, e) != 0) {
        return -1;
    }
    int rc = github_call_with(g, &pass, &call, &r, e);
    github_pass_fini(&pass);
    if (rc == 0) {
        json_t *limits = github_json_load(buf_slice(&r.body));
        rc = json_is_object(limits) ? 0 : github_json_senseless(e, "list of rate limits");
        json_decref(limits);
        http_response_fini(&r);
    }
    return rc;
}

int github_ping(struct github *g, struct err *e)
{
    struct github_app app;
    struct err first = {0};
    for (size_t k = 0; k < g->identity_count; k++) {
        struct github_identity *i = &g->identities[k];
        if ((github_is_app(i) ? github_get_app(g, k, &app, e) : ping_with_token(g, i, e)) == 0) {
            return 0;
        }
        first = k == 0 ? *e : first;
    }
    *e = first;
    return -1;
}

/* Source: docs.github.com, "Registering a GitHub App from a manifest". */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/config/forms.h"
#include "common/github/app_needs.h"
#include "deploy/ctl/app/app.h"

#define API_URL "https://api.github.com"
#define API_PATH "/api/v3" /* of an Enterprise Server */
/* Names below .invalid never exist (RFC 2606): deliveries fail at once, and go to nobody. */
#define URL_TO_NOWHERE "https://mayfly.invalid/webhook"

static int usage(struct ctl *c, struct err *e, const char *what, const char *why)
{
    c->exit_code = CTL_EXIT_USAGE;
    return err_set(e, ERR_PERMANENT, 0, "%s %s", what, why);
}

static bool has_only(const char *text, const char *others)
{
    size_t i = 0;
    while (isalnum((unsigned char)text[i]) || (text[i] != '\0' && strchr(others, text[i]))) {
        i++;
    }
    return text[i] == '\0' && i > 0;
}

/* --- GitHub's places --- */

bool app_web_of(const char *api, char *out, size_t size)
{
    struct slice s = slice_of(api);
    struct slice scheme;
    struct slice rest;
    (void)slice_cut(s, '/', &scheme, &rest);
    if (rest.len == 0) {
        return false;
    }
    struct slice host = {rest.ptr + 1, rest.len - 1};
    size_t path = strlen(API_PATH);
    if (host.len > path && memcmp(host.ptr + host.len - path, API_PATH, path) == 0) {
        host.len -= path;
    } else if (slice_starts_with(host, SLICE("api."))) {
        host = (struct slice){host.ptr + 4, host.len - 4};
    }
    int n = snprintf(out, size, "%.*s//%.*s", SLICE_ARG(scheme), SLICE_ARG(host));
    return n > 0 && (size_t)n < size;
}

static int read_api(struct ctl *c, struct app_plan *p, struct err *e)
{
    const char *given = ctl_option(c, "--api-url");
    struct slice api = slice_of(given != NULL ? given : API_URL);
    while (api.len > 0 && api.ptr[api.len - 1] == '/') {
        api.len--;
    }
    const char *trouble = form_api_url.trouble(api);
    if (trouble != NULL) {
        return usage(c, e, "--api-url", trouble);
    }
    if (!has_only(api.ptr, ":/.-_[]") || !slice_to_cstr(api, p->api, sizeof p->api) ||
        !app_web_of(p->api, p->web, sizeof p->web)) {
        return usage(c, e, "--api-url", "must be a URL without user, query and blanks");
    }
    return 0;
}

/* --- the options --- */

int app_check_webhook_url(struct ctl *c, const char *url, struct err *e)
{
    struct slice s = slice_of(url);
    bool good = form_http_url.fits(s) && s.len < APP_URL_SIZE;
    for (size_t i = 0; i < s.len; i++) {
        good =
            good && s.ptr[i] > ' ' && s.ptr[i] < 0x7f && strchr("\"<>\\^`{|}@#", s.ptr[i]) == NULL;
    }
    return good ? 0
                : usage(c, e, "the webhook's URL",
                        "must be one that GitHub reaches, with ingress.path, such as "
                        "https://mayfly.example.com/webhook");
}

/* Of GitHub's logins; those of managed users have an underscore. */
static int read_organization(struct ctl *c, struct app_plan *p, struct err *e)
{
    const char *given = ctl_option(c, "--organization");
    p->organization = given != NULL ? given : "";
    if (given != NULL && (!has_only(given, "-_") || strlen(given) > 39)) {
        return usage(c, e, "--organization", "must be an organization's login");
    }
    return 0;
}

/* An App's name is unique on all of GitHub; its page lets a person change it. */
static int read_name(struct ctl *c, struct app_plan *p, struct err *e)
{
    const char *given = ctl_option(c, "--name");
    if (given == NULL) {
        (void)snprintf(p->name, sizeof p->name, "mayfly-%.27s",
                       p->organization[0] != '\0' ? p->organization : "runners");
        return 0;
    }
    if (!has_only(given, " -_.") || !slice_to_cstr(slice_of(given), p->name, sizeof p->name)) {
        return usage(c, e, "--name",
                     "must have 1 to 34 letters, digits, blanks, or characters of - _ .");
    }
    return 0;
}

/* The webhook is active in either case: GitHub logs no deliveries of an inactive one. */
static int read_webhook_url(struct ctl *c, struct app_plan *p, struct err *e)
{
    const char *url = ctl_option(c, "--webhook-url");
    p->pull = ctl_option(c, "--pull") != NULL;
    if (url == NULL && !p->pull) {
        return usage(
            c, e, "--webhook-url",
            "is missing: give the ingress's public URL, such as "
            "https://mayfly.example.com/webhook; `mayflyctl app hook` changes it later; or, "
            "where GitHub can reach none, --pull");
    }
    p->webhook_url = url != NULL ? url : URL_TO_NOWHERE;
    return app_check_webhook_url(c, p->webhook_url, e);
}

int app_plan_read(struct ctl *c, struct app_plan *out, struct err *e)
{
    const char *scope = ctl_option(c, "--scope");
    struct app_plan p = {.repositories = scope != NULL && strcmp(scope, "repository") == 0,
                         .give_up = ctl_option(c, "--give-up") != NULL};
    if (scope != NULL && !p.repositories && strcmp(scope, "organization") != 0) {
        return usage(c, e, "--scope", "must be organization or repository, as github.scope");
    }
    if (read_webhook_url(c, &p, e) != 0 || read_api(c, &p, e) != 0 ||
        read_organization(c, &p, e) != 0 || read_name(c, &p, e) != 0) {
        return -1;
    }
    if (p.organization[0] == '\0' && !p.repositories) {
        return usage(c, e, "--organization",
                     "is missing: runners register with an organization; for repositories of your "
                     "own account give --scope repository");
    }
    *out = p;
    return 0;
}

/* --- the manifest --- */

static void append_permissions(const struct app_plan *plan, struct buf *out)
{
    const char *comma = "";
    for (size_t i = 0; i < GITHUB_APP_NEEDS; i++) {
        const struct github_app_need *need = &github_app_needs[i];
        if (github_app_needs_it(need, !plan->repositories, plan->repositories, plan->give_up)) {
            buf_printf(out, "%s\"%s\":\"%s\"", comma, need->name, need->level);
            comma = ",";
        }
    }
}

void app_manifest(const struct app_plan *plan, const char *redirect_url, struct buf *out)
{
    buf_append_cstr(out, "{\"name\":");
    buf_append_json(out, slice_of(plan->name));
    buf_append_cstr(out, ",\"description\":\"Launches a VM for each job (Mayfly)\",\"url\":");
    buf_append_json(out, slice_of(plan->web));
    buf_append_cstr(out, ",\"public\":false,\"hook_attributes\":{\"active\":true,\"url\":");
    buf_append_json(out, slice_of(plan->webhook_url));
    buf_append_cstr(out, "},\"redirect_url\":");
    buf_append_json(out, slice_of(redirect_url));
    buf_append_cstr(out,
                    ",\"default_events\":[\"" GITHUB_APP_EVENT "\"],\"default_permissions\":{");
    append_permissions(plan, out);
    buf_append_cstr(out, "}}");
}

void app_form_action(const struct app_plan *plan, const char *state, struct buf *out)
{
    buf_append_cstr(out, plan->web);
    if (plan->organization[0] != '\0') {
        buf_append_cstr(out, "/organizations/");
        codec_percent(out, slice_of(plan->organization));
    }
    buf_printf(out, "/settings/apps/new?state=%s", state);
}

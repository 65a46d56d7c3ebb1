#include "common/check/github_app.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/github/github.h"

#define SUBJECT "github"
#define INSTALLATIONS_SAID 20 /* one line each; of the others the faulty ones alone */
#define MISSING_BYTES 512

static bool is_needed(const struct config *c, const struct github_app_need *need)
{
    return github_app_needs_it(need, config_uses_scope(c, CONFIG_ORGANIZATION),
                               config_uses_scope(c, CONFIG_REPOSITORY), c->reaper.give_up);
}

const char *check_app_subject(const struct check *c, size_t number,
                              char out[CHECK_APP_SUBJECT_SIZE])
{
    const struct config_github *g = &c->config->github;
    bool several = g->app_count > 1;
    (void)snprintf(out, CHECK_APP_SUBJECT_SIZE, "%s%s", several ? "github app " : SUBJECT,
                   several ? g->apps[number].id : "");
    return out;
}

static void check_permission(struct check *c, const char *subject,
                             const struct github_app_need *need, const char *has)
{
    const bool good = github_level_suffices(need, has);
    const struct check_finding f = {
        .level = good ? CHECK_OK : CHECK_FAIL,
        .subject = subject,
        .request = "GET /app",
        .hint =
            good ? NULL
                 : "grant it in the App's settings, then accept the change in each installation"};
    check_say(c, &f, "permission %s is %s, needed is %s", need->title,
              has[0] != '\0' ? has : "none", need->level);
}

static void check_event(struct check *c, const char *subject, const struct github_app *app)
{
    const struct check_finding f = {
        .level = app->workflow_job ? CHECK_OK : CHECK_FAIL,
        .subject = subject,
        .request = "GET /app",
        .hint = app->workflow_job
                    ? NULL
                    : "subscribe the App to the event Workflow job: without it Mayfly "
                      "receives no jobs"};
    check_say(c, &f, "the App is %ssubscribed to " GITHUB_APP_EVENT,
              app->workflow_job ? "" : "not ");
}

static void check_installed(struct check *c, const char *subject, const struct github_app *app)
{
    bool good = app->installations > 0;
    const struct check_finding f = {
        .level = good ? CHECK_OK : CHECK_FAIL,
        .subject = subject,
        .request = "GET /app",
        .hint = good ? NULL : "install the App on the organization whose jobs Mayfly runs"};
    check_say(c, &f, "the App %s has %lld installation(s)", app->slug,
              (long long)app->installations);
}

/* --- installations --- */

struct installations {
    struct check *check;
    struct github *github;
    size_t number; /* of the App */
    const char *subject;
    const struct github_app *app;
    bool own_event; /* a separate hook has its own events */
    int count;
    struct config_list owners; /* that it is installed on */
};

/* What the App has and this owner has not accepted yet: a change of the App's permissions waits for
 * each owner. */
static void append_missing(const struct installations *all, const struct github_installation *i,
                           struct buf *out)
{
    for (size_t k = 0; k < GITHUB_APP_NEEDS; k++) {
        const struct github_app_need *need = &github_app_needs[k];
        if (is_needed(all->check->config, need) &&
            github_level_suffices(need, all->app->levels.of[k]) &&
            !github_level_suffices(need, i->levels.of[k])) {
            buf_printf(out, "%s%s: %s", out->len > 0 ? ", " : "", need->title, need->level);
        }
    }
    if (all->own_event && all->app->workflow_job && !i->workflow_job) {
        buf_printf(out, "%sthe event " GITHUB_APP_EVENT, out->len > 0 ? ", " : "");
    }
}

static int check_installation(void *arg, const struct github_installation *i)
{
    struct installations *all = arg;
    struct check_finding f = {
        .level = CHECK_OK, .subject = all->subject, .request = "GET /app/installations"};
    struct buf missing;
    config_list_add(&all->owners, slice_of(i->owner));
    if (!github_app_serves(all->github, all->number, i->owner)) {
        return 0; /* another App's, by github.apps[].organizations */
    }
    buf_init(&missing, MISSING_BYTES);
    append_missing(all, i, &missing);
    all->count++;
    if (i->suspended) {
        f.level = CHECK_WARN;
        f.hint = "unsuspend it in the owner's settings (GitHub Apps), or its jobs wait";
        check_say(all->check, &f, "%s has suspended it", i->owner);
    } else if (missing.len > 0) {
        f.level = CHECK_FAIL;
        f.hint = "its owner must accept the App's new permissions (Settings, GitHub Apps, Review "
                 "request)";
        check_say(all->check, &f, "%s has not accepted %s", i->owner, missing.data);
    } else if (all->count <= INSTALLATIONS_SAID) {
        check_say(all->check, &f, "%s (%s), with all permissions", i->owner,
                  i->is_organization ? "organization" : "user");
    }
    buf_fini(&missing);
    return 0;
}

static bool is_installed_on(const struct installations *all, const char *owner)
{
    for (size_t i = 0; i < all->owners.count; i++) {
        if (slice_eq_nocase(slice_of(all->owners.items[i]), slice_of(owner))) {
            return true;
        }
    }
    return false;
}

/* What github.apps[].organizations names. */
static void check_named(struct check *c, const struct installations *all)
{
    const struct config_github *g = &c->config->github;
    const struct check_finding f = {
        .level = CHECK_FAIL,
        .subject = all->subject,
        .request = "GET /app/installations",
        .hint = "install it there, or remove the name from its github.apps[].organizations"};
    for (size_t i = 0; g->app_count > 0 && i < g->apps[all->number].organizations.count; i++) {
        const char *owner = g->apps[all->number].organizations.items[i];
        if (!is_installed_on(all, owner)) {
            check_say(c, &f, "it is not installed on %s", owner);
        }
    }
}

static const char *url_of(const struct config_github *g, size_t app)
{
    return g->apps[app].api_url[0] != '\0' ? g->apps[app].api_url : g->api_url;
}

/* The first App's hook sends the events of the other Apps' organizations, on its server. */
static void check_hooked(struct check *c, const struct installations *all)
{
    const struct config_github *g = &c->config->github;
    const struct check_finding f = {
        .level = CHECK_WARN,
        .subject = all->subject,
        .request = "GET /app/installations",
        .hint = "install it there, unless that organization has a webhook of its own"};
    for (size_t k = 1; all->own_event && k < g->app_count; k++) {
        const struct config_list *owners = &g->apps[k].organizations;
        bool here = strcmp(url_of(g, k), url_of(g, 0)) == 0;
        for (size_t i = 0; here && i < owners->count; i++) {
            if (!is_installed_on(all, owners->items[i])) {
                check_say(c, &f, "its webhook sends nothing of %s, where it is not installed",
                          owners->items[i]);
            }
        }
    }
}

static void check_installations(struct check *c, struct installations *all)
{
    struct err e = {0};
    if (all->app->installations > 0 &&
        github_list_app_installations(all->github, all->number, check_installation, all, &e) != 0) {
        check_say_error(c, CHECK_WARN, all->subject, "GET /app/installations", &e);
    } else {
        check_named(c, all);
        check_hooked(c, all);
    }
    config_list_fini(&all->owners);
}

void check_github_app(struct check *c, struct github *g, size_t number)
{
    struct err e = {0};
    struct github_app app;
    struct github_hook h;
    char subject[CHECK_APP_SUBJECT_SIZE];
    (void)check_app_subject(c, number, subject);
    if (github_get_app(g, number, &app, &e) != 0) {
        check_say_error(c, CHECK_FAIL, subject, "GET /app", &e);
        return;
    }
    /* The first App's hook alone is switched on. */
    bool own_event = number == 0 && (!github_hook_of(c->config, &h) || h.id == 0);
    struct installations all = {.check = c,
                                .github = g,
                                .number = number,
                                .subject = subject,
                                .app = &app,
                                .own_event = own_event};
    check_installed(c, subject, &app);
    for (size_t i = 0; i < GITHUB_APP_NEEDS; i++) {
        if (is_needed(c->config, &github_app_needs[i])) {
            check_permission(c, subject, &github_app_needs[i], app.levels.of[i]);
        }
    }
    if (own_event) {
        check_event(c, subject, &app);
    }
    check_installations(c, &all);
}

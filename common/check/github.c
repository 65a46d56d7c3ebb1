/* Checks GitHub: its API, the App, runner groups, the webhook and its deliveries. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/check/check.h"
#include "common/check/github_api.h"
#include "common/check/github_app.h"
#include "common/check/runner_groups.h"
#include "common/check/runner_versions.h"
#include "common/check/scale_sets.h"
#include "common/github/github.h"

#define SUBJECT "github"
#define FAILED_SHARE_BAD 0.5 /* of the last deliveries: GitHub cannot reach the ingress */

/* --- the webhook --- */

static bool path_is(const char *url, const char *path)
{
    const char *host = strstr(url, "://");
    const char *slash = host != NULL ? strchr(host + 3, '/') : NULL;
    return strcmp(slash != NULL ? slash : "/", path) == 0;
}

/* Scale sets need no webhook; other jobs of the same deployment may. */
static bool has_sources(const struct check *c)
{
    return c->config->source_count > 0;
}

static void check_hook_url(struct check *c, const struct github_hook_config *hook)
{
    const char *path = c->config->ingress.path;
    struct check_finding f = {
        .level = CHECK_OK, .subject = SUBJECT, .request = "webhook's settings"};
    if (hook->url[0] == '\0') {
        f.level = has_sources(c) ? CHECK_WARN : CHECK_FAIL;
        f.hint = has_sources(c) ? "right where all jobs come from scale sets (sources); else make "
                                  "it active and set its URL to https://YOUR-HOST and ingress.path"
                                : "make it active and set its URL to https://YOUR-HOST and "
                                  "ingress.path";
        check_say(c, &f, "the webhook has no URL");
        return;
    }
    if (c->webhook_url != NULL && strcmp(hook->url, c->webhook_url) != 0) {
        f.level = CHECK_FAIL;
        f.hint = "mayflyctl app hook URL sets it";
        check_say(c, &f, "the URL is %s, not %s", hook->url, c->webhook_url);
        return;
    }
    if (!path_is(hook->url, path)) {
        f.level = CHECK_WARN;
        f.hint = "one of the two is wrong, unless a proxy in front of the ingress changes paths";
        check_say(c, &f, "the URL is %s, and ingress.path is %s", hook->url, path);
        return;
    }
    check_say(c, &f, "the URL is %s, bodies are %s", hook->url, hook->content_type);
}

static void check_hook_safety(struct check *c, const struct github_hook_config *hook)
{
    struct check_finding f = {
        .level = CHECK_OK, .subject = SUBJECT, .request = "webhook's settings"};
    if (!hook->has_secret) {
        f.level = CHECK_FAIL;
        f.hint = "set the secret that is in github.webhook_secrets";
        check_say(c, &f, "the webhook has no secret, so that every delivery is answered 401");
    } else if (hook->insecure) {
        f.level = CHECK_WARN;
        f.hint = "enable SSL verification";
        check_say(c, &f, "GitHub does not verify the receiver's certificate");
    } else {
        check_say(c, &f, "it has a secret, and GitHub verifies the receiver's certificate");
    }
}

/* Where deliveries are pulled the URL leads nowhere, or to an ingress beside it. Whether the hook is active
 * GitHub does not say here: an inactive one has no deliveries. */
static void check_pulled_hook(struct check *c, const struct github_hook_config *hook)
{
    struct check_finding f = {
        .level = CHECK_OK, .subject = SUBJECT, .request = "webhook's settings"};
    if (hook->url[0] == '\0') {
        f.level = CHECK_FAIL;
        f.hint = "make it active, with a URL that leads nowhere such as "
                 "https://mayfly.invalid/webhook: GitHub logs no deliveries of an inactive one";
        check_say(c, &f, "the webhook has no URL");
        return;
    }
    check_say(c, &f, "the URL is %s; deliveries are pulled (github.pull)", hook->url);
}

static void check_webhook(struct check *c, struct github *g, const struct github_hook *h)
{
    struct err e = {0};
    struct github_hook_config hook;
    if (github_get_hook_config(g, h, &hook, &e) != 0) {
        check_say_error(c, CHECK_WARN, SUBJECT, "webhook's settings", &e);
        return;
    }
    if (c->config->github.pull_interval_ms > 0) {
        check_pulled_hook(c, &hook);
        return;
    }
    check_hook_url(c, &hook);
    if (hook.url[0] != '\0' || !has_sources(c)) {
        check_hook_safety(c, &hook);
    }
}

/* --- the webhook's deliveries --- */

#define STATUSES_MAX 4

struct tally {
    int all;
    int failed;
    struct {
        int status; /* 0: GitHub got no answer */
        int count;
    } statuses[STATUSES_MAX];           /* of the failed ones, as far as they fit */
    struct github_delivery last_failed; /* the newest */
};

static void count_status(struct tally *t, int status)
{
    for (size_t i = 0; i < STATUSES_MAX; i++) {
        if (t->statuses[i].count == 0 || t->statuses[i].status == status) {
            t->statuses[i].status = status;
            t->statuses[i].count++;
            return;
        }
    }
}

/* "3 with 401, 2 without an answer" */
static void append_statuses(const struct tally *t, struct buf *out)
{
    for (size_t i = 0; i < STATUSES_MAX && t->statuses[i].count > 0; i++) {
        buf_printf(out, "%s%d ", i > 0 ? ", " : "", t->statuses[i].count);
        if (t->statuses[i].status == 0) {
            buf_append_cstr(out, "without an answer");
        } else {
            buf_printf(out, "with %d", t->statuses[i].status);
        }
    }
}

static int count_delivery(void *arg, const struct github_delivery *d)
{
    struct tally *t = arg;
    t->all++;
    if (!d->ok) {
        count_status(t, d->status_code);
        t->last_failed = t->failed++ == 0 ? *d : t->last_failed;
    }
    return 0;
}

/* What was accepted is not pulled: right for those that an ingress has, and for no others. */
static void say_pulled(struct check *c, const struct tally *t, struct check_finding *f)
{
    int accepted = t->all - t->failed;
    if (accepted > 0) {
        f->level = CHECK_WARN;
        f->hint =
            "right if an ingress answers at the webhook's URL; else let the URL lead nowhere, "
            "since nobody handles these";
        check_say(c, f, "%d of the last %d were accepted (2xx) and are not pulled", accepted,
                  t->all);
        return;
    }
    check_say(c, f, "the last %d can be pulled", t->all);
}

static void check_deliveries(struct check *c, struct github *g, const struct github_hook *h)
{
    struct err e = {0};
    struct tally t = {.all = 0};
    char next[GITHUB_CURSOR_BYTES];
    struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .request = "last deliveries"};
    bool pulls = c->config->github.pull_interval_ms > 0;
    if (github_list_deliveries(g, h, "", count_delivery, &t, next, &e) != 0) {
        check_say_error(c, pulls ? CHECK_FAIL : CHECK_WARN, SUBJECT, "last deliveries", &e);
        return;
    }
    if (t.all == 0) {
        f.level = CHECK_WARN;
        f.hint = pulls ? "see that the webhook is active: GitHub logs nothing of an inactive one; "
                         "then queue a job, or send a ping from its page, and check again"
                 : has_sources(c) ? "right where all jobs come from scale sets (sources); else "
                                    "queue a job, and check again"
                                  : "queue a job, or send a ping from the webhook's page, and "
                                    "check again";
        check_say(c, &f, "there is none in the last three days");
        return;
    }
    if (pulls) {
        say_pulled(c, &t, &f);
        return;
    }
    if (t.failed > 0) {
        char when[40];
        struct buf statuses;
        buf_init(&statuses, 256);
        append_statuses(&t, &statuses);
        clock_format_utc(t.last_failed.delivered_ms, when, sizeof when);
        f.level = t.failed >= FAILED_SHARE_BAD * t.all ? CHECK_FAIL : CHECK_WARN;
        f.hint =
            "see the webhook's page (Recent deliveries) for the response; 401: the secret differs "
            "from github.webhook_secrets, 404: the path differs from ingress.path, 5xx: the "
            "ingress "
            "or a proxy before it, no answer: the network; the reaper recovers failed deliveries "
            "once they arrive again";
        check_say(c, &f, "%d of the last %d failed (%.0f %%): %s; the newest at %s", t.failed,
                  t.all, 100.0 * t.failed / t.all, statuses.data, when);
        buf_fini(&statuses);
        return;
    }
    check_say(c, &f, "none of the last %d failed", t.all);
}

/* --- together --- */

static void check_token(struct check *c, struct github *g)
{
    struct err e = {0};
    struct check_finding f = {
        .level = CHECK_WARN,
        .subject = SUBJECT,
        .request = "GET /rate_limit",
        .hint = "an App is better: its permissions are narrow and can be checked"};
    if (github_ping(g, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, "GET /rate_limit", &e);
        return;
    }
    check_say(c, &f, "GitHub accepts the personal token; its permissions cannot be checked");
    if (c->config->reaper.give_up) {
        f.level = CHECK_FAIL;
        f.request = "reaper.give_up";
        f.hint = "configure github.app, or set reaper.give_up: false";
        check_say(c, &f, "GitHub lets Apps alone create check runs: no job can be given up");
    }
}

/* A second App's hook is to be off: its deliveries would come beside the first one's. */
static void check_other_hooks(struct check *c, struct github *g)
{
    for (size_t i = 1; i < github_apps(g); i++) {
        struct err e = {0};
        struct tally t = {.all = 0};
        char next[GITHUB_CURSOR_BYTES];
        char subject[CHECK_APP_SUBJECT_SIZE];
        const struct github_hook h = {.app = i};
        struct check_finding f = {.level = CHECK_OK,
                                  .subject = check_app_subject(c, i, subject),
                                  .request = "last deliveries"};
        if (github_list_deliveries(g, &h, "", count_delivery, &t, next, &e) != 0) {
            check_say_error(c, CHECK_WARN, subject, "last deliveries", &e);
        } else if (t.all > 0) {
            f.level = CHECK_WARN;
            f.hint =
                "switch its webhook off (the App's settings, Webhook, Active): the first App's "
                "alone is needed";
            check_say(c, &f, "its webhook sent %d in the last three days", t.all);
        } else {
            check_say(c, &f, "its webhook is off");
        }
    }
}

/* Each server once. */
static bool check_servers(struct check *c)
{
    const struct config_github *g = &c->config->github;
    bool all = check_github_api(c, g->api_url);
    for (size_t i = 0; i < g->app_count; i++) {
        bool known = g->apps[i].api_url[0] == '\0' || strcmp(g->apps[i].api_url, g->api_url) == 0;
        for (size_t k = 0; k < i && !known; k++) {
            known = strcmp(g->apps[i].api_url, g->apps[k].api_url) == 0;
        }
        all = (known || check_github_api(c, g->apps[i].api_url)) && all;
    }
    return all;
}

void check_github(struct check *c)
{
    struct err e = {0};
    struct github *g = NULL;
    struct github_hook h;
    if (github_open(c->config, NULL, &g, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, "credentials", &e);
        return;
    }
    if (!check_servers(c)) {
        github_close(g);
        return;
    }
    for (size_t i = 0; i < github_apps(g); i++) {
        check_github_app(c, g, i);
    }
    if (c->config->github.token[0] != '\0') {
        check_token(c, g);
    }
    check_runner_groups(c, g);
    check_runner_versions(c, g);
    check_scale_sets(c, g);
    if (github_hook_of(c->config, &h)) {
        check_webhook(c, g, &h);
        check_deliveries(c, g, &h);
    }
    check_other_hooks(c, g);
    github_close(g);
}

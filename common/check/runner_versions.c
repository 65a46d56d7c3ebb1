#include "common/check/runner_versions.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/github.h"
#include "common/vm/vm.h"

#define SOON_MS (INT64_C(30) * 24 * 3600 * 1000)

/* The page is the same in each scope: one that the App or token may read is enough. */
struct scope_search {
    struct check *check;
    struct github *github;
    struct github_scope scope;
    bool found;
};

static int take_repository(void *arg, const char *repository)
{
    struct scope_search *s = arg;
    s->scope = github_scope_parse(repository, s->scope.installation_id);
    s->found = true;
    return 1;
}

static int take_installation(void *arg, const struct github_installation *i)
{
    struct scope_search *s = arg;
    const struct config *c = s->check->config;
    struct err e = {0};
    if (i->suspended || (c->github.installation > 0 && i->id != c->github.installation)) {
        return 0;
    }
    s->scope = github_scope_parse(i->owner, i->id);
    s->found = i->is_organization && config_uses_scope(c, CONFIG_ORGANIZATION);
    return s->found ||
           (github_list_repositories(s->github, i->id, take_repository, s, &e) == 0 && s->found);
}

/* A personal token names no organizations; the configuration may. */
static void take_configured(struct scope_search *s)
{
    const struct config *c = s->check->config;
    struct slice owner;
    struct slice name;
    char text[SCOPE_SIZE];
    if (c->github.repositories.count == 0) {
        return;
    }
    const char *first = c->github.repositories.items[0];
    bool one = slice_cut(slice_of(first), '/', &owner, &name) && strchr(first, '*') == NULL;
    struct slice scope = config_uses_scope(c, CONFIG_ORGANIZATION) ? owner : slice_of(first);
    if ((one || config_uses_scope(c, CONFIG_ORGANIZATION)) &&
        slice_to_cstr(scope, text, sizeof text)) {
        s->scope = github_scope_parse(text, 0);
        s->found = true;
    }
}

static bool find_scope(struct scope_search *s)
{
    struct err e = {0};
    if (!config_has_app(s->check->config)) {
        take_configured(s);
        return s->found;
    }
    return github_list_installations(s->github, take_installation, s, &e) == 0 && s->found;
}

static void say_version(struct check *c, const char *class_name, const char *version,
                        const struct github_deprecation *d)
{
    const int64_t now_ms = clock_wall_ms();
    const bool jobs_first =
        d->runtime_ms > 0 && (d->registration_ms == 0 || d->runtime_ms < d->registration_ms);
    const int64_t end_ms = jobs_first ? d->runtime_ms : d->registration_ms;
    char subject[160];
    char when[40];
    struct check_finding f = {.level = CHECK_OK, .subject = subject, .request = "GitHub's runner"};
    (void)snprintf(subject, sizeof subject, "class %.128s", class_name);
    if (end_ms == 0) {
        check_say(c, &f, "GitHub has no date from which it refuses version %s", version);
        return;
    }
    clock_format_utc(end_ms, when, sizeof when);
    if (end_ms - now_ms <= SOON_MS) {
        f.level = end_ms <= now_ms ? CHECK_FAIL : CHECK_WARN;
        f.hint = "build the image anew with the newest runner (mayfly-build-runner-image)";
    }
    check_say(c, &f, "GitHub %s version %s %s %s", jobs_first ? "gives no jobs to" : "registers no",
              version, end_ms <= now_ms ? "since" : "from", when);
}

void check_runner_versions(struct check *c, struct github *g)
{
    struct scope_search search = {.check = c, .github = g};
    struct github_deprecation d = {0};
    char asked[VM_RUNNER_VERSION] = "";
    int rc = -1;
    for (size_t i = 0; i < c->config->place_count; i++) {
        const struct config_class *class = c->config->places[i];
        char version[VM_RUNNER_VERSION];
        struct err e = {0};
        if (vm_image_runner(class, version, &e) != 0 || (!search.found && !find_scope(&search))) {
            continue;
        }
        if (strcmp(asked, version) != 0) {
            (void)snprintf(asked, sizeof asked, "%s", version);
            rc = github_get_deprecation(g, &search.scope, version, &d, &e);
            if (rc != 0 && e.class != ERR_NOT_FOUND) {
                check_say_error(c, CHECK_WARN, "github", "GitHub's runner", &e);
            }
        }
        if (rc == 0) {
            say_version(c, class->name, version, &d);
        }
    }
}

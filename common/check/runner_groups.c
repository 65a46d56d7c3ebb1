#include "common/check/runner_groups.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/github/github.h"

#define SUBJECT "github"
#define REQUEST "runner groups"
#define ORGANIZATIONS_MAX 20 /* one or two calls each */

struct looking {
    struct check *check;
    struct github *github;
    int organizations;
};

/* --- one group --- */

static void say_who_is_admitted(struct check *c, const char *where,
                                const struct github_group *group)
{
    const struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .request = REQUEST};
    if (strcmp(group->visibility, "selected") == 0) {
        check_say(c, &f,
                  "%s admits selected repositories: jobs of others get no runner, and these share "
                  "its runners",
                  where);
    } else {
        check_say(c, &f,
                  "%s admits %s repositories of the organization, which share its runners: any of "
                  "them may get the runner that was launched for another",
                  where, strcmp(group->visibility, "private") == 0 ? "the private" : "all");
    }
}

static void say_whether_public(struct check *c, const char *where, const struct github_group *group)
{
    const bool wanted = config_allows_public_repositories(c->config);
    struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .request = REQUEST};
    if (!group->allows_public) {
        f.level = wanted ? CHECK_WARN : CHECK_OK;
        f.hint = wanted ? "let the group admit public repositories (Settings, Actions, Runner "
                          "groups), or set github.public_repositories to refuse"
                        : NULL;
        check_say(c, &f, "%s does not admit public repositories%s", where,
                  wanted ? ": VMs are launched for their jobs and never get them" : "");
        return;
    }
    f.level = CHECK_WARN;
    f.hint = wanted ? "require approval for all external contributors, and keep such repositories "
                      "in a runner group of their own: deploy/docs/public-repositories.md"
                    : "close the group to public repositories (Settings, Actions, Runner groups)";
    check_say(c, &f, "%s admits public repositories: %s", where,
              wanted ? "a pull request from a fork runs its author's code on VMs as soon as the "
                       "repository's approval settings let it"
                     : "no VM is launched for their jobs, but GitHub may give them one that was "
                       "launched for another job");
}

static void check_group(struct check *c, struct github *g, const struct github_scope *s,
                        const char *name)
{
    struct err e = {0};
    struct github_group group;
    char where[512];
    if (github_get_group(g, s, name, &group, &e) != 0) {
        check_say_error(c, CHECK_WARN, SUBJECT, REQUEST, &e);
        return;
    }
    (void)snprintf(where, sizeof where, "%s of %s", name, s->name);
    say_who_is_admitted(c, where, &group);
    say_whether_public(c, where, &group);
}

/* --- all groups of one organization --- */

/* The groups of the classes, then the mapped ones. */
static const char *group_at(const struct config *c, const char *organization, size_t i)
{
    struct slice key;
    struct slice group;
    struct slice owner;
    struct slice name;
    if (i < c->class_count) {
        return config_scope_of(c, &c->classes[i]) == CONFIG_ORGANIZATION
                   ? config_class_group(c, &c->classes[i])
                   : "";
    }
    (void)slice_cut(slice_of(c->github.groups.items[i - c->class_count]), '=', &key, &group);
    (void)slice_cut(key, '/', &owner, &name);
    return slice_eq_nocase(owner, slice_of(organization)) ? group.ptr : "";
}

static bool is_new_group(const struct config *c, const char *organization, size_t i)
{
    const char *group = group_at(c, organization, i);
    for (size_t k = 0; k < i; k++) {
        if (strcasecmp(group_at(c, organization, k), group) == 0) {
            return false;
        }
    }
    return group[0] != '\0';
}

static void check_organization(struct looking *l, const char *name, int64_t installation_id)
{
    const struct config *c = l->check->config;
    struct github_scope scope = github_scope_parse(name, installation_id);
    if (++l->organizations > ORGANIZATIONS_MAX) {
        return;
    }
    for (size_t i = 0; i < c->class_count + c->github.groups.count; i++) {
        if (is_new_group(c, name, i)) {
            check_group(l->check, l->github, &scope, group_at(c, name, i));
        }
    }
}

/* --- the organizations --- */

static int check_installation(void *arg, const struct github_installation *i)
{
    if (i->is_organization && !i->suspended) {
        check_organization(arg, i->owner, i->id);
    }
    return 0;
}

/* A personal token names no organizations; the configuration may. */
static void check_configured(struct looking *l)
{
    const struct config *c = l->check->config;
    struct slice seen = {NULL, 0};
    for (size_t i = 0; i < c->github.repositories.count; i++) {
        struct slice owner;
        struct slice rest;
        char name[SCOPE_SIZE];
        (void)slice_cut(slice_of(c->github.repositories.items[i]), '/', &owner, &rest);
        if (!slice_eq_nocase(owner, seen) && slice_to_cstr(owner, name, sizeof name)) {
            check_organization(l, name, 0);
        }
        seen = owner;
    }
}

/* --- the enterprise --- */

static void check_enterprise(struct check *c, struct github *g)
{
    const struct config *cc = c->config;
    char name[SCOPE_SIZE];
    (void)snprintf(name, sizeof name, SCOPE_ENTERPRISES "%s", cc->github.enterprise);
    const struct github_scope scope = github_scope_parse(name, 0);
    for (size_t i = 0; i < cc->class_count; i++) {
        const char *group = config_class_group(cc, &cc->classes[i]);
        bool seen = config_scope_of(cc, &cc->classes[i]) != CONFIG_ENTERPRISE;
        for (size_t k = 0; k < i && !seen; k++) {
            seen = config_scope_of(cc, &cc->classes[k]) == CONFIG_ENTERPRISE &&
                   strcasecmp(config_class_group(cc, &cc->classes[k]), group) == 0;
        }
        if (!seen) {
            check_group(c, g, &scope, group);
        }
    }
}

static void say_what_was_left_out(const struct looking *l)
{
    const struct check_finding f = {
        .level = CHECK_WARN,
        .subject = SUBJECT,
        .request = REQUEST,
        .hint = "see for yourself that they are closed to public repositories (Settings, Actions, "
                "Runner groups)"};
    if (l->organizations == 0) {
        check_say(l->check, &f, "no organization is known to look at");
    } else if (l->organizations > ORGANIZATIONS_MAX) {
        check_say(l->check, &f, "those of %d organizations were not looked at",
                  l->organizations - ORGANIZATIONS_MAX);
    }
}

static void say_no_groups(struct check *c)
{
    const struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .request = REQUEST};
    check_say(c, &f, "runners register with repositories: each gets jobs of its repository alone%s",
              config_allows_public_repositories(c->config) ? ", also of a public one" : "");
}

void check_runner_groups(struct check *c, struct github *g)
{
    struct err e = {0};
    struct looking l = {.check = c, .github = g};
    if (config_uses_scope(c->config, CONFIG_REPOSITORY)) {
        say_no_groups(c);
    }
    check_enterprise(c, g);
    if (!config_uses_scope(c->config, CONFIG_ORGANIZATION)) {
        return;
    }
    if (!config_has_app(c->config)) {
        check_configured(&l);
    } else if (github_list_installations(g, check_installation, &l, &e) != 0) {
        check_say_error(c, CHECK_WARN, SUBJECT, REQUEST, &e);
        return;
    }
    say_what_was_left_out(&l);
}

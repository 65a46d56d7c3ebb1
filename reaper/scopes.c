/*
 * Where this deployment may have registered runners: the scopes that the ledger knows, and, for a
 * ledger that was lost or restored, all where GitHub says that the App is installed. With a personal
 * token nobody knows them all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

#define SCOPES_MAX 500 /* reading more lists in a sweep would take too long */

struct collection {
    struct sweep *sweep;
    struct sweep_scopes *into;
    int64_t installation_id;
    bool all; /* nothing was left out */
};

static void add_scope(struct collection *c, const char *name, int64_t installation_id)
{
    struct sweep_scopes *s = c->into;
    /* Any of an owner's Apps lists the same runners. */
    bool several = c->sweep->config->github.app_count > 1;
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->list[i].name, name) == 0 &&
            (several || s->list[i].installation_id == installation_id)) {
            return;
        }
    }
    if (s->count == SCOPES_MAX) {
        c->all = false;
        return;
    }
    s->list = reallocarray(s->list, s->count + 1, sizeof *s->list);
    ASSERT(s->list != NULL);
    struct ledger_scope *scope = &s->list[s->count++];
    *scope = (struct ledger_scope){.installation_id = installation_id};
    c->all = slice_to_cstr(slice_of(name), scope->name, sizeof scope->name) && c->all;
}

static int add_repository(void *arg, const char *repository)
{
    struct collection *c = arg;
    add_scope(c, repository, c->installation_id);
    return c->all ? 0 : 1;
}

static void report_unlisted(const char *owner, const struct err *e)
{
    log_warn("scopes_not_listed", LOG_STR("owner", owner), LOG_ERR(e),
             LOG_STR("action",
                     "VMs without a row hold their slots until the next scan of the lists "
                     "that succeeds, or until their deadline"));
}

static bool add_repositories(struct collection *c, const struct github_installation *i)
{
    struct err e = {0};
    struct sweep_call call;
    const struct github_scope scope = github_scope_parse(i->owner, i->id);
    if (!sweep_begin_question(c->sweep, &scope, GITHUB_RECONCILE, 1, &call)) {
        return false;
    }
    c->installation_id = i->id;
    int rc = github_list_repositories(c->sweep->reaper->github, i->id, add_repository, c, &e);
    sweep_end_call(c->sweep, &call, rc, &e);
    if (rc != 0) {
        report_unlisted(i->owner, &e);
    }
    return rc == 0;
}

static int add_installation(void *arg, const struct github_installation *i)
{
    struct collection *c = arg;
    const struct config *config = c->sweep->config;
    if (config->github.installation > 0 && i->id != config->github.installation) {
        return 0;
    }
    if (i->suspended) { /* its runners cannot be listed */
        c->all = false;
        return 1;
    }
    if (i->is_organization && config_uses_scope(config, CONFIG_ORGANIZATION)) {
        add_scope(c, i->owner, i->id);
    }
    if (!i->is_organization || config_uses_scope(config, CONFIG_REPOSITORY)) {
        c->all = add_repositories(c, i) && c->all;
    }
    return c->all ? 0 : 1;
}

static int add_ledger_scopes(struct collection *c, struct err *e)
{
    struct ledger_scope *known = NULL;
    size_t n = 0;
    if (ledger_scopes(c->sweep->reaper->ledger, &known, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        add_scope(c, known[i].name, known[i].installation_id);
    }
    free(known);
    return 0;
}

static bool add_installations(struct collection *c)
{
    struct err e = {0};
    struct sweep_call call;
    if (!sweep_begin_github_call(c->sweep, "", &call)) {
        return false;
    }
    int rc = github_list_installations(c->sweep->reaper->github, add_installation, c, &e);
    sweep_end_call(c->sweep, &call, rc, &e);
    if (rc != 0) {
        report_unlisted("", &e);
    }
    return rc == 0;
}

const struct sweep_scopes *sweep_all_scopes(struct sweep *s)
{
    struct err e = {0};
    struct collection c = {.sweep = s, .into = &s->scopes, .all = true};
    if (s->scopes.read) {
        return &s->scopes;
    }
    s->scopes.read = true;
    if (config_uses_scope(s->config, CONFIG_ENTERPRISE)) {
        char name[SCOPE_SIZE];
        (void)snprintf(name, sizeof name, SCOPE_ENTERPRISES "%s", s->config->github.enterprise);
        add_scope(&c, name, 0);
    }
    s->scopes.complete = add_ledger_scopes(&c, &e) == 0 && add_installations(&c) && c.all;
    return &s->scopes;
}

#include "common/check/scale_sets.h"

#include "common/github/scale_sets/scale_sets.h"

#define SUBJECT "github"
#define REQUEST "scale sets"

static void check_set(struct check *c, struct github *g, const struct config_source *source)
{
    struct err e = {0};
    bool exists = false;
    char scope[SCOPE_SIZE];
    const struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .request = REQUEST};
    config_source_scope(source, scope, sizeof scope);
    const struct github_scale_set set = {.scope = github_scope_parse(scope, 0),
                                         .name = source->scale_set,
                                         .group = config_source_group(c->config, source)};
    if (github_set_exists(g, &set, &exists, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, REQUEST, &e);
    } else {
        check_say(c, &f, "%s of %s %s", set.name, set.scope.name,
                  exists ? "exists, and its jobs run on VMs of the source's class"
                         : "does not exist yet: mayfly-reaper creates it at its start");
    }
}

void check_scale_sets(struct check *c, struct github *g)
{
    for (size_t i = 0; i < c->config->source_count; i++) {
        check_set(c, g, &c->config->sources[i]);
    }
}

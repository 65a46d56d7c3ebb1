#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/github/github.h"

/* A name that does not fit is not a GitHub name; the empty one fails at the first call. */
static struct github_scope make_scope(struct slice name, bool is_repository,
                                      int64_t installation_id)
{
    struct github_scope s = {.is_repository = is_repository, .installation_id = installation_id};
    bool fits = slice_to_cstr(name, s.name, sizeof s.name);
    (void)fits;
    return s;
}

/* A mapped group that is the class's own makes no other scope. */
static void set_mapped_group(struct github_scope *s, const struct config *c,
                             const struct config_class *class, const char *repository)
{
    const char *mapped = config_mapped_group(c, repository);
    if (class == NULL || strcasecmp(mapped, config_class_group(c, class)) != 0) {
        (void)snprintf(s->group, sizeof s->group, "%s", mapped);
    }
}

static struct github_scope enterprise_of(const struct config *c, int64_t installation_id)
{
    char name[SCOPE_SIZE];
    (void)snprintf(name, sizeof name, SCOPE_ENTERPRISES "%s", c->github.enterprise);
    return github_scope_parse(name, installation_id);
}

struct github_scope github_scope_of(const struct config *c, const struct config_class *class,
                                    const struct job *job)
{
    bool of_user = job->organization[0] == '\0';
    bool is_repository = of_user || config_scope_of(c, class) == CONFIG_REPOSITORY;
    bool is_enterprise = !is_repository && config_scope_of(c, class) == CONFIG_ENTERPRISE;
    const char *name = is_repository ? job->repository : job->organization;
    struct github_scope s = is_enterprise
                                ? enterprise_of(c, job->installation_id)
                                : make_scope(slice_of(name), is_repository, job->installation_id);
    if (!is_repository) {
        set_mapped_group(&s, c, class, job->repository);
    }
    return s;
}

struct github_scope github_scope_parse(const char *name, int64_t installation_id)
{
    struct slice place = scope_place(name);
    bool is_enterprise = slice_starts_with(place, SLICE(SCOPE_ENTERPRISES));
    bool is_repository =
        !is_enterprise && place.len > 0 && memchr(place.ptr, '/', place.len) != NULL;
    struct github_scope s = make_scope(place, is_repository, installation_id);
    struct slice group = scope_group(name);
    s.is_enterprise = is_enterprise;
    (void)snprintf(s.group, sizeof s.group, "%.*s", SLICE_ARG(group));
    return s;
}

#include "common/fleet/subject.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const char *subject_kind(enum subject s)
{
    static const char *const kinds[] = {
        [SUBJECT_REPOSITORY] = "repository",
        [SUBJECT_GROUP] = "runner_group",
        [SUBJECT_LABELS] = "labels",
        [SUBJECT_INSTALLATION] = "installation",
        [SUBJECT_GITHUB] = "github",
        [SUBJECT_GITHUB_HERE] = "github",
        [SUBJECT_CREDENTIALS] = "credentials",
        [SUBJECT_PROXY] = "proxy",
        [SUBJECT_CLASS] = "class",
        [SUBJECT_TARGET] = "target",
        [SUBJECT_TARGET_HERE] = "target",
        [SUBJECT_HOST] = "host",
        [SUBJECT_LEDGER] = "ledger",
        [SUBJECT_QUEUE] = "queue",
        [SUBJECT_JOB] = "job",
    };
    ASSERT((size_t)s < COUNT_OF(kinds));
    return kinds[s];
}

enum subject subject_parent(enum subject s)
{
    switch (s) {
    case SUBJECT_REPOSITORY:
    case SUBJECT_GROUP:
        return SUBJECT_INSTALLATION;
    case SUBJECT_INSTALLATION:
        return SUBJECT_GITHUB;
    case SUBJECT_CLASS:
        return SUBJECT_TARGET;
    case SUBJECT_LABELS:
    case SUBJECT_GITHUB:
    case SUBJECT_GITHUB_HERE:
    case SUBJECT_CREDENTIALS:
    case SUBJECT_PROXY:
    case SUBJECT_TARGET:
    case SUBJECT_TARGET_HERE:
    case SUBJECT_HOST:
    case SUBJECT_CIRCUITS:
    case SUBJECT_QUEUE:
    case SUBJECT_JOB:
        break;
    }
    return SUBJECT_JOB;
}

enum subject subject_here(enum subject s)
{
    return s == SUBJECT_GITHUB   ? SUBJECT_GITHUB_HERE
           : s == SUBJECT_TARGET ? SUBJECT_TARGET_HERE
                                 : s;
}

/* GitHub ignores case in names. */
static void set_name(struct subjects *out, enum subject s, const char *name, const char *more)
{
    char *to = out->names[s];
    bool of_owner = s == SUBJECT_GROUP || s == SUBJECT_LABELS;
    const char *between = more[0] == '\0' ? "" : of_owner ? "/" : "@";
    int n = snprintf(to, LEDGER_CELL_NAME, "%s:%s%s%s", subject_kind(s), name, between, more);
    ASSERT(n > 0); /* a group's name that is longer is cut */
    for (; *to != '\0'; to++) {
        *to = (char)tolower((unsigned char)*to);
    }
}

void subjects_add_target(const struct vm_provider *p, const char *host, struct subjects *out)
{
    if (!vm_host_bound(p)) {
        set_name(out, SUBJECT_TARGET, vm_domain(p), "");
        set_name(out, SUBJECT_TARGET_HERE, vm_domain(p), host);
    }
}

void subjects_add_host(const char *host, struct subjects *out)
{
    set_name(out, SUBJECT_HOST, host, "");
}

void subjects_of_github(const char *host, struct subjects *out)
{
    *out = (struct subjects){0};
    set_name(out, SUBJECT_GITHUB, "api", "");
    set_name(out, SUBJECT_GITHUB_HERE, "api", host);
    set_name(out, SUBJECT_CREDENTIALS, "github", host);
}

void subjects_of_class(const struct config_class *class, const struct vm_provider *p,
                       const char *host, struct subjects *out)
{
    bool here = vm_host_bound(p);
    subjects_of_github(host, out);
    set_name(out, SUBJECT_PROXY, "environment", host);
    set_name(out, SUBJECT_CLASS, class->name, here ? host : "");
    subjects_add_target(p, host, out);
    if (here) {
        subjects_add_host(host, out);
    }
}

/* The owner is the scope's name up to the first slash. */
static void owner_of(const struct github_scope *scope, char out[SCOPE_SIZE])
{
    struct slice owner;
    struct slice rest;
    (void)slice_cut(slice_of(scope->name), '/', &owner, &rest);
    (void)snprintf(out, SCOPE_SIZE, "%.*s", SLICE_ARG(owner));
}

void subjects_add_installation(const struct github_scope *scope, struct subjects *out)
{
    char owner[SCOPE_SIZE];
    owner_of(scope, owner);
    set_name(out, SUBJECT_INSTALLATION, owner, "");
}

void subjects_add_scope(const struct github_scope *scope, const struct config_class *class,
                        const char *group, const char *repository, struct subjects *out)
{
    char owner[SCOPE_SIZE];
    owner_of(scope, owner);
    subjects_add_installation(scope, out);
    set_name(out, SUBJECT_LABELS, owner, class->name);
    if (!scope->is_repository) {
        bool is_set = scope_set(scope->group) != NULL; /* whatever group it is in */
        set_name(out, SUBJECT_GROUP, owner, is_set ? scope->group : group);
    }
    if (scope->is_repository || repository[0] != '\0') {
        set_name(out, SUBJECT_REPOSITORY, scope->is_repository ? scope->name : repository, "");
    }
}

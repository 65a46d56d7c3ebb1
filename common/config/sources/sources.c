/* sources[]: whose jobs they are, and what is checked of them. */
#include <stdio.h>
#include <string.h>

#include "common/config/private.h"
#include "common/job/scope.h"

void config_source_scope(const struct config_source *source, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s#" SCOPE_SET "%s", source->organization, source->repository,
                   source->scale_set);
}

const struct config_source *config_source_of(const struct config *c, const char *scope)
{
    char name[SCOPE_SIZE];
    for (size_t i = 0; i < c->source_count; i++) {
        config_source_scope(&c->sources[i], name, sizeof name);
        if (strcmp(name, scope) == 0) {
            return &c->sources[i];
        }
    }
    return NULL;
}

const char *config_source_group(const struct config *c, const struct config_source *source)
{
    const struct config_class *class = config_class_by_name(c, slice_of(source->class_name));
    if (source->runner_group[0] != '\0') {
        return source->runner_group;
    }
    return class != NULL ? config_class_group(c, class) : c->github.runner_group;
}

const char *config_scope_group(const struct config *c, const struct config_class *class,
                               const char *scope)
{
    const struct config_source *source = config_source_of(c, scope);
    struct slice mapped = scope_group(scope); /* to the end of the name */
    if (source != NULL) {
        return config_source_group(c, source);
    }
    return mapped.len > 0 ? mapped.ptr : config_class_group(c, class);
}

/* --- checks --- */

/* A value that was refused needs no second complaint. */
static void complain_at(struct config_reading *r, const char *path, const char *text)
{
    if (!complaints_about(r->complaints, path)) {
        complain(r->complaints, config_tree_line(r->tree, path), path, "%s", text);
    }
}

/* A job that a class's labels match is launched for its webhook too. */
static void check_label(struct config_reading *r, const struct config_source *s, const char *path)
{
    char text[256];
    const struct slice label = slice_of(s->scale_set);
    for (size_t i = 0; i < r->config->class_count && label.len > 0; i++) {
        const struct config_class *class = &r->config->classes[i];
        for (size_t k = 0; k < class->labels.count; k++) {
            if (slice_eq_nocase(slice_of(class->labels.items[k]), label)) {
                (void)snprintf(
                    text, sizeof text,
                    "is a label of class %s too, so that a job with it would be launched "
                    "twice, for the set and for its webhook: give the set another name",
                    class->name);
                complain_at(r, path, text);
            }
        }
    }
}

static void check_source(struct config_reading *r, size_t i)
{
    char path[64];
    char scope[SCOPE_SIZE + SCOPE_GROUP_SIZE];
    const struct config_source *s = &r->config->sources[i];
    (void)snprintf(path, sizeof path, "sources[%zu].class", i);
    if (s->class_name[0] != '\0' &&
        config_class_by_name(r->config, slice_of(s->class_name)) == NULL) {
        complain_at(r, path, "is the name of no class: add it to classes, or name another");
    }
    (void)snprintf(path, sizeof path, "sources[%zu].organization", i);
    if ((s->organization[0] == '\0') == (s->repository[0] == '\0')) {
        complain_at(r, path, "give either the organization or the repository whose jobs they are");
    }
    (void)snprintf(path, sizeof path, "sources[%zu].scale_set", i);
    check_label(r, s, path);
    config_source_scope(s, scope, sizeof scope);
    if (strlen(scope) >= SCOPE_SIZE) {
        complain_at(r, path, "is too long together with the repository's name: shorten it");
    } else if (config_source_of(r->config, scope) != s) {
        complain_at(r, path, "is there twice: remove one");
    }
}

void config_check_sources(struct config_reading *r)
{
    for (size_t i = 0; (r->who & FOR_FLEET) != 0 && i < r->config->source_count; i++) {
        check_source(r, i);
    }
}

#include "common/config/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

PRINTF(2, 3) static void add_ignored(struct buf *ignored, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    if (ignored == NULL) {
        return;
    }
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    buf_printf(ignored, "%s\n", line);
}

static void keep_fixed_settings(const struct config *old, struct config *fresh, struct buf *ignored)
{
    const struct setting *s = NULL;
    bool other_app = strcmp(old->github.app_id, fresh->github.app_id) != 0;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        /* Another App's key is of no use to the one that stays. */
        bool key_stays = other_app && strcmp(s->key, "github.app.private_key") == 0;
        bool fixed = object_list_of(s->key) == &config_root &&
                     ((s->flags & SETTING_RELOADABLE) == 0 || key_stays);
        if (fixed && !setting_equal(s, old, fresh)) {
            add_ignored(ignored, "%s: changed, requires a restart", s->key);
            setting_copy(s, fresh, old);
        }
    }
}

/* An element whose other settings changed stays whole, so that no part of one element becomes
 * another's. */
static void keep_fixed_objects(const struct object_list *list, const struct config *old,
                               struct config *fresh, struct buf *ignored)
{
    struct config merged = {.path = NULL};
    size_t was = objects_count(list, old);
    size_t is = objects_count(list, fresh);
    int name = (int)strcspn(list->key, "[");
    objects_make(list, &merged, was);
    for (size_t i = 0; i < was; i++) {
        const void *before = objects_at(list, old, i);
        const void *after = i < is ? objects_at(list, fresh, i) : NULL;
        bool keep = after == NULL || !object_equal_fixed(list, before, after);
        if (keep && after != NULL) {
            add_ignored(ignored, "%.*s[%zu]: changed, requires a restart", name, list->key, i);
        }
        object_copy(list, objects_at(list, &merged, i), keep ? before : after);
    }
    if (was != is) {
        add_ignored(ignored, "%.*s: elements added or removed, requires a restart", name,
                    list->key);
    }
    objects_move(list, fresh, &merged);
}

static void keep_fixed_lists(const struct config *old, struct config *fresh, struct buf *ignored)
{
    for (size_t i = 0; i < config_list_count; i++) {
        const struct object_list *list = &config_lists[i];
        if (object_list_of(list->key) == &config_root && !list->reloadable) {
            keep_fixed_objects(list, old, fresh, ignored);
        }
    }
}

/* `to` is zeros. */
static void copy_class(const struct config_class *from, struct config_class *to)
{
    const struct object_list *classes = object_list_named("classes");
    object_init(classes, to);
    object_copy(classes, to, from);
    to->opening = from->opening;
    to->revision = from->revision;
}

static bool opens_as(const struct config_class *a, const struct config_class *b)
{
    return object_equal_fixed(object_list_named("classes"), a, b) && a->revision == b->revision;
}

static bool has_target(const struct config_class *class, const char *name)
{
    for (size_t i = 0; i < class->target_count; i++) {
        if (strcmp(class->targets[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A target that was removed gets no launches, and stays until its VMs have ended. */
static void keep_removed_targets(const struct config_class *old, struct config_class *fresh)
{
    const struct object_list *list = object_list_named("classes[].targets");
    for (size_t i = 0; i < old->target_count; i++) {
        if (has_target(fresh, old->targets[i].name)) {
            continue;
        }
        fresh->targets = reallocarray(fresh->targets, fresh->target_count + 1, list->size);
        ASSERT(fresh->targets != NULL);
        struct config_target *kept = &fresh->targets[fresh->target_count++];
        *kept = (struct config_target){.name = NULL};
        object_init(list, kept);
        object_copy(list, kept, &old->targets[i]);
        kept->weight = 0;
    }
}

/* Rows of the class name their VMs at the provider that they were launched with. With its former targets
 * alone, which get no launches, a class could launch nothing. */
static void compare_class(const struct config_class *old, struct config_class *fresh,
                          struct buf *ignored)
{
    bool provider_changed = strcmp(old->provider, fresh->provider) != 0;
    if (provider_changed || (old->target_count > 0 && fresh->target_count == 0)) {
        add_ignored(ignored, "classes[%s].%s, requires a restart", old->name,
                    provider_changed ? "provider: changed" : "targets: all removed");
        object_fini(object_list_named("classes"), fresh);
        *fresh = (struct config_class){.name = NULL};
        copy_class(old, fresh);
    }
    keep_removed_targets(old, fresh);
    fresh->opening = old->opening + (opens_as(old, fresh) ? 0 : 1);
}

/* A class that was removed is handled to the end of its VMs: it stays, retired. */
static void merge_classes(const struct config *old, struct config *fresh, struct buf *ignored)
{
    size_t count = fresh->class_count;
    fresh->classes =
        reallocarray(fresh->classes, count + old->class_count + 1, sizeof fresh->classes[0]);
    ASSERT(fresh->classes != NULL);
    for (size_t i = 0; i < old->class_count; i++) {
        const struct config_class *was = &old->classes[i];
        size_t k = 0;
        while (k < count && strcmp(fresh->classes[k].name, was->name) != 0) {
            k++;
        }
        if (k < count) {
            compare_class(was, &fresh->classes[k], ignored);
            continue;
        }
        struct config_class *kept = &fresh->classes[fresh->class_count++];
        *kept = (struct config_class){.name = NULL};
        copy_class(was, kept);
        kept->max_vms = 0;
    }
}

void config_keep_fixed(const struct config *old, struct config *fresh, struct buf *ignored)
{
    keep_fixed_settings(old, fresh, ignored);
    keep_fixed_lists(old, fresh, ignored);
    merge_classes(old, fresh, ignored);
    config_complete_classes(fresh);
}

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
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        bool fixed = !setting_is_of_class(s) && (s->flags & SETTING_RELOADABLE) == 0;
        if (fixed && !setting_equal(s, old, fresh)) {
            add_ignored(ignored, "%s: changed, requires a restart", s->key);
            setting_copy(s, fresh, old);
        }
    }
}

static bool is_fixed_of_class(const struct setting *s)
{
    return setting_is_of_class(s) && (s->flags & SETTING_RELOADABLE) == 0;
}

/* `to` is empty. */
static void copy_class(const struct config_class *from, struct config_class *to)
{
    const struct setting *s = NULL;
    config_class_init(to);
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (setting_is_of_class(s)) {
            setting_copy(s, config_class_base(s, to), config_class_base(s, from));
        }
    }
    config_class_choose_settings(to);
    to->opening = from->opening;
    to->revision = from->revision;
}

static bool opens_as(const struct config_class *a, const struct config_class *b)
{
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (is_fixed_of_class(s) &&
            !setting_equal(s, config_class_base(s, a), config_class_base(s, b))) {
            return false;
        }
    }
    return a->revision == b->revision;
}

/* Rows of the class name their VMs at the provider that they were launched with. */
static void compare_class(const struct config_class *old, struct config_class *fresh,
                          struct buf *ignored)
{
    if (strcmp(old->provider, fresh->provider) != 0) {
        add_ignored(ignored, "classes[%s].provider: changed, requires a restart", old->name);
        config_class_fini(fresh);
        *fresh = (struct config_class){.name = NULL};
        copy_class(old, fresh);
    }
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
    merge_classes(old, fresh, ignored);
    config_lend_to_classes(fresh);
}

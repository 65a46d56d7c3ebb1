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
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct setting *s = &config_settings[i];
        bool fixed = !setting_is_of_class(s) && (s->flags & SETTING_RELOADABLE) == 0;
        if (fixed && !setting_equal(s, old, fresh)) {
            add_ignored(ignored, "%s: changed, requires a restart", s->key);
            setting_copy(s, fresh, old);
        }
    }
}

/* `to` is empty; it becomes `old` with the reloadable settings of `fresh` (NULL: the class was
 * removed, and nothing changes). */
static void merge_class(const struct config_class *old, const struct config_class *fresh,
                        struct config_class *to, struct buf *ignored)
{
    const struct setting *s = NULL;
    config_class_init(to);
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (!setting_is_of_class(s)) {
            continue;
        }
        bool follows = fresh != NULL && (s->flags & SETTING_RELOADABLE) != 0;
        const void *was = config_class_base(s, old);
        const void *is = fresh != NULL ? config_class_base(s, fresh) : was;
        if (!follows && !setting_equal(s, was, is)) {
            add_ignored(ignored, "classes[%s].%s: changed, requires a restart", old->name,
                        s->key + strlen("classes[]."));
        }
        setting_copy(s, config_class_base(s, to), follows ? is : was);
    }
    config_class_choose_settings(to);
}

/* Keeps the number, names and order of the classes: their threads, lanes and metrics are made at
 * the start. */
static void keep_classes(const struct config *old, struct config *fresh, struct buf *ignored)
{
    struct config_class *merged =
        calloc(old->class_count > 0 ? old->class_count : 1, sizeof *merged);
    const struct config_class *before = NULL;
    bool reordered = false;
    ASSERT(merged != NULL);
    for (size_t i = 0; i < old->class_count; i++) {
        const struct config_class *was = &old->classes[i];
        const struct config_class *is = config_class_by_name(fresh, slice_of(was->name));
        if (is == NULL) {
            add_ignored(ignored, "classes[%s]: removed, requires a restart", was->name);
        } else {
            reordered = reordered || (before != NULL && is < before);
            before = is;
        }
        merge_class(was, is, &merged[i], ignored);
    }
    for (size_t i = 0; i < fresh->class_count; i++) {
        if (config_class_by_name(old, slice_of(fresh->classes[i].name)) == NULL) {
            add_ignored(ignored, "classes[%s]: added, requires a restart", fresh->classes[i].name);
        }
        config_class_fini(&fresh->classes[i]);
    }
    if (reordered) {
        add_ignored(ignored, "classes: their order changed, requires a restart");
    }
    free(fresh->classes);
    fresh->classes = merged;
    fresh->class_count = old->class_count;
}

void config_keep_fixed(const struct config *old, struct config *fresh, struct buf *ignored)
{
    keep_fixed_settings(old, fresh, ignored);
    keep_classes(old, fresh, ignored);
    config_lend_to_classes(fresh);
}

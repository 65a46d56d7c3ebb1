#include <stdio.h>
#include <string.h>

#include "common/config/private.h"

#define PATH_BYTES 256

/* What is required, and what must differ, in an element of the list; path: "classes[2]", "" for the
 * whole configuration. */
static void check_object(struct config_reading *r, const struct object_list *list,
                         const void *object, const char *path);

static void complain_once(struct config_reading *r, const char *path, const char *text)
{
    /* A rejected value is not missing, and one complaint about it is enough. */
    if (!complaints_about(r->complaints, path)) {
        complain(r->complaints, config_tree_line(r->tree, path), path, "%s", text);
    }
}

static void check_required(struct config_reading *r, const struct setting *s, const void *object,
                           const char *path)
{
    char text[256];
    if ((r->who & s->required) != 0 && setting_is_empty(s, object_base(s->key, object))) {
        (void)snprintf(text, sizeof text, "is required: add \"%s\"", s->example);
        complain_once(r, path, text);
    }
}

/* "classes[2].proxy.http" from "classes[2]" and "classes[].proxy.http". */
static void path_below(char out[PATH_BYTES], const char *path, const struct object_list *list,
                       const char *key)
{
    (void)snprintf(out, PATH_BYTES, "%s%s", path, key + strlen(list->key));
}

/* The one before i that has the same value of the setting; i: none. */
static size_t same_before(const struct object_list *list, const void *around, size_t i,
                          const struct setting *s)
{
    const void *mine = object_base(s->key, objects_at(list, around, i));
    for (size_t k = 0; !setting_is_empty(s, mine) && k < i; k++) {
        if (setting_equal(s, object_base(s->key, objects_at(list, around, k)), mine)) {
            return k;
        }
    }
    return i;
}

/* name: "classes" */
static void check_distinct(struct config_reading *r, const struct object_list *list,
                           const void *around, size_t i, struct slice name)
{
    char key[PATH_BYTES];
    char text[PATH_BYTES + 128];
    (void)snprintf(key, sizeof key, "%s.%s", list->key, list->first);
    const struct setting *s = setting_find(key);
    ASSERT(s != NULL);
    size_t before = list->distinct ? same_before(list, around, i, s) : i;
    if (before < i) {
        (void)snprintf(text, sizeof text, "is the %s of %.*s[%zu] too: give each its own",
                       list->first, SLICE_ARG(name), before);
        (void)snprintf(key, sizeof key, "%.*s[%zu].%s", SLICE_ARG(name), i, list->first);
        complain_once(r, key, text);
    }
}

static void check_objects(struct config_reading *r, const struct object_list *list,
                          const void *around, const char *path)
{
    const struct slice name = {path, strlen(path) - strlen("[]")};
    for (size_t i = 0; i < objects_count(list, around); i++) {
        char element[PATH_BYTES];
        (void)snprintf(element, sizeof element, "%.*s[%zu]", SLICE_ARG(name), i);
        check_object(r, list, objects_at(list, around, i), element);
        check_distinct(r, list, around, i, name);
    }
}

static void check_object(struct config_reading *r, const struct object_list *list,
                         const void *object, const char *path)
{
    const struct setting *s = NULL;
    char below[PATH_BYTES];
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (object_list_of(s->key) == list) {
            path_below(below, path, list, s->key);
            check_required(r, s, object, below);
        }
    }
    for (size_t i = 0; i < config_list_count; i++) {
        if (object_list_of(config_lists[i].key) == list) {
            path_below(below, path, list, config_lists[i].key);
            check_objects(r, &config_lists[i], object, below);
        }
    }
}

void config_check_objects(struct config_reading *r)
{
    check_object(r, &config_root, r->config, "");
}

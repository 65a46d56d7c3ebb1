#include "common/config/objects.h"

#include <stdlib.h>
#include <string.h>

#include "common/config/private.h"

const struct object_list config_root = {.key = "", .size = sizeof(struct config)};

/* Whether a row or a list with that key is in the list, or in one in it. */
static bool contains(const struct object_list *list, const char *key)
{
    size_t n = strlen(list->key);
    return n == 0 || (strncmp(key, list->key, n) == 0 && key[n] == '.');
}

const struct object_list *object_list_of(const char *key)
{
    const struct object_list *found = &config_root;
    for (size_t i = 0; i < config_list_count; i++) {
        const struct object_list *list = &config_lists[i];
        if (contains(list, key) && strlen(list->key) > strlen(found->key)) {
            found = list;
        }
    }
    return found;
}

const struct object_list *object_list_named(const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < config_list_count; i++) {
        if (strncmp(config_lists[i].key, key, n) == 0 &&
            strcmp(config_lists[i].key + n, "[]") == 0) {
            return &config_lists[i];
        }
    }
    return NULL;
}

/* What the struct contains is changed only through it. */
static void *drop_const(const void *p)
{
    return (void *)(uintptr_t)p;
}

void *object_base(const char *key, const void *object)
{
    const struct object_list *list = object_list_of(key);
    return list->locate != NULL ? list->locate(key, object) : drop_const(object);
}

/* Pointers to different structs are different types: they are copied. */
static char *items_of(const struct object_list *list, const void *around)
{
    const char *base = object_base(list->key, around);
    char *items = NULL;
    if (base != NULL) {
        memcpy(&items, base + list->items, sizeof items);
    }
    return items;
}

size_t objects_count(const struct object_list *list, const void *around)
{
    const char *base = object_base(list->key, around);
    size_t count = 0;
    if (base != NULL) {
        memcpy(&count, base + list->count, sizeof count);
    }
    return count;
}

void *objects_at(const struct object_list *list, const void *around, size_t i)
{
    ASSERT(i < objects_count(list, around));
    return items_of(list, around) + i * list->size;
}

static void set_items(const struct object_list *list, void *around, char *items, size_t count)
{
    char *base = object_base(list->key, around);
    memcpy(base + list->items, &items, sizeof items);
    memcpy(base + list->count, &count, sizeof count);
}

static void objects_free(const struct object_list *list, void *around)
{
    for (size_t i = 0; i < objects_count(list, around); i++) {
        object_fini(list, objects_at(list, around, i));
    }
    free(items_of(list, around));
}

void objects_make(const struct object_list *list, void *around, size_t n)
{
    char *items = calloc(n > 0 ? n : 1, list->size);
    ASSERT(items != NULL);
    objects_free(list, around);
    set_items(list, around, items, n);
    for (size_t i = 0; i < n; i++) {
        object_init(list, objects_at(list, around, i));
    }
}

void objects_move(const struct object_list *list, void *to, void *from)
{
    objects_free(list, to);
    set_items(list, to, items_of(list, from), objects_count(list, from));
    set_items(list, from, NULL, 0);
}

void object_init(const struct object_list *list, void *object)
{
    const struct setting *s = NULL;
    if (list->init != NULL) {
        list->init(object);
    }
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (object_list_of(s->key) == list) {
            setting_set_default(s, object_base(s->key, object));
        }
    }
}

void object_fini(const struct object_list *list, void *object)
{
    const struct setting *s = NULL;
    for (size_t i = 0; i < config_list_count; i++) {
        if (object_list_of(config_lists[i].key) == list) {
            objects_free(&config_lists[i], object);
        }
    }
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        void *base = object_list_of(s->key) == list ? object_base(s->key, object) : NULL;
        if (base != NULL) {
            setting_clear(s, base);
        }
    }
    if (list->fini != NULL) {
        list->fini(object);
    }
}

static void objects_copy(const struct object_list *list, void *to, const void *from)
{
    size_t n = objects_count(list, from);
    objects_make(list, to, n);
    for (size_t i = 0; i < n; i++) {
        object_copy(list, objects_at(list, to, i), objects_at(list, from, i));
    }
}

void object_copy(const struct object_list *list, void *to, const void *from)
{
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (object_list_of(s->key) == list) {
            setting_copy(s, object_base(s->key, to), object_base(s->key, from));
        }
    }
    for (size_t i = 0; i < config_list_count; i++) {
        if (object_list_of(config_lists[i].key) == list) {
            objects_copy(&config_lists[i], to, from);
        }
    }
}

static bool objects_equal_fixed(const struct object_list *list, const void *a, const void *b)
{
    size_t n = objects_count(list, a);
    bool equal = n == objects_count(list, b);
    for (size_t i = 0; equal && i < n; i++) {
        equal = object_equal_fixed(list, objects_at(list, a, i), objects_at(list, b, i));
    }
    return equal;
}

bool object_equal_fixed(const struct object_list *list, const void *a, const void *b)
{
    const struct setting *s = NULL;
    bool equal = true;
    for (size_t i = 0; equal && (s = setting_at(i)) != NULL; i++) {
        if (object_list_of(s->key) == list && (s->flags & SETTING_RELOADABLE) == 0) {
            equal = setting_equal(s, object_base(s->key, a), object_base(s->key, b));
        }
    }
    for (size_t i = 0; equal && i < config_list_count; i++) {
        if (object_list_of(config_lists[i].key) == list) {
            equal = objects_equal_fixed(&config_lists[i], a, b);
        }
    }
    return equal;
}

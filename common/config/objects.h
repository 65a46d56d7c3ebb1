/*
 * Lists of objects in the configuration: classes[], github.apps[]. Each element is a struct, which
 * rows of the tables of settings fill; so the checks of a value, `env:` and the like, secrets,
 * `auto`, complaints and the reference are those of any other row. Only for the files of this folder
 * and their tests.
 *
 * To add one:
 * 1. Declare the element's struct in config.h, and two members in the struct around it (struct
 *    config, struct config_class, another element, or a provider's): the pointer and a size_t count.
 * 2. Add an entry to config_lists (table_lists.c): its key, and where those members are.
 * 3. Add rows to a table, with keys "<key>.<member>" and offsets in the element's struct. Those of
 *    a list at top level ("sources[].…") also need a section in sections.c.
 * The elements are then read, checked one by one, copied, compared and freed. By SIGHUP an element
 * changes in its reloadable settings; what else differs waits for a restart, unless the list is
 * reloadable. Within a class, a difference opens the class's provider anew (config_class.opening).
 */
#ifndef MAYFLY_CONFIG_OBJECTS_H
#define MAYFLY_CONFIG_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>

struct setting;

struct object_list {
    const char *key; /* "classes[]", "classes[].targets[]" */
    /* The member that an element begins with, in complaints: "- name: …". */
    const char *first;
    bool distinct;   /* no two elements have the same value of it */
    bool reloadable; /* elements may be added and removed by SIGHUP */
    size_t limit;    /* most elements */
    size_t size;     /* of an element's struct */
    /* Of the pointer to the elements and of their number, in the struct around them. */
    size_t items;
    size_t count;
    /* NULL, unless an element has blocks of its own: makes and frees them, and finds the one that
     * contains the key, where it is not the element itself. */
    void (*init)(void *object);
    void (*fini)(void *object);
    void *(*locate)(const char *key, const void *object);
};

extern const struct object_list config_lists[];
extern const size_t config_list_count;
/* What is in no list: the whole configuration. */
extern const struct object_list config_root;

/* The innermost list that a row or a list with that key is in; &config_root: none. */
const struct object_list *object_list_of(const char *key);
/* The list of that key without its brackets ("classes[].targets"); NULL if there is none. */
const struct object_list *object_list_named(const char *key);
/* Where the offsets of a row or a list with that key start, in an element of object_list_of(key);
 * NULL: it is in a block that this element was not given. */
void *object_base(const char *key, const void *object);

/* The elements of a list; `around` is the element (or the configuration) that it is in. */
size_t objects_count(const struct object_list *list, const void *around);
void *objects_at(const struct object_list *list, const void *around, size_t i);
/* n elements with the defaults, in place of those that are there. */
void objects_make(const struct object_list *list, void *around, size_t n);
/* The elements of `from` take the place of those of `to`. */
void objects_move(const struct object_list *list, void *to, void *from);

/* One element, with the lists in it. */
void object_init(const struct object_list *list, void *object); /* of zeros; sets the defaults */
void object_fini(const struct object_list *list, void *object); /* secrets are wiped */
void object_copy(const struct object_list *list, void *to, const void *from); /* to: initialised */
/* Whether all that SIGHUP cannot change is the same. */
bool object_equal_fixed(const struct object_list *list, const void *a, const void *b);

#endif

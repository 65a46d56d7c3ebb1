/*
 * Inside common/config: the table of settings, the text as a tree with line numbers, and the
 * complaints about it. Only for the files of this folder and their tests.
 *
 * yaml.c turns the text into a jansson tree (every scalar a string) and records the line of every
 * path; read.c walks the tree along the table and fills the struct; check.c checks settings that
 * depend on each other. All add complaints to one list, so that an operator sees all of them at
 * once. A complaint never contains the value of a secret, nor one from the environment or a file.
 * One thread per parse.
 */
#ifndef MAYFLY_CONFIG_PRIVATE_H
#define MAYFLY_CONFIG_PRIVATE_H

#include <jansson.h>

#include "common/config/objects.h"
#include "common/config/provider.h"
#include "common/config/setting.h"

#define CONFIG_TEXT_LIMIT_BYTES ((size_t)1 << 20)
#define CONFIG_VALUE_LIMIT_BYTES ((size_t)64 << 10)
#define CONFIG_KEY_LIMIT_BYTES 64
#define CONFIG_DEPTH_LIMIT 12
#define CONFIG_NODE_LIMIT 20000
#define CONFIG_COMPLAINT_LIMIT 100

/* --- the table --- */

struct setting_section {
    const char *name; /* "github", "classes[]"; "" for the top level */
    const char *help;
};

/* The rows of the programs, without the providers': those of the section ingress, and all others. */
extern const struct setting config_settings[];
extern const size_t config_setting_count;
extern const struct setting config_ingress_settings[];
extern const size_t config_ingress_setting_count;
extern const struct setting_section config_sections[];
extern const size_t config_section_count;

/* The i-th row: first those of the programs, then those of the providers; NULL past the last. */
const struct setting *setting_at(size_t i);
/* NULL if there is none. */
const struct setting *setting_find(const char *key);
/* Whether there are settings below `key` ("github", "classes[].proxy", "classes"). */
bool setting_is_section(const char *key);

/* Values: `base` is the struct that contains them. */
void setting_set_default(const struct setting *s, void *base);
void setting_clear(const struct setting *s, void *base);
void setting_copy(const struct setting *s, void *to, const void *from);
bool setting_equal(const struct setting *s, const void *a, const void *b);
bool setting_is_empty(const struct setting *s, const void *base);
/* Stores `value` (a scalar, or one more item of a list). Returns NULL, or the requirement that it
 * violates (in `why`) with *base unchanged. */
const char *setting_read(const struct setting *s, void *base, struct slice value, struct buf *why);
/* "1 to 65535", "`auto`, `kvm`, `tcg`", … for the reference and for complaints. */
void setting_range(const struct setting *s, struct buf *out);

/* Makes config.places from the classes, anew. */
void config_make_places(struct config *c);
void config_free_places(struct config *c);
/* Of the list of classes (objects.h): a class has a block of settings for each provider. */
void config_class_make_blocks(void *class);
void config_class_free_blocks(void *class);
void *config_class_locate(const char *key, const void *class);
/* Gives each class what it has of the whole configuration, and the settings of the provider that
 * it names. */
void config_complete_classes(struct config *c);

/* --- complaints --- */

struct complaint {
    int line;
    char *path;
    char *text;
};

struct complaints {
    struct complaint items[CONFIG_COMPLAINT_LIMIT];
    size_t count;
    size_t left_out; /* past the limit */
};

void complaints_fini(struct complaints *c);
/* path: "" for the text as a whole. The format gives "what: fix". */
PRINTF(4, 5)
void complain(struct complaints *c, int line, const char *path, const char *fmt, ...);
/* Whether there is a complaint about the path, an item of it or a section around it: a further one
 * would add nothing. */
bool complaints_about(const struct complaints *c, const char *path);
/* One per line, by line number: "origin:line: path: what: fix". */
void complaints_render(struct complaints *c, const char *origin, struct buf *out);

/* --- the text as a tree --- */

struct config_tree {
    json_t *root;  /* maps, lists, strings, nulls; NULL when the text could not be read */
    json_t *lines; /* path → line of its key */
};

/* Fills *out (config_tree_fini) as far as the text can be read. Rejects what could make a small
 * text a large tree: aliases, anchors, depth, number of values. */
void config_yaml_read(struct slice text, struct config_tree *out, struct complaints *c);
void config_tree_fini(struct config_tree *t);
/* The line of this path, or of the nearest section around it; at least 1. */
int config_tree_line(const struct config_tree *t, const char *path);

/* --- from tree to struct --- */

struct config_reading {
    const struct config_tree *tree;
    const char *directory; /* base of relative paths */
    unsigned who;          /* FOR_… */
    struct config *config;
    struct complaints *complaints;
    struct complaints *warnings; /* what is allowed, and hardly meant */
};

/* Whether the value is remote: a fetcher must get it. */
bool config_is_remote(const char *written);
/* NULL: none. */
config_fetch_fn *config_fetcher(void);

/* Fills r->config, which holds the defaults, from the tree. */
void config_read_tree(struct config_reading *r);
/* Checks required settings, and settings that depend on each other. */
void config_check(struct config_reading *r);
/* Of that: what is required, and what must differ, in the configuration and in its lists. */
void config_check_objects(struct config_reading *r);
/* Refuses what needs a durable disk, in a task of ECS on Fargate. */
void config_check_fargate(struct config_reading *r);
void config_check_sources(struct config_reading *r); /* sources/sources.c */

/* Appends a fix for the unknown key among the children of `section` ("" for the top level): "did
 * you mean …?", or the list of known keys. */
void config_suggest(struct buf *out, const char *section, const char *key);

/* Moves settings that are not reloadable from `old` into `fresh`; one line in `ignored` (may be
 * NULL) for each change that needs a restart. */
void config_keep_fixed(const struct config *old, struct config *fresh, struct buf *ignored);

struct config *config_new_with_defaults(void);

#endif

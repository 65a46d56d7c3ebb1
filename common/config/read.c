#include "common/config/private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/fs.h"

#define PATH_LIMIT_BYTES 1200

/* A position in the tree: `path` for complaints ("classes[0].proxy"), `section` as in the table
 * ("classes[].proxy"), and the element of a list that it is in (objects.h). */
struct place {
    const char *path;
    const char *section;
    void *object;
};

static void read_map(struct config_reading *r, const struct place *p, const json_t *map);

static void join_key(char *out, const char *section, const char *key)
{
    struct buf b;
    bool top = section[0] == '\0';
    buf_init(&b, PATH_LIMIT_BYTES - 1);
    buf_printf(&b, "%s%s%s", section, top ? "" : ".", key);
    bool fits = slice_to_cstr(buf_slice(&b), out, PATH_LIMIT_BYTES);
    ASSERT(fits && !b.failed);
    buf_fini(&b);
}

static const char *kind_name(const json_t *value)
{
    return json_is_object(value) ? "a map" : json_is_array(value) ? "a list" : "a single value";
}

/* --- sources of a value: env:NAME, file:PATH, credential:NAME, AWS --------------------------------------------- */

static bool is_env_name(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && name[n] == '\0' && (name[0] < '0' || name[0] > '9');
}

static int resolve_env(const char *name, struct buf *out, struct err *e)
{
    if (!is_env_name(name)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "env: needs the name of an environment variable, letters, digits and _: "
                       "write env:NAME");
    }
    const char *value = getenv(name);
    if (value == NULL) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the environment variable %s is not set: set it for this program, or write "
                       "the value here",
                       name);
    }
    buf_append_cstr(out, value);
    return 0;
}

static void append_absolute_path(struct buf *out, const char *directory, const char *path)
{
    if (path[0] != '/' && directory[0] != '\0') {
        buf_printf(out, "%s/", directory);
    }
    buf_append_cstr(out, path);
}

/* Editors end a file with a newline, which is not part of the value. */
static void drop_newline(struct buf *b)
{
    if (b->len > 0 && b->data[b->len - 1] == '\n') {
        b->len--;
    }
    if (b->len > 0 && b->data[b->len - 1] == '\r') {
        b->len--;
    }
    if (b->data != NULL) {
        b->data[b->len] = '\0';
    }
}

static int resolve_file(const struct config_reading *r, const char *path, struct buf *out,
                        struct err *e)
{
    struct buf full;
    if (path[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "file: needs a path: write file:PATH");
    }
    buf_init(&full, CONFIG_VALUE_LIMIT_BYTES + PATH_LIMIT_BYTES);
    append_absolute_path(&full, r->directory, path);
    int failed = fs_read_regular(full.data, out, e);
    buf_fini(&full);
    if (failed != 0) {
        err_wrap(e, "file");
        return -1;
    }
    drop_newline(out);
    if (out->len > 0 && memchr(out->data, '\0', out->len) != NULL) {
        return err_set(e, ERR_PERMANENT, 0, "%s: the file contains a NUL byte: give a text file",
                       path);
    }
    return 0;
}

static bool is_credential(const char *written)
{
    return strncmp(written, "credential:", 11) == 0;
}

/* systemd.exec(5), CREDENTIALS: files in a directory of the unit's own, filled when it starts. */
static const char *credentials_directory(void)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    return directory != NULL && directory[0] == '/' ? directory : NULL;
}

static int resolve_credential(const struct config_reading *r, const char *name, struct buf *out,
                              struct err *e)
{
    const char *directory = credentials_directory();
    struct buf path;
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
        return err_set(e, ERR_PERMANENT, 0,
                       "credential: needs the name of a credential of the systemd unit, not a "
                       "path: write credential:NAME");
    }
    if (directory == NULL) {
        return err_set(e, ERR_PERMANENT, 0,
                       "credential:%s: $CREDENTIALS_DIRECTORY is not set: start the program by a "
                       "systemd unit with LoadCredential=%s:PATH, or write file:PATH",
                       name, name);
    }
    buf_init(&path, CONFIG_VALUE_LIMIT_BYTES + PATH_LIMIT_BYTES);
    buf_printf(&path, "%s/%s", directory, name);
    int failed = resolve_file(r, path.data, out, e);
    buf_fini(&path);
    r->config->has_credentials = true;
    return failed == 0
               ? 0
               : err_wrap(e, "credential:%s: the unit needs LoadCredential=%s:PATH", name, name);
}

static bool is_of_aws(const struct setting *s)
{
    return strncmp(s->key, "aws.", 4) == 0;
}

/* The section aws was read first, so that it is complete. */
static int resolve_remote(const struct config_reading *r, const struct setting *s,
                          const char *written, struct buf *out, struct err *e)
{
    if (is_of_aws(s)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "a setting of aws cannot be stored in AWS: write the value, env:NAME or "
                       "file:PATH");
    }
    return config_fetcher()(&r->config->aws, slice_of(written), out, e);
}

/* Appends the value that `written` stands for. *indirect: it is not the written text itself. */
static int resolve_value(const struct config_reading *r, const struct setting *s,
                         const char *written, struct buf *out, bool *indirect, struct err *e)
{
    bool remote = config_is_remote(written);
    bool env = strncmp(written, "env:", 4) == 0;
    bool file = strncmp(written, "file:", 5) == 0;
    *indirect = env || file || remote || is_credential(written);
    if (remote) {
        return resolve_remote(r, s, written, out, e);
    }
    if (env) {
        return resolve_env(written + 4, out, e);
    }
    if (file) {
        return resolve_file(r, written + 5, out, e);
    }
    if (is_credential(written)) {
        return resolve_credential(r, written + 11, out, e);
    }
    buf_append_cstr(out, written);
    return 0;
}

/* --- one value ------------------------------------------------------------------------------- */

static bool is_reader(const struct config_reading *r, const struct setting *s)
{
    return (s->readers & r->who) != 0;
}

/* Shows the value only if it is in the text and not a secret. */
static void complain_value(struct config_reading *r, const struct setting *s, const char *path,
                           const char *trouble, const char *written, bool indirect)
{
    int line = config_tree_line(r->tree, path);
    bool show = !indirect && (s->flags & SETTING_SECRET) == 0 && strlen(written) <= 80;
    if (show) {
        complain(r->complaints, line, path, "\"%s\" is refused: it %s", written, trouble);
    } else {
        complain(r->complaints, line, path, "the value%s is refused: it %s",
                 indirect ? " found there" : "", trouble);
    }
}

static void make_path_absolute(const struct config_reading *r, const struct setting *s,
                               struct buf *value)
{
    struct buf full;
    if ((s->flags & SETTING_PATH) == 0 || value->len == 0) {
        return;
    }
    buf_init(&full, CONFIG_VALUE_LIMIT_BYTES + PATH_LIMIT_BYTES);
    append_absolute_path(&full, r->directory, value->data);
    buf_fini(value);
    *value = full;
}

/* Without a fetcher a text stays as written, unchecked, so that it is not missing; a number keeps
 * its default. A program that only checks the configuration reports such settings. */
static void leave_unfetched(struct config_reading *r, const struct setting *s,
                            const struct place *p, const char *path, const char *written)
{
    struct buf entry;
    struct buf why;
    struct setting free_form = *s;
    free_form.form = NULL;
    free_form.choices = NULL;
    free_form.min = 0;
    free_form.max = INT64_MAX;
    buf_init(&why, 1024);
    if (s->type == SETTING_TEXT || s->type == SETTING_LIST) {
        (void)setting_read(&free_form, object_base(s->key, p->object), slice_of(written), &why);
    }
    buf_init(&entry, CONFIG_VALUE_LIMIT_BYTES + PATH_LIMIT_BYTES);
    buf_printf(&entry, "%s (%s)", path, written);
    config_list_add(&r->config->unfetched, buf_slice(&entry));
    buf_fini(&entry);
    buf_fini(&why);
}

/* The credentials of GitHub's API, and how it is reached, for a tool that asks it if it can. */
static bool is_wanted(const struct config_reading *r, const struct setting *s)
{
    return (r->who & FOR_CTL_GITHUB) != 0 && (s->readers & FOR_FLEET) != 0 &&
           strncmp(s->key, "github.", 7) == 0;
}

/* What only another program needs is not fetched, and its secrets are not kept in memory. */
static bool is_skipped(const struct config_reading *r, const struct setting *s, const char *written)
{
    return !is_reader(r, s) && !is_wanted(r, s) &&
           ((s->flags & SETTING_SECRET) != 0 || config_is_remote(written));
}

/* What a check of the text alone cannot look up: it needs AWS, or to run in the unit. */
static bool is_unavailable(const struct setting *s, const char *written)
{
    return (config_is_remote(written) && !is_of_aws(s)) ||
           (is_credential(written) && credentials_directory() == NULL);
}

/* Reads a setting's value, or an item of a list. */
static void read_scalar(struct config_reading *r, const struct setting *s, const struct place *p,
                        const char *path, const json_t *json)
{
    struct buf value;
    struct buf why;
    struct err e;
    bool indirect = false;
    const char *written = json_string_value(json);
    if (is_skipped(r, s, written)) {
        return;
    }
    if (config_fetcher() == NULL && is_unavailable(s, written)) {
        leave_unfetched(r, s, p, path, written);
        return;
    }
    buf_init(&value, CONFIG_VALUE_LIMIT_BYTES);
    buf_init(&why, 1024);
    if (resolve_value(r, s, written, &value, &indirect, &e) != 0) {
        if (is_reader(r, s)) {
            complain(r->complaints, config_tree_line(r->tree, path), path, "%s", e.message);
        }
    } else {
        make_path_absolute(r, s, &value);
        const char *trouble =
            value.failed ? "is too long"
                         : setting_read(s, object_base(s->key, p->object), buf_slice(&value), &why);
        if (trouble != NULL && !(is_wanted(r, s) && (s->flags & SETTING_SECRET) != 0)) {
            complain_value(r, s, path, trouble, written, indirect);
        }
    }
    buf_fini(&why);
    if (value.data != NULL && (s->flags & SETTING_SECRET) != 0) {
        explicit_bzero(value.data, value.len);
    }
    buf_fini(&value);
}

static void read_list(struct config_reading *r, const struct setting *s, const struct place *p,
                      const char *path, const json_t *list)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        char item_path[PATH_LIMIT_BYTES + 32];
        struct buf b;
        buf_init(&b, sizeof item_path - 1);
        buf_printf(&b, "%s[%zu]", path, i);
        if (json_is_string(item)) {
            read_scalar(r, s, p, b.data, item);
        } else {
            complain(r->complaints, config_tree_line(r->tree, b.data), b.data,
                     "must be a single value, not %s",
                     json_is_null(item) ? "nothing" : kind_name(item));
        }
        buf_fini(&b);
    }
}

static void read_pair(struct config_reading *r, const struct setting *s, const struct place *p,
                      const char *path, const char *key, const json_t *value)
{
    struct buf pair;
    struct buf pair_path;
    buf_init(&pair_path, PATH_LIMIT_BYTES + CONFIG_VALUE_LIMIT_BYTES);
    buf_printf(&pair_path, "%s.%s", path, key);
    if (!json_is_string(value)) {
        complain(r->complaints, config_tree_line(r->tree, pair_path.data), pair_path.data,
                 "must be a single value, not %s",
                 json_is_null(value) ? "nothing" : kind_name(value));
        buf_fini(&pair_path);
        return;
    }
    buf_init(&pair, (size_t)2 * CONFIG_VALUE_LIMIT_BYTES);
    buf_printf(&pair, "%s=%s", key, json_string_value(value));
    json_t *item = json_stringn(pair.data, pair.len);
    ASSERT(item != NULL);
    read_scalar(r, s, p, pair_path.data, item);
    json_decref(item);
    buf_fini(&pair);
    buf_fini(&pair_path);
}

static void read_pairs(struct config_reading *r, const struct setting *s, const struct place *p,
                       const char *path, const json_t *map)
{
    if (!json_is_object(map)) {
        complain(r->complaints, config_tree_line(r->tree, path), path,
                 "must be a map, not %s: write {key: value, …}", kind_name(map));
        return;
    }
    void *i = json_object_iter((json_t *)(uintptr_t)map);
    while (i != NULL) {
        read_pair(r, s, p, path, json_object_iter_key(i), json_object_iter_value(i));
        i = json_object_iter_next((json_t *)(uintptr_t)map, i);
    }
}

static bool is_auto(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strcmp(text, "auto") == 0;
}

static void read_setting(struct config_reading *r, const struct setting *s, const struct place *p,
                         const char *path, const json_t *value)
{
    int line = config_tree_line(r->tree, path);
    bool list = s->type == SETTING_LIST;
    if (json_is_null(value)) {
        return; /* "key:" without a value: the default */
    }
    if (is_auto(value) && (s->flags & SETTING_AUTO) != 0) {
        config_list_add(&r->config->automatic, slice_of(path));
        return;
    }
    if ((s->flags & SETTING_PAIRS) != 0) {
        read_pairs(r, s, p, path, value);
    } else if (list && !json_is_array(value)) {
        complain(r->complaints, line, path,
                 "must be a list, not %s: put it in brackets, as %s: [one, two]", kind_name(value),
                 strrchr(s->key, '.') != NULL ? strrchr(s->key, '.') + 1 : s->key);
    } else if (list) {
        read_list(r, s, p, path, value);
    } else if (!json_is_string(value)) {
        complain(r->complaints, line, path, "must be a single value, not %s", kind_name(value));
    } else {
        read_scalar(r, s, p, path, value);
    }
}

/* --- walking the tree ------------------------------------------------------------------------- */

static void read_object(struct config_reading *r, const struct object_list *list, void *object,
                        const char *path, const json_t *item)
{
    if (json_is_object(item)) {
        struct place p = {path, list->key, object};
        read_map(r, &p, item);
    } else {
        complain(r->complaints, config_tree_line(r->tree, path), path,
                 "must be a map: write {%s: …, …}", list->first);
    }
}

static void read_objects(struct config_reading *r, const struct object_list *list, void *around,
                         const char *path, const json_t *items)
{
    size_t i;
    const json_t *item;
    int line = config_tree_line(r->tree, path);
    if (json_is_null(items)) {
        return;
    }
    if (!json_is_array(items)) {
        complain(r->complaints, line, path,
                 "must be a list, not %s: begin each element with \"- %s: …\"", kind_name(items),
                 list->first);
        return;
    }
    size_t count = json_array_size(items);
    if (count > list->limit) {
        complain(r->complaints, line, path,
                 "has %zu elements, more than the %zu that are allowed: remove some", count,
                 list->limit);
        return;
    }
    objects_make(list, around, count);
    json_array_foreach(items, i, item)
    {
        char item_path[PATH_LIMIT_BYTES + 32];
        (void)snprintf(item_path, sizeof item_path, "%s[%zu]", path, i);
        read_object(r, list, objects_at(list, around, i), item_path, item);
    }
}

static void complain_unknown(struct config_reading *r, const struct place *p, const char *path,
                             const char *key)
{
    struct buf fix;
    buf_init(&fix, 8192);
    if (strpbrk(key, ".[") != NULL) {
        buf_append_cstr(&fix, "a dot does not make a section: write sections as maps");
    } else if (r->complaints->count < CONFIG_COMPLAINT_LIMIT) {
        config_suggest(&fix, p->section, key); /* costly, and useless if the complaint is not
                                                 * kept */
    }
    complain(r->complaints, config_tree_line(r->tree, path), path, "unknown key: %s",
             fix.len > 0 ? fix.data : "");
    buf_fini(&fix);
}

/* "launch_rate: auto": each of its members is. False if one cannot be. */
static bool read_auto_section(struct config_reading *r, const char *path, const char *known)
{
    const struct setting *s = NULL;
    size_t n = strlen(known);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
            char member[PATH_LIMIT_BYTES];
            if (strncmp(s->key, known, n) != 0 || s->key[n] != '.') {
                continue;
            }
            if ((s->flags & SETTING_AUTO) == 0) {
                return false;
            }
            join_key(member, path, s->key + n + 1);
            if (pass == 1) {
                config_list_add(&r->config->automatic, slice_of(member));
            }
        }
    }
    return true;
}

static void read_member(struct config_reading *r, const struct place *p, const char *key,
                        const json_t *value)
{
    char path[PATH_LIMIT_BYTES];
    char known[PATH_LIMIT_BYTES];
    join_key(path, p->path, key);
    join_key(known, p->section, key);
    bool nests = strpbrk(key, ".[") != NULL;
    const struct setting *s = nests ? NULL : setting_find(known);
    const struct object_list *list = nests ? NULL : object_list_named(known);
    if (s != NULL) {
        read_setting(r, s, p, path, value);
    } else if (list != NULL) {
        read_objects(r, list, p->object, path, value);
    } else if (nests || !setting_is_section(known)) {
        complain_unknown(r, p, path, key);
    } else if (json_is_object(value)) {
        struct place inner = {path, known, p->object};
        read_map(r, &inner, value);
    } else if (!json_is_null(value) && !(is_auto(value) && read_auto_section(r, path, known))) {
        complain(r->complaints, config_tree_line(r->tree, path), path,
                 "must be a map, not %s: write its keys below it, indented", kind_name(value));
    }
}

/* config_read_tree reads the section aws before the others. */
static bool is_read_first(const struct place *p, const char *key)
{
    return p->path[0] == '\0' && strcmp(key, "aws") == 0;
}

static void read_map(struct config_reading *r, const struct place *p, const json_t *map)
{
    void *i = json_object_iter((json_t *)(uintptr_t)map);
    while (i != NULL) {
        if (!is_read_first(p, json_object_iter_key(i))) {
            read_member(r, p, json_object_iter_key(i), json_object_iter_value(i));
        }
        i = json_object_iter_next((json_t *)(uintptr_t)map, i);
    }
}

void config_read_tree(struct config_reading *r)
{
    struct place top = {"", "", r->config};
    if (json_is_object(r->tree->root)) {
        const json_t *aws = json_object_get(r->tree->root, "aws");
        if (aws != NULL) {
            read_member(r, &top, "aws", aws);
        }
        read_map(r, &top, r->tree->root);
    } else if (!json_is_null(r->tree->root)) {
        complain(r->complaints, 1, "", "must be a map of settings, not %s: write \"key: value\"",
                 kind_name(r->tree->root));
    }
}

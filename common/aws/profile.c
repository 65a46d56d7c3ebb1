#include "common/aws/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"
#include "common/base/fs.h"

#define NAME_LIMIT_BYTES 512
#define PATH_LIMIT_BYTES 4096

/* The state of the reader of a text. */
struct reader {
    struct aws_profiles *profiles;
    enum aws_file_kind kind;
    char section[NAME_LIMIT_BYTES]; /* "": a section of other programs */
    char parent[NAME_LIMIT_BYTES];  /* the key that indented lines belong to; "": none */
};

/* --- the table -------------------------------------------------------------------------------- */

static struct aws_profile_entry *find_value(const struct aws_profiles *p, const char *section,
                                            const char *key)
{
    for (size_t i = p->count; i > 0; i--) {
        struct aws_profile_entry *entry = &p->entries[i - 1];
        if (strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* Later entries take precedence because they are found first. */
static bool add_value(struct aws_profiles *p, const char *section, const char *key,
                      struct slice value)
{
    if (p->count >= AWS_PROFILE_ENTRIES_MAX) {
        return false;
    }
    if (p->count == p->capacity) {
        size_t capacity = p->capacity > 0 ? 2 * p->capacity : 32;
        struct aws_profile_entry *entries = realloc(p->entries, capacity * sizeof *entries);
        ASSERT(entries != NULL);
        p->entries = entries;
        p->capacity = capacity;
    }
    p->entries[p->count++] = (struct aws_profile_entry){slice_dup(slice_of(section)),
                                                        slice_dup(slice_of(key)), slice_dup(value)};
    return true;
}

void aws_profiles_fini(struct aws_profiles *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->entries[i].section);
        free(p->entries[i].key);
        explicit_bzero(p->entries[i].value, strlen(p->entries[i].value));
        free(p->entries[i].value);
    }
    free(p->entries);
    *p = (struct aws_profiles){0};
}

/* --- a text ----------------------------------------------------------------------------------- */

static bool is_space_or_tab(char c)
{
    return c == ' ' || c == '\t';
}

/* Removes a comment: '#' or ';' after a space. */
static struct slice without_comment(struct slice s)
{
    for (size_t i = 1; i < s.len; i++) {
        if ((s.ptr[i] == '#' || s.ptr[i] == ';') && is_space_or_tab(s.ptr[i - 1])) {
            s.len = i;
        }
    }
    return slice_trim(s);
}

static struct slice strip_quotes(struct slice s)
{
    bool quoted =
        s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0];
    return quoted ? (struct slice){s.ptr + 1, s.len - 2} : s;
}

/* One name for "[profile x]" of the config file and "[x]" of the credentials file. */
static bool read_section(struct reader *r, struct slice line)
{
    struct slice inside;
    struct slice rest;
    struct slice kind;
    struct slice name;
    struct buf section;
    r->section[0] = '\0';
    r->parent[0] = '\0';
    if (!slice_cut((struct slice){line.ptr + 1, line.len - 1}, ']', &inside, &rest)) {
        return true;
    }
    inside = slice_trim(inside);
    bool two = slice_cut(inside, ' ', &kind, &name);
    buf_init(&section, sizeof r->section - 1);
    if (r->kind == AWS_FILE_CREDENTIALS || (!two && slice_eq_cstr(inside, "default"))) {
        buf_printf(&section, "profile %.*s", SLICE_ARG(strip_quotes(inside)));
    } else if (two && (slice_eq_cstr(kind, "profile") || slice_eq_cstr(kind, "services"))) {
        buf_printf(&section, "%.*s %.*s", SLICE_ARG(kind),
                   SLICE_ARG(strip_quotes(slice_trim(name))));
    }
    bool known = section.len > 0 && !section.failed &&
                 slice_to_cstr(buf_slice(&section), r->section, sizeof r->section);
    buf_fini(&section);
    if (!known) {
        r->section[0] = '\0';
        return true;
    }
    return add_value(r->profiles, r->section, "", SLICE(""));
}

/* In lower case; false if it has characters that keys cannot have. */
static bool lower_key(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c <= ' ' || c >= 0x7f) {
            return false;
        }
        buf_append_byte(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    return text.len > 0 && !out->failed;
}

static bool read_property(struct reader *r, struct slice line, bool nested)
{
    struct slice key;
    struct slice value;
    struct buf name;
    bool ok = true;
    if (r->section[0] == '\0' || (nested && r->parent[0] == '\0') ||
        !slice_cut(line, '=', &key, &value)) {
        return true;
    }
    buf_init(&name, NAME_LIMIT_BYTES - 1);
    if (nested) {
        buf_printf(&name, "%s.", r->parent);
    }
    bool is_key = lower_key(slice_trim(key), &name);
    value = without_comment(value);
    if (is_key && (value.len == 0 || memchr(value.ptr, '\0', value.len) == NULL)) {
        ok = add_value(r->profiles, r->section, name.data, value);
    }
    if (!nested) {
        bool parent = is_key && value.len == 0;
        if (!parent || !slice_to_cstr(buf_slice(&name), r->parent, sizeof r->parent)) {
            r->parent[0] = '\0';
        }
    }
    buf_fini(&name);
    return ok;
}

static bool read_profile_line(struct reader *r, struct slice raw)
{
    struct slice line = slice_trim(raw);
    if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';') {
        return true;
    }
    if (line.ptr[0] == '[') {
        return read_section(r, line);
    }
    return read_property(r, line, is_space_or_tab(raw.ptr[0]));
}

int aws_profiles_parse(struct aws_profiles *p, enum aws_file_kind kind, struct slice text,
                       struct err *e)
{
    struct reader r = {.profiles = p, .kind = kind};
    struct slice rest = text;
    struct slice line;
    bool ok = text.len <= AWS_FILE_LIMIT_BYTES;
    while (ok && rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest);
        ok = read_profile_line(&r, line);
    }
    return ok ? 0
              : err_set(e, ERR_PERMANENT, 0,
                        "it is too large: at most %zu bytes and %d values are allowed",
                        AWS_FILE_LIMIT_BYTES, AWS_PROFILE_ENTRIES_MAX);
}

/* --- the files -------------------------------------------------------------------------------- */

static bool file_path(const char *variable, const char *name, struct buf *out)
{
    const char *path = aws_env(variable);
    const char *home = aws_env("HOME");
    if (path != NULL) {
        buf_append_cstr(out, path);
    } else if (home != NULL) {
        buf_printf(out, "%s/.aws/%s", home, name);
    }
    return out->len > 0 && !out->failed;
}

/* An unreadable file at the default path counts as missing: services are often started with another
 * user's HOME. */
static bool is_absent(const char *variable, const struct err *e)
{
    bool hidden = e->code == EACCES || e->code == EPERM || e->code == ENOTDIR;
    return e->class == ERR_NOT_FOUND || (hidden && aws_env(variable) == NULL);
}

static int load_file(struct aws_profiles *p, enum aws_file_kind kind, const char *variable,
                     const char *name, struct err *e)
{
    struct buf path;
    struct buf text;
    int rc = 0;
    buf_init(&path, PATH_LIMIT_BYTES);
    buf_init(&text, AWS_FILE_LIMIT_BYTES);
    if (file_path(variable, name, &path)) {
        rc = fs_read(path.data, &text, e);
        if (rc == 0 && aws_profiles_parse(p, kind, buf_slice(&text), e) != 0) {
            rc = err_wrap(e, "%s", path.data);
        } else if (rc != 0 && is_absent(variable, e)) {
            rc = 0;
        }
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap);
    }
    buf_fini(&text);
    buf_fini(&path);
    return rc;
}

int aws_profiles_load(struct aws_profiles *out, struct err *e)
{
    struct aws_profiles p = {0};
    if (load_file(&p, AWS_FILE_CONFIG, "AWS_CONFIG_FILE", "config", e) != 0 ||
        load_file(&p, AWS_FILE_CREDENTIALS, "AWS_SHARED_CREDENTIALS_FILE", "credentials", e) != 0) {
        aws_profiles_fini(&p);
        return -1;
    }
    *out = p;
    return 0;
}

/* --- queries ---------------------------------------------------------------------------------- */

static const char *get_value(const struct aws_profiles *p, const char *kind, const char *name,
                             const char *key)
{
    struct buf section;
    const struct aws_profile_entry *entry = NULL;
    buf_init(&section, NAME_LIMIT_BYTES - 1);
    buf_printf(&section, "%s %s", kind, name);
    if (!section.failed) {
        entry = find_value(p, section.data, key);
    }
    buf_fini(&section);
    return entry != NULL && (entry->value[0] != '\0' || key[0] == '\0') ? entry->value : NULL;
}

bool aws_profile_is_there(const struct aws_profiles *p, const char *profile)
{
    return get_value(p, "profile", profile, "") != NULL;
}

const char *aws_profile_get(const struct aws_profiles *p, const char *profile, const char *key)
{
    return get_value(p, "profile", profile, key);
}

const char *aws_profile_endpoint(const struct aws_profiles *p, const char *profile,
                                 const char *service)
{
    const char *found = NULL;
    const char *services = aws_profile_get(p, profile, "services");
    if (services != NULL) {
        struct buf key;
        buf_init(&key, 256);
        buf_printf(&key, "%s.endpoint_url", service);
        found = key.failed ? NULL : get_value(p, "services", services, key.data);
        buf_fini(&key);
    }
    return found != NULL ? found : aws_profile_get(p, profile, "endpoint_url");
}

const char *aws_profile_name(bool *named)
{
    const char *found = aws_defaults_now()->profile;
    if (found[0] == '\0') {
        found = aws_env("AWS_PROFILE");
    }
    if (named != NULL) {
        *named = found != NULL;
    }
    return found != NULL ? found : "default";
}

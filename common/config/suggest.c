#include <string.h>

#include "common/config/edit_distance.h"
#include "common/config/private.h"

/* The component of `key` directly below `section`; empty if it is not below it. */
static struct slice child_of(const char *key, const char *section)
{
    size_t n = strlen(section);
    struct slice child = slice_of(key);
    if (n > 0) {
        if (strncmp(key, section, n) != 0 || key[n] != '.') {
            return (struct slice){NULL, 0};
        }
        child = slice_of(key + n + 1);
    }
    child.len = strcspn(child.ptr, ".[");
    return child;
}

static struct slice last_component(const char *key)
{
    const char *dot = strrchr(key, '.');
    return slice_of(dot != NULL ? dot + 1 : key);
}

/* The distance of a candidate; one that only lacks or adds an ending (batch, batch_size) is
 * near. */
static size_t key_distance(struct slice key, struct slice candidate)
{
    bool begins = key.len >= 3 && candidate.len >= 3 &&
                  (slice_starts_with(candidate, key) || slice_starts_with(key, candidate));
    return begins ? 1 : edit_distance(key, candidate);
}

static void append_known(struct buf *out, const char *section)
{
    struct slice before = {NULL, 0};
    buf_append_cstr(out, "known keys: ");
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        struct slice child = child_of(s->key, section);
        if (child.len > 0 && !slice_eq(child, before)) {
            buf_printf(out, "%s%.*s", before.len > 0 ? ", " : "", SLICE_ARG(child));
            before = child;
        }
    }
}

void config_suggest(struct buf *out, const char *section, const char *unknown)
{
    struct slice w = slice_of(unknown);
    struct slice best = {NULL, 0};
    size_t best_distance = w.len < 6 ? 2 : w.len / 3;
    const char *elsewhere = NULL;
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        const char *key = s->key;
        struct slice child = child_of(key, section);
        size_t d = child.len > 0 ? key_distance(w, child) : SIZE_MAX;
        if (d < best_distance || (d == best_distance && best.len == 0)) {
            best = child;
            best_distance = d;
        }
        if (elsewhere == NULL && slice_eq(last_component(key), w)) {
            elsewhere = key;
        }
    }
    if (best.len > 0) {
        buf_printf(out, "did you mean %.*s?", SLICE_ARG(best));
    } else if (elsewhere != NULL) {
        buf_printf(out, "did you mean %s?", elsewhere);
    } else {
        append_known(out, section);
    }
}

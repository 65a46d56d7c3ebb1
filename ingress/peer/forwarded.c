#include "ingress/peer/forwarded.h"

#include <string.h>

/* More proxies in a row than anyone has. */
#define HOPS_MAX 32

typedef bool node_fn(struct slice element, struct ip_address *out);

void forwarded_lines_add(struct forwarded_lines *l, struct slice value)
{
    if (l->count == FORWARDED_LINES_MAX) {
        memmove(l->lines, l->lines + 1, (FORWARDED_LINES_MAX - 1) * sizeof l->lines[0]);
        l->count--;
    }
    l->lines[l->count++] = value;
}

/* --- one address ------------------------------------------------------------------------------ */

static bool is_all_of(struct slice s, const char *allowed)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || strchr(allowed, s.ptr[i]) == NULL) {
            return false;
        }
    }
    return s.len > 0;
}

/* RFC 7239, 6.3: a number, or an obfuscated name. */
static bool is_port(struct slice s)
{
    return s.len > 0 && s.len <= 64 && (s.ptr[0] == '_' || is_all_of(s, "0123456789"));
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80". */
static bool read_node(struct slice s, struct ip_address *out)
{
    struct slice host = s;
    struct slice rest = {NULL, 0};
    struct ip_address a;
    if (s.len > 0 && s.ptr[0] == '[') {
        struct slice inside = {s.ptr + 1, s.len - 1};
        bool closed = slice_cut(inside, ']', &host, &rest);
        bool port = rest.len > 0 && rest.ptr[0] == ':' &&
                    is_port((struct slice){rest.ptr + 1, rest.len - 1});
        if (!closed || (rest.len > 0 && !port) || memchr(host.ptr, ':', host.len) == NULL) {
            return false;
        }
    } else if (slice_cut(s, ':', &host, &rest) &&
               (rest.len == 0 || memchr(rest.ptr, ':', rest.len) == NULL)) {
        if (!is_port(rest)) {
            return false;
        }
    } else {
        host = s; /* an IPv6 address, or nothing with a colon */
    }
    if (!ip_address_parse(host, &a)) {
        return false;
    }
    *out = ip_address_unmapped(&a);
    return true;
}

/* --- one element of each header ----------------------------------------------------------------- */

/* The value of a pair: a token, or a quoted string without escapes. */
static bool read_value(struct slice s, struct slice *out)
{
    if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"') {
        s = (struct slice){s.ptr + 1, s.len - 2};
    }
    *out = s;
    return s.len == 0 || (memchr(s.ptr, '"', s.len) == NULL && memchr(s.ptr, '\\', s.len) == NULL);
}

/* "for=192.0.2.1;proto=https;by=…": exactly one `for`. */
static bool read_forwarded_element(struct slice element, struct ip_address *out)
{
    size_t found = 0;
    while (element.len > 0) {
        struct slice pair;
        struct slice name;
        struct slice value;
        (void)slice_cut(element, ';', &pair, &element);
        if (!slice_cut(slice_trim(pair), '=', &name, &value) || !read_value(value, &value)) {
            return false;
        }
        if (slice_eq_nocase(name, SLICE("for"))) {
            found++;
            if (!read_node(value, out)) {
                return false;
            }
        }
    }
    return found == 1;
}

/* --- the walk ----------------------------------------------------------------------------------- */

/* Takes the last element. Commas inside of quotes separate too: who sent the left part could
 * otherwise open a quote that swallows what a proxy added, and no address contains a comma. */
static struct slice take_last(struct slice *line, bool *more)
{
    const char *comma = line->len > 0 ? memrchr(line->ptr, ',', line->len) : NULL;
    struct slice last = *line;
    *more = comma != NULL;
    if (comma != NULL) {
        size_t before = (size_t)(comma - line->ptr);
        last = (struct slice){comma + 1, line->len - before - 1};
        line->len = before;
    }
    return slice_trim(last);
}

/* From `client`, a trusted proxy, to the left. Whether one that is not trusted was found; *client is
 * it, or the last proxy. */
static bool walk(const struct ip_prefixes *trusted, const struct forwarded_lines *lines,
                 node_fn *read, struct ip_address *client)
{
    size_t hops = 0;
    for (size_t i = lines->count; i > 0; i--) {
        struct slice rest = lines->lines[i - 1];
        for (bool more = true; more; hops++) {
            struct ip_address a = {.v6 = false};
            if (hops == HOPS_MAX || !read(take_last(&rest, &more), &a)) {
                return false;
            }
            *client = a;
            if (!ip_prefixes_contain(trusted, &a)) {
                return true;
            }
        }
    }
    return false;
}

enum forwarded_client forwarded_client(const struct ip_prefixes *trusted,
                                       const struct ip_address *peer,
                                       const struct forwarded_lines *forwarded,
                                       const struct forwarded_lines *x_forwarded_for,
                                       struct ip_address *client)
{
    *client = ip_address_unmapped(peer);
    if (!ip_prefixes_contain(trusted, client)) {
        return FORWARDED_PEER;
    }
    struct ip_address by_x = *client;
    struct ip_address by_f = *client;
    bool x_names = walk(trusted, x_forwarded_for, read_node, &by_x);
    bool f_names = walk(trusted, forwarded, read_forwarded_element, &by_f);
    if (x_names && f_names && !ip_address_eq(&by_x, &by_f)) {
        return FORWARDED_NOBODY;
    }
    *client = f_names || (!x_names && forwarded->count > 0) ? by_f : by_x;
    return x_names || f_names ? FORWARDED_NAMED : FORWARDED_NOBODY;
}

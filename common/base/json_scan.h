/*
 * Finds a few members of a JSON text in one pass, for many texts from outside: it allocates nothing
 * and needs no library.
 *
 * The whole text is checked (RFC 8259: grammar and UTF-8), and the raw text of the members that a
 * table names is returned. As JSON allows, a number may have any size, and a string may contain NUL
 * or half of a surrogate pair: what of that is no value is for the reader of that member to refuse,
 * and no reason to refuse a text in which nobody reads it. Rejected beyond the RFC: nesting over
 * JSON_DEPTH_MAX, and members of the table that occur twice. Otherwise it accepts what jansson does,
 * with the same members and values (tests/fuzz/fuzz_scan.c). Pure functions, any thread; slices
 * borrow from the text.
 */
#ifndef MAYFLY_BASE_JSON_SCAN_H
#define MAYFLY_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/slice.h"

#define JSON_DEPTH_MAX 64

struct json_keys;

struct json_key {
    struct slice key;
    size_t member;                  /* index of its value in `members`; unique in the table */
    const struct json_keys *inside; /* members to find if the value is an object; NULL: none */
};

/* The members to find in one object. */
struct json_keys {
    const struct json_key *items;
    size_t count;
};

/* {JSON_KEY("id"), MEMBER_ID, NULL} */
#define JSON_KEY(text)                                                                             \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }

/* Scans a text whose outermost value must be an object. members: `count` slices; each becomes the
 * raw JSON text of its value, or empty if the member is absent. If the text is rejected, returns
 * false, *reason says why (static text for metrics and logs) and the members are unspecified. */
MUST_CHECK bool json_scan(struct slice text, const struct json_keys *keys, struct slice *members,
                          size_t count, const char **reason);

/* The elements of a scanned array of strings, raw. False if it is not an array, if an element is
 * not a string, or if there are more than max. */
MUST_CHECK bool json_scan_strings(struct slice array, struct slice *out, size_t max, size_t *n);

/* Whether a scanned value is a string. */
static inline bool json_is_text(struct slice raw)
{
    return raw.len >= 2 && raw.ptr[0] == '"';
}

/* Appends the text of a scanned string, its escapes decoded: at most raw.len - 2 bytes. Half of a
 * surrogate pair becomes U+FFFD. */
void json_text(struct slice raw, struct buf *out);

#endif

/*
 * One pass over a JSON text that finds a few members, for texts that come from outside and in
 * numbers: nothing is allocated, and no library is needed.
 *
 * The whole text is checked (RFC 8259: grammar, UTF-8, escapes, number ranges), and the raw text of
 * the members that a table names is remembered. It is stricter than jansson, never laxer: whatever
 * it accepts, jansson accepts, with the same members and values (tests/fuzz/fuzz_scan.c). Refused
 * beyond jansson's rules: nesting over JSON_DEPTH_MAX, members of the table that stand twice, and
 * escapes in the keys of the objects that the table looks into. Pure functions, any thread; slices
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
    size_t member;                  /* where its value goes; each at one place of the table */
    const struct json_keys *inside; /* looked into, if the value is an object; NULL: not */
};

/* The members that are wanted of one object. */
struct json_keys {
    const struct json_key *items;
    size_t count;
};

/* {JSON_KEY("id"), MEMBER_ID, NULL} */
#define JSON_KEY(text)                                                                             \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }

/* Scans a text whose outermost value must be an object. members: `count` places, those of members
 * that are not there become empty, the others the raw JSON text of the value. On refusal false,
 * *reason says why (static text for metrics and logs) and the members are of no use. */
MUST_CHECK bool json_scan(struct slice text, const struct json_keys *keys, struct slice *members,
                          size_t count, const char **reason);

/* The elements of a scanned array of strings, raw. False if it is no array, if an element is no
 * string, or if there are more than max. */
MUST_CHECK bool json_scan_strings(struct slice array, struct slice *out, size_t max, size_t *n);

/* Whether a scanned value is a string. */
static inline bool json_is_text(struct slice raw)
{
    return raw.len >= 2 && raw.ptr[0] == '"';
}

/* Appends the text of a scanned string, its escapes decoded: at most raw.len - 2 bytes. */
void json_text(struct slice raw, struct buf *out);

#endif

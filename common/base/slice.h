/*
 * A slice: borrowed bytes with their length, not terminated.
 *
 * Slices go in by value and never own what they point to; the bytes must outlive the slice. An
 * empty slice may have a null pointer. Parsing is bounded by the length and rejects text that it
 * does not understand completely. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_BASE_SLICE_H
#define MAYFLY_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

struct slice {
    const char *ptr;
    size_t len;
};

/* The two arguments of printf's "%.*s"; the length is truncated to INT_MAX. */
#define SLICE_ARG(s) (int)((s).len > 0x7fffffff ? 0x7fffffff : (s).len), ((s).ptr ? (s).ptr : "")
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})

/* The whole of a terminated string; NULL gives the empty slice. Borrows. */
struct slice slice_of(const char *cstr);

bool slice_eq(struct slice a, struct slice b);
bool slice_eq_cstr(struct slice a, const char *b);
/* ASCII case folded, as GitHub compares labels and owners. */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);

/* Without ASCII white space at both ends. */
struct slice slice_trim(struct slice s);

/* Cuts at the first `sep`: *head is the part before it, *tail the part after it. Returns whether
 * `sep` was found; if not, *head is all of s and *tail is empty. */
bool slice_cut(struct slice s, char sep, struct slice *head, struct slice *tail);

/* Decimal with an optional minus, nothing else, in range. Otherwise returns false and leaves *out
 * unchanged. */
MUST_CHECK bool slice_to_int64(struct slice s, int64_t *out);
/* The same within these bounds: for a number from outside that is used in arithmetic. */
MUST_CHECK bool slice_to_range(struct slice s, int64_t least, int64_t most, int64_t *out);

/* Writes a number in decimal and terminates it; returns its length. */
#define SLICE_INT64_SIZE 24
size_t slice_write_int64(char out[SLICE_INT64_SIZE], int64_t n);

/* Copies at most size-1 bytes and terminates. Returns false, with out "", if s does not fit or
 * contains a NUL. size >= 1. */
MUST_CHECK bool slice_to_cstr(struct slice s, char *out, size_t size);

/* Copies a text and terminates it. One that does not fit ends at the end of a word, with "...".
 * size >= 8. */
void slice_shorten(const char *text, char *out, size_t size);

/* A terminated heap copy, owned by the caller. Aborts when out of memory. */
char *slice_dup(struct slice s);

#endif

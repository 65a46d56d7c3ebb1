/*
 * A growing byte buffer with a maximum size.
 *
 * Each buffer is created with its maximum size. An append that would exceed it adds nothing and
 * sets `failed`; the flag stays set, so that a sequence of appends needs one check at its end.
 * `data` is always terminated by a NUL that `len` does not count. Not thread-safe.
 */
#ifndef MAYFLY_BASE_BUF_H
#define MAYFLY_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t limit_bytes;
    bool failed; /* an append would have exceeded limit_bytes */
};

void buf_init(struct buf *b, size_t limit_bytes);
void buf_fini(struct buf *b); /* safe on a zeroed buffer, and to call twice */

/* Empties the buffer and clears `failed`; keeps the memory. */
void buf_reset(struct buf *b);

/* Allocates capacity for `more` bytes at once, ahead of many small appends. */
void buf_reserve(struct buf *b, size_t more);

void buf_append(struct buf *b, struct slice s);
void buf_append_cstr(struct buf *b, const char *s);
void buf_append_byte(struct buf *b, char c);
void buf_append_int(struct buf *b, int64_t n); /* in decimal */
PRINTF(2, 3) void buf_printf(struct buf *b, const char *fmt, ...);

/* Appends s as a JSON string with its quotes; bytes that are not valid UTF-8 become U+FFFD. */
void buf_append_json(struct buf *b, struct slice s);

/* A view of the content, valid until the next change. */
struct slice buf_slice(const struct buf *b);

/* Moves the terminated content out (owned by the caller, free()); the buffer is empty after. */
char *buf_take(struct buf *b);

#endif

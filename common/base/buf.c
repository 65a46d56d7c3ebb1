#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t limit_bytes)
{
    ASSERT(limit_bytes > 0 && limit_bytes < SIZE_MAX / 4);
    *b = (struct buf){.limit_bytes = limit_bytes};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

/* Ensures capacity for `more` bytes and the NUL; false if that exceeds the limit. */
static bool grow_for(struct buf *b, size_t more)
{
    if (b->failed || more > b->limit_bytes - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + more + 1;
    if (need <= b->cap) {
        return true;
    }
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < need) {
        cap *= 2;
    }
    char *data = realloc(b->data, cap);
    ASSERT(data != NULL);
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_reserve(struct buf *b, size_t more)
{
    (void)grow_for(b, more);
}

void buf_append(struct buf *b, struct slice s)
{
    if (!grow_for(b, s.len)) {
        return;
    }
    if (s.len > 0) {
        memcpy(b->data + b->len, s.ptr, s.len);
    }
    b->len += s.len;
    b->data[b->len] = '\0';
}

void buf_append_cstr(struct buf *b, const char *s)
{
    buf_append(b, slice_of(s));
}

void buf_append_byte(struct buf *b, char c)
{
    buf_append(b, (struct slice){&c, 1});
}

void buf_append_int(struct buf *b, int64_t n)
{
    char digits[SLICE_INT64_SIZE];
    buf_append(b, (struct slice){digits, slice_write_int64(digits, n)});
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if (!grow_for(b, (size_t)n)) {
        return;
    }
    va_start(ap, fmt);
    n = vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->data, b->len};
}

char *buf_take(struct buf *b)
{
    char *data = b->data != NULL ? b->data : slice_dup((struct slice){NULL, 0});
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    return data;
}

#include "common/payload/layers.h"

#include <string.h>

#include "common/base/codec.h"

/* Shorter runs gain nothing, and plain words look like base64 too. */
#define RUN_MIN_BYTES 40

void varint_put(struct buf *out, uint64_t value)
{
    while (value >= 0x80) {
        buf_append_byte(out, (char)(0x80 | (value & 0x7f)));
        value >>= 7;
    }
    buf_append_byte(out, (char)value);
}

bool varint_get(struct slice *in, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 5 && i < in->len; i++) {
        unsigned char c = (unsigned char)in->ptr[i];
        value |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            in->ptr += i + 1;
            in->len -= i + 1;
            *out = value;
            return true;
        }
    }
    return false;
}

bool slice_get(struct slice *in, uint64_t n, struct slice *out)
{
    if (n > in->len) {
        return false;
    }
    *out = (struct slice){in->ptr, (size_t)n};
    if (n > 0) {
        in->ptr += n;
        in->len -= (size_t)n;
    }
    return true;
}

static void put_head(struct buf *plan, enum layer_kind kind, size_t len)
{
    varint_put(plan, (uint64_t)len << 2 | (uint64_t)kind);
}

static void put_text_segment(struct buf *plan, struct slice text)
{
    put_head(plan, LAYER_TEXT, text.len);
    buf_append(plan, text);
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* The length of the base64 run at the start of text, with up to two padding characters. */
static size_t base64_run_length(struct slice text)
{
    size_t n = 0;
    while (n < text.len && is_base64(text.ptr[n])) {
        n++;
    }
    for (int pad = 0; n > 0 && pad < 2 && n < text.len && text.ptr[n] == '='; pad++) {
        n++;
    }
    return n;
}

static bool is_plain_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

struct strip {
    enum layers_style style;
    struct buf *tail;
};

static size_t strip_segments(const struct strip *st, struct slice text, struct buf *plan,
                             int depth);

/* Appends a segment for bytes whose base64 is in the text. */
static void put_decoded(const struct strip *st, struct slice bytes, struct buf *plan, int depth)
{
    if (depth < LAYERS_DEPTH_MAX && is_plain_text(bytes)) {
        struct buf inner;
        buf_init(&inner, plan->limit_bytes);
        size_t count = strip_segments(st, bytes, &inner, depth);
        put_head(plan, LAYER_NESTED, count);
        buf_append(plan, buf_slice(&inner));
        plan->failed = plan->failed || inner.failed;
        buf_fini(&inner);
    } else if (st->style == LAYERS_TAIL) {
        put_head(plan, LAYER_TAIL, bytes.len);
        buf_append(st->tail, bytes);
    } else {
        put_head(plan, LAYER_BYTES, bytes.len);
        buf_append(plan, bytes);
    }
}

/* Appends the segments of text and returns how many. */
static size_t strip_segments(const struct strip *st, struct slice text, struct buf *plan, int depth)
{
    size_t count = 0;
    size_t literal = 0; /* where the text not yet written begins */
    struct buf bytes;
    buf_init(&bytes, text.len + 1);
    for (size_t at = 0; at < text.len;) {
        size_t n = base64_run_length((struct slice){text.ptr + at, text.len - at});
        buf_reset(&bytes);
        if (n < RUN_MIN_BYTES || !codec_unbase64(&bytes, (struct slice){text.ptr + at, n})) {
            at += n > 0 ? n : 1;
            continue;
        }
        if (at > literal) {
            put_text_segment(plan, (struct slice){text.ptr + literal, at - literal});
            count++;
        }
        put_decoded(st, buf_slice(&bytes), plan, depth + 1);
        count++;
        at += n;
        literal = at;
    }
    if (literal < text.len) {
        put_text_segment(plan, (struct slice){text.ptr + literal, text.len - literal});
        count++;
    }
    buf_fini(&bytes);
    return count;
}

void layers_strip(struct slice text, enum layers_style style, struct buf *plan, struct buf *tail)
{
    const struct strip st = {style, tail};
    if (style == LAYERS_NONE) {
        put_text_segment(plan, text);
        return;
    }
    struct buf inner;
    buf_init(&inner, plan->limit_bytes);
    size_t count = strip_segments(&st, text, &inner, 0);
    put_head(plan, LAYER_NESTED, count);
    buf_append(plan, buf_slice(&inner));
    plan->failed = plan->failed || inner.failed;
    buf_fini(&inner);
}

struct expand {
    struct slice *plan;
    struct slice *tail;
};

static bool expand_segment(const struct expand *ex, struct buf *out, int depth);

static bool expand_nested(const struct expand *ex, uint64_t count, struct buf *out, int depth)
{
    /* A segment has at least one byte, which bounds an invalid count. */
    if (count > ex->plan->len) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!expand_segment(ex, out, depth)) {
            return false;
        }
    }
    return !out->failed;
}

static bool expand_nested_base64(const struct expand *ex, uint64_t count, struct buf *out,
                                 int depth)
{
    struct buf inner;
    if (depth > LAYERS_DEPTH_MAX) {
        return false;
    }
    buf_init(&inner, out->limit_bytes);
    bool ok = expand_nested(ex, count, &inner, depth);
    if (ok) {
        codec_base64(out, buf_slice(&inner));
    }
    buf_fini(&inner);
    return ok && !out->failed;
}

static bool expand_segment(const struct expand *ex, struct buf *out, int depth)
{
    uint64_t head;
    struct slice bytes;
    if (!varint_get(ex->plan, &head)) {
        return false;
    }
    enum layer_kind kind = (enum layer_kind)(head & 3);
    if (kind == LAYER_NESTED) {
        return expand_nested_base64(ex, head >> 2, out, depth + 1);
    }
    if (!slice_get(kind == LAYER_TAIL ? ex->tail : ex->plan, head >> 2, &bytes)) {
        return false;
    }
    if (kind == LAYER_TEXT) {
        buf_append(out, bytes);
    } else {
        codec_base64(out, bytes);
    }
    return !out->failed;
}

bool layers_expand(struct slice *plan, struct slice *tail, struct buf *out)
{
    const struct expand ex = {plan, tail};
    uint64_t head;
    struct slice bytes;
    if (!varint_get(plan, &head)) {
        return false;
    }
    if ((head & 3) == LAYER_NESTED) {
        return expand_nested(&ex, head >> 2, out, 0);
    }
    if ((head & 3) != LAYER_TEXT || !slice_get(plan, head >> 2, &bytes)) {
        return false;
    }
    buf_append(out, bytes);
    return !out->failed;
}

#include "deploy/image/agent/agent_json.h"

#include <string.h>

#include "common/base/buf.h"

static void skip_space(struct slice *in)
{
    while (in->len > 0 &&
           (in->ptr[0] == ' ' || in->ptr[0] == '\t' || in->ptr[0] == '\n' || in->ptr[0] == '\r')) {
        in->ptr++;
        in->len--;
    }
}

static bool take_char(struct slice *in, char c)
{
    if (in->len == 0 || in->ptr[0] != c) {
        return false;
    }
    in->ptr++;
    in->len--;
    return true;
}

/* White space before it does not matter. */
static bool take_mark(struct slice *in, char c)
{
    skip_space(in);
    return take_char(in, c);
}

/* --- strings ------------------------------------------------------------------------------------
 */

static bool take_hex4(struct slice *in, unsigned *out)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = in->len > 0 ? in->ptr[0] : '\0';
        const char *at = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
        if (at == NULL) {
            return false;
        }
        value = value * 16 + (unsigned)(at - digits);
        in->ptr++;
        in->len--;
    }
    *out = value;
    return true;
}

static void append_utf8(struct buf *out, unsigned c)
{
    if (c < 0x80) {
        buf_append_byte(out, (char)c);
        return;
    }
    if (c < 0x800) {
        buf_append_byte(out, (char)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            buf_append_byte(out, (char)(0xe0 | c >> 12));
        } else {
            buf_append_byte(out, (char)(0xf0 | c >> 18));
            buf_append_byte(out, (char)(0x80 | (c >> 12 & 0x3f)));
        }
        buf_append_byte(out, (char)(0x80 | (c >> 6 & 0x3f)));
    }
    buf_append_byte(out, (char)(0x80 | (c & 0x3f)));
}

/* What follows "\u"; half a surrogate pair is no character. */
static bool take_unicode(struct slice *in, struct buf *out)
{
    unsigned high, low;
    if (!take_hex4(in, &high) || (high >= 0xdc00 && high < 0xe000)) {
        return false;
    }
    if (high < 0xd800 || high >= 0xe000) {
        append_utf8(out, high);
        return true;
    }
    if (!take_char(in, '\\') || !take_char(in, 'u') || !take_hex4(in, &low) || low < 0xdc00 ||
        low >= 0xe000) {
        return false;
    }
    append_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    return true;
}

static bool take_escape(struct slice *in, struct buf *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (in->len == 0) {
        return false;
    }
    char c = in->ptr[0];
    in->ptr++;
    in->len--;
    if (c == 'u') {
        return take_unicode(in, out);
    }
    const char *at = c == '\0' ? NULL : strchr(names, c);
    if (at == NULL) {
        return false;
    }
    buf_append_byte(out, values[at - names]);
    return true;
}

/* out is reset first. */
static bool take_string(struct slice *in, struct buf *out)
{
    buf_reset(out);
    if (!take_mark(in, '"')) {
        return false;
    }
    while (in->len > 0) {
        char c = in->ptr[0];
        if ((unsigned char)c < 0x20) {
            return false;
        }
        in->ptr++;
        in->len--;
        if (c == '"') {
            return !out->failed;
        }
        if (c != '\\') {
            buf_append_byte(out, c);
        } else if (!take_escape(in, out)) {
            return false;
        }
    }
    return false;
}

/* --- other values -------------------------------------------------------------------------------
 */

static bool take_word(struct slice *in)
{
    static const struct slice words[] = {{"true", 4}, {"false", 5}, {"null", 4}};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (slice_starts_with(*in, words[i])) {
            in->ptr += words[i].len;
            in->len -= words[i].len;
            return true;
        }
    }
    return false;
}

static size_t skip_digits(struct slice *in)
{
    size_t n = 0;
    while (in->len > 0 && in->ptr[0] >= '0' && in->ptr[0] <= '9') {
        in->ptr++;
        in->len--;
        n++;
    }
    return n;
}

static bool take_number(struct slice *in)
{
    (void)take_char(in, '-');
    bool zero = in->len > 0 && in->ptr[0] == '0';
    size_t whole = skip_digits(in);
    if (whole == 0 || (zero && whole > 1) || (take_char(in, '.') && skip_digits(in) == 0)) {
        return false;
    }
    if (take_char(in, 'e') || take_char(in, 'E')) {
        if (!take_char(in, '+')) {
            (void)take_char(in, '-');
        }
        return skip_digits(in) > 0;
    }
    return true;
}

/* Passes over any value without recursion: `open` holds the brackets that are not closed yet. */
struct walk {
    char open[JSON_DEPTH_MAX];
    size_t depth;
    struct buf *scratch;
};

static bool take_key(struct slice *in, struct walk *w)
{
    return take_string(in, w->scratch) && take_mark(in, ':');
}

/* A scalar, or the beginning of an object or array; *out_opened tells which. */
static bool take_front(struct slice *in, struct walk *w, bool *out_opened)
{
    *out_opened = false;
    skip_space(in);
    char c = in->len > 0 ? in->ptr[0] : '\0';
    if (c == '"') {
        return take_string(in, w->scratch);
    }
    if (c != '{' && c != '[') {
        return take_word(in) || take_number(in);
    }
    if (w->depth == JSON_DEPTH_MAX) {
        return false;
    }
    (void)take_char(in, c);
    w->open[w->depth++] = c == '{' ? '}' : ']';
    if (take_mark(in, w->open[w->depth - 1])) {
        w->depth--;
        return true;
    }
    *out_opened = true;
    return c == '[' || take_key(in, w);
}

/* Behind a value: closing brackets, then a comma if anything is still open. */
static bool take_back(struct slice *in, struct walk *w)
{
    while (w->depth > 0 && take_mark(in, w->open[w->depth - 1])) {
        w->depth--;
    }
    if (w->depth == 0) {
        return true;
    }
    return take_mark(in, ',') && (w->open[w->depth - 1] == ']' || take_key(in, w));
}

static bool skip_value(struct slice *in, struct buf *scratch)
{
    struct walk w = {.depth = 0, .scratch = scratch};
    bool opened;
    do {
        if (!take_front(in, &w, &opened) || (!opened && !take_back(in, &w))) {
            return false;
        }
    } while (w.depth > 0);
    return true;
}

/* --- the object ---------------------------------------------------------------------------------
 */

struct texts {
    struct buf key;
    struct buf value;
};

static bool take_member(struct slice *in, struct texts *t, json_member_fn *fn, void *ctx)
{
    if (!take_string(in, &t->key) || !take_mark(in, ':')) {
        return false;
    }
    skip_space(in);
    bool is_text = in->len > 0 && in->ptr[0] == '"';
    if (is_text ? !take_string(in, &t->value) : !skip_value(in, &t->value)) {
        return false;
    }
    return fn(ctx, buf_slice(&t->key), is_text ? buf_slice(&t->value) : SLICE(""), is_text);
}

static bool take_object(struct slice *in, struct texts *t, json_member_fn *fn, void *ctx)
{
    if (!take_mark(in, '{')) {
        return false;
    }
    if (take_mark(in, '}')) {
        return true;
    }
    do {
        if (!take_member(in, t, fn, ctx)) {
            return false;
        }
    } while (take_mark(in, ','));
    return take_mark(in, '}');
}

bool agent_json_object(struct slice in, json_member_fn *fn, void *ctx)
{
    struct texts t;
    buf_init(&t.key, JSON_TEXT_MAX);
    buf_init(&t.value, JSON_TEXT_MAX);
    bool ok = take_object(&in, &t, fn, ctx);
    skip_space(&in);
    if (t.value.data != NULL) {
        explicit_bzero(t.value.data, t.value.cap); /* a payload is a secret */
    }
    buf_fini(&t.key);
    buf_fini(&t.value);
    return ok && in.len == 0;
}

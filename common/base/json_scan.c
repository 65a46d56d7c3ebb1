#include "common/base/json_scan.h"

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define NO_CHARACTER 0xfffd /* U+FFFD, in its place */

struct scan {
    const char *end;
    struct slice *members;
    const char *reason;
    bool escaped; /* a string since it was last cleared had a backslash */
};

/* Each function takes the position to read at and returns the position after what it read. NULL
 * rejects the text; the first one to reject it sets the reason. */
static const char *reject_text(struct scan *s, const char *reason)
{
    s->reason = reason;
    return NULL;
}

static const char *not_json(struct scan *s)
{
    return reject_text(s, "not_json");
}

static const char *skip_space(const struct scan *s, const char *p)
{
    /* GitHub writes none, so one comparison is nearly always enough. */
    while (p < s->end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* One multi-byte sequence (RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF). */
static const char *skip_utf8(struct scan *s, const char *p)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c >= 0xc2 && c < 0xe0   ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || (size_t)(s->end - p) < n) {
        return not_json(s);
    }
    for (size_t i = 1; i < n; i++) {
        if (!is_continuation(p[i])) {
            return not_json(s);
        }
    }
    unsigned char second = (unsigned char)p[1];
    bool overlong = (c == 0xe0 && second < 0xa0) || (c == 0xf0 && second < 0x90);
    bool outside = (c == 0xed && second > 0x9f) || (c == 0xf4 && second > 0x8f);
    return overlong || outside ? not_json(s) : p + n;
}

/* The four hex digits of a \u escape; -1 if they are invalid. */
static int32_t hex4(const struct scan *s, const char *p)
{
    int32_t value = 0;
    if (s->end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int32_t digit = is_digit(c)            ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

static const char escape_names[] = "\"\\/bfnrt";
static const char escape_values[] = "\"\\/\b\f\n\r\t";

/* p: the backslash. */
static const char *skip_escape(struct scan *s, const char *p)
{
    p++;
    if (p >= s->end) {
        return not_json(s);
    }
    if (*p == 'u') {
        return hex4(s, p + 1) < 0 ? not_json(s) : p + 5;
    }
    /* memchr over the letters only: a NUL is not an escape. */
    return memchr(escape_names, *p, 8) != NULL ? p + 1 : not_json(s);
}

/* The index of the first special byte in a step of text: a quote, a backslash, a control character
 * or anything over 0x7f; STEP_BYTES if there is none. */
#if defined(__SSE2__)
#define STEP_BYTES 32
static unsigned special_of_16(const char *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    /* A signed comparison: bytes over 0x7f are negative, and so less than a space too. */
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), low));
}

/* Two at a time: nearly every key ends within them, so the loop's end is well predicted. */
static size_t first_special(const char *p)
{
    unsigned flags = special_of_16(p) | special_of_16(p + 16) << 16;
    return flags != 0 ? (size_t)__builtin_ctz(flags) : STEP_BYTES;
}
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define STEP_BYTES 8
/* The top bit of a byte flags it. A borrow can set flags only above a byte that is correctly
 * flagged, so the lowest flag is exact. */
static size_t first_special(const char *p)
{
    const uint64_t ones = 0x0101010101010101U;
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t quote = word ^ ones * '"';
    uint64_t slash = word ^ ones * '\\';
    uint64_t flags = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
                     ((word - ones * 0x20) & ~word) | word;
    flags &= ones * 0x80;
    return flags != 0 ? (size_t)__builtin_ctzll(flags) >> 3 : STEP_BYTES;
}
#endif

/* Skips ordinary bytes of a string, many at a time. */
static const char *skip_plain(const struct scan *s, const char *p)
{
#ifdef STEP_BYTES
    while (s->end - p >= STEP_BYTES) {
        size_t n = first_special(p);
        p += n;
        if (n < STEP_BYTES) {
            return p;
        }
    }
#endif
    while (p < s->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 &&
           (unsigned char)*p < 0x80) {
        p++;
    }
    return p;
}

/* p: the opening quote. */
static const char *skip_string(struct scan *s, const char *p)
{
    p++;
    for (;;) {
        p = skip_plain(s, p);
        if (p >= s->end) {
            return not_json(s);
        }
        if (*p == '"') {
            return p + 1;
        }
        if (*p == '\\') {
            s->escaped = true;
            p = skip_escape(s, p);
        } else if ((unsigned char)*p >= 0x80) {
            p = skip_utf8(s, p);
        } else {
            return not_json(s);
        }
        if (p == NULL) {
            return NULL;
        }
    }
}

static const char *skip_digits(const struct scan *s, const char *p)
{
    while (p < s->end && is_digit(*p)) {
        p++;
    }
    return p;
}

/* At least one digit. */
static const char *skip_some_digits(struct scan *s, const char *digits)
{
    const char *p = skip_digits(s, digits);
    return p == digits ? not_json(s) : p;
}

/* Of any size: what its range must be is for those to say who use its value. */
static const char *skip_number(struct scan *s, const char *p)
{
    const char *digits = *p == '-' ? p + 1 : p;
    p = skip_some_digits(s, digits);
    if (p != NULL && *digits == '0' && p - digits > 1) {
        return not_json(s);
    }
    if (p != NULL && p < s->end && *p == '.') {
        p = skip_some_digits(s, p + 1);
    }
    if (p != NULL && p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < s->end && (*p == '-' || *p == '+')) {
            p++;
        }
        p = skip_some_digits(s, p);
    }
    return p;
}

static const char *skip_word(struct scan *s, const char *p, struct slice word)
{
    if ((size_t)(s->end - p) < word.len || memcmp(p, word.ptr, word.len) != 0) {
        return not_json(s);
    }
    return p + word.len;
}

/* The character of a checked escape; *p, at its backslash, moves behind it. */
static int32_t take_escape(const struct scan *s, const char **p)
{
    const char *name = *p + 1;
    if (*name == 'u') {
        *p += 6;
        return hex4(s, name + 1);
    }
    *p += 2;
    return escape_values[(const char *)memchr(escape_names, *name, 8) - escape_names];
}

/* Compares a key of the text, in which there are escapes, with one of the table, which is ASCII. */
static bool is_escaped_key(const struct scan *s, struct slice raw, struct slice key)
{
    const char *end = raw.ptr + raw.len;
    size_t n = 0;
    for (const char *p = raw.ptr; p < end; n++) {
        int32_t c = *p == '\\' ? take_escape(s, &p) : *p++;
        if (n >= key.len || c != key.ptr[n]) {
            return false;
        }
    }
    return n == key.len;
}

/* Most keys differ in their length or their first letter. */
static bool is_key(struct slice raw, struct slice key)
{
    return raw.len == key.len && raw.ptr[0] == key.ptr[0] && memcmp(raw.ptr, key.ptr, key.len) == 0;
}

static const struct json_key *find_key(const struct scan *s, const struct json_keys *keys,
                                       struct slice key)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct json_key *k = &keys->items[i];
        if (s->escaped ? is_escaped_key(s, key, k->key) : is_key(key, k->key)) {
            return k;
        }
    }
    return NULL;
}

static const char *scan_value(struct scan *s, const char *p, int depth,
                              const struct json_keys *keys);

/* The value of a key of the table. */
static const char *scan_known(struct scan *s, const char *p, int depth, const struct json_key *w)
{
    struct slice *kept = &s->members[w->member];
    if (kept->ptr != NULL) {
        return reject_text(s, "duplicate_member");
    }
    kept->ptr = p;
    p = scan_value(s, p, depth, w->inside);
    if (p != NULL) {
        kept->len = (size_t)(p - kept->ptr);
    }
    return p;
}

/* p: the key's opening quote. Reads `key : value`. */
static const char *scan_member(struct scan *s, const char *p, int depth,
                               const struct json_keys *keys)
{
    const struct json_key *w = NULL;
    const char *key = p + 1;
    s->escaped = false;
    p = skip_string(s, p);
    if (p == NULL) {
        return NULL;
    }
    if (keys != NULL) {
        w = find_key(s, keys, (struct slice){key, (size_t)(p - 1 - key)});
    }
    p = skip_space(s, p);
    if (p >= s->end || *p != ':') {
        return not_json(s);
    }
    p = skip_space(s, p + 1);
    return w != NULL ? scan_known(s, p, depth, w) : scan_value(s, p, depth, NULL);
}

/* p: the opening brace. */
static const char *scan_object(struct scan *s, const char *p, int depth,
                               const struct json_keys *keys)
{
    p = skip_space(s, p + 1);
    if (p < s->end && *p == '}') {
        return p + 1;
    }
    for (;;) {
        if (p >= s->end || *p != '"') {
            return not_json(s);
        }
        p = scan_member(s, p, depth, keys);
        if (p == NULL) {
            return NULL;
        }
        p = skip_space(s, p);
        if (p >= s->end || (*p != ',' && *p != '}')) {
            return not_json(s);
        }
        if (*p == '}') {
            return p + 1;
        }
        p = skip_space(s, p + 1);
    }
}

/* p: the opening bracket. */
static const char *scan_array(struct scan *s, const char *p, int depth)
{
    p = skip_space(s, p + 1);
    if (p < s->end && *p == ']') {
        return p + 1;
    }
    for (;;) {
        p = scan_value(s, p, depth, NULL);
        if (p == NULL) {
            return NULL;
        }
        p = skip_space(s, p);
        if (p >= s->end || (*p != ',' && *p != ']')) {
            return not_json(s);
        }
        if (*p == ']') {
            return p + 1;
        }
        p = skip_space(s, p + 1);
    }
}

static const char *scan_nested(struct scan *s, const char *p, int depth,
                               const struct json_keys *keys)
{
    if (depth >= JSON_DEPTH_MAX) {
        return reject_text(s, "too_deep");
    }
    return *p == '{' ? scan_object(s, p, depth + 1, keys) : scan_array(s, p, depth + 1);
}

static const char *scan_value(struct scan *s, const char *p, int depth,
                              const struct json_keys *keys)
{
    if (p >= s->end) {
        return not_json(s);
    }
    switch (*p) {
    case '"':
        return skip_string(s, p);
    case '{':
    case '[':
        return scan_nested(s, p, depth, keys);
    case 't':
        return skip_word(s, p, SLICE("true"));
    case 'f':
        return skip_word(s, p, SLICE("false"));
    case 'n':
        return skip_word(s, p, SLICE("null"));
    default:
        return *p == '-' || is_digit(*p) ? skip_number(s, p) : not_json(s);
    }
}

bool json_scan(struct slice text, const struct json_keys *keys, struct slice *members, size_t count,
               const char **reason)
{
    struct scan s = {.members = members, .reason = "not_json"};
    const char *p = NULL;
    memset(members, 0, count * sizeof members[0]);
    if (text.len > 0) {
        s.end = text.ptr + text.len;
        p = skip_space(&s, text.ptr);
    }
    if (p != NULL && (p >= s.end || *p != '{')) {
        p = NULL;
    }
    if (p != NULL) {
        p = scan_value(&s, p, 0, keys);
    }
    if (p != NULL && skip_space(&s, p) != s.end) {
        p = not_json(&s);
    }
    if (p == NULL) {
        *reason = s.reason;
    }
    return p != NULL;
}

bool json_scan_strings(struct slice array, struct slice *out, size_t max, size_t *n)
{
    struct scan s = {.reason = ""};
    *n = 0;
    if (array.len < 2 || array.ptr[0] != '[') {
        return false;
    }
    s.end = array.ptr + array.len;
    const char *p = skip_space(&s, array.ptr + 1);
    while (p < s.end && *p != ']') {
        const char *end = *p == '"' && *n < max ? skip_string(&s, p) : NULL;
        if (end == NULL) {
            return false;
        }
        out[(*n)++] = (struct slice){p, (size_t)(end - p)};
        p = skip_space(&s, end);
        if (p < s.end && *p == ',') {
            p = skip_space(&s, p + 1);
        }
    }
    return true;
}

/* --- the text of a string --------------------------------------------------------------------- */

static void append_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(out, (char)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    uint32_t flags = 0xf00U >> (more + 1) & 0xff; /* one bit for each byte of the sequence */
    buf_append_byte(out, (char)(flags | c >> 6 * more));
    while (more-- > 0) {
        buf_append_byte(out, (char)(0x80 | (c >> 6 * more & 0x3f)));
    }
}

/* p: at the backslash of a checked escape. Half of a surrogate pair is no character. */
static const char *append_escape(struct buf *out, const char *p, const char *end)
{
    const struct scan s = {.end = end};
    int32_t c = take_escape(&s, &p);
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int32_t low = hex4(&s, p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        }
    }
    append_utf8(out, c >= 0xd800 && c < 0xe000 ? NO_CHARACTER : (uint32_t)c);
    return p;
}

void json_text(struct slice raw, struct buf *out)
{
    ASSERT(json_is_text(raw));
    const char *p = raw.ptr + 1;
    const char *end = raw.ptr + raw.len - 1;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        const char *run_end = slash != NULL ? slash : end;
        buf_append(out, (struct slice){p, (size_t)(run_end - p)});
        p = slash != NULL ? append_escape(out, slash, end) : end;
    }
}

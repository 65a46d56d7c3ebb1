#include "common/base/slice.h"

#include <stdlib.h>
#include <string.h>

struct slice slice_of(const char *cstr)
{
    return (struct slice){cstr, cstr ? strlen(cstr) : 0};
}

bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool slice_eq_cstr(struct slice a, const char *b)
{
    return slice_eq(a, slice_of(b));
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (to_lower(a.ptr[i]) != to_lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static bool is_ascii_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && is_ascii_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_ascii_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

bool slice_cut(struct slice s, char sep, struct slice *head, struct slice *tail)
{
    const char *at = s.len > 0 ? memchr(s.ptr, sep, s.len) : NULL;
    if (at == NULL) {
        *head = s;
        *tail = (struct slice){NULL, 0};
        return false;
    }
    size_t before = (size_t)(at - s.ptr);
    *head = (struct slice){s.ptr, before};
    *tail = (struct slice){at + 1, s.len - before - 1};
    return true;
}

bool slice_to_int64(struct slice s, int64_t *out)
{
    size_t i = 0;
    bool negative = s.len > 0 && s.ptr[0] == '-';
    int64_t value = 0;
    if (negative) {
        i = 1;
    }
    if (i == s.len) {
        return false;
    }
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        /* Accumulated as a negative number, since -INT64_MIN does not fit an int64_t. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, (int64_t)(s.ptr[i] - '0'), &value)) {
            return false;
        }
    }
    if (!negative && value == INT64_MIN) {
        return false;
    }
    *out = negative ? value : -value;
    return true;
}

bool slice_to_range(struct slice s, int64_t least, int64_t most, int64_t *out)
{
    int64_t value;
    if (!slice_to_int64(s, &value) || value < least || value > most) {
        return false;
    }
    *out = value;
    return true;
}

size_t slice_write_int64(char out[SLICE_INT64_SIZE], int64_t n)
{
    char digits[SLICE_INT64_SIZE];
    size_t at = sizeof digits;
    /* The magnitude as unsigned, since -INT64_MIN overflows. */
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (n < 0) {
        digits[--at] = '-';
    }
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at - 1;
}

bool slice_to_cstr(struct slice s, char *out, size_t size)
{
    ASSERT(size > 0);
    out[0] = '\0';
    if (s.len >= size || (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL)) {
        return false;
    }
    if (s.len > 0) {
        memcpy(out, s.ptr, s.len);
    }
    out[s.len] = '\0';
    return true;
}

#define CUT_MARK "..."

/* Where a text of which `room` bytes fit ends: after its last whole word, unless that would leave
 * less than half of it; never inside a UTF-8 sequence. */
static size_t end_of_words(const char *text, size_t room)
{
    size_t end = room;
    while (end > room / 2 && text[end] != ' ' && text[end] != '\n') {
        end--;
    }
    if (end == room / 2) {
        end = room;
        while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80) {
            end--;
        }
    }
    while (end > 0 && text[end - 1] == ' ') {
        end--;
    }
    return end;
}

void slice_shorten(const char *text, char *out, size_t size)
{
    size_t len = strlen(text);
    bool fits = len < size;
    ASSERT(size >= 8);
    len = fits ? len : end_of_words(text, size - sizeof CUT_MARK);
    memcpy(out, text, len);
    memcpy(out + len, fits ? "" : CUT_MARK, fits ? 1 : sizeof CUT_MARK);
}

char *slice_dup(struct slice s)
{
    char *copy = malloc(s.len + 1);
    ASSERT(copy != NULL);
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return copy;
}

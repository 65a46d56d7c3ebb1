#include "common/base/printable.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at the start of s, 0 if there is none (RFC 3629). */
static size_t utf8_length(struct slice s)
{
    unsigned char c = (unsigned char)s.ptr[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 0;
    if (c >= 0xf0 && c <= 0xf4) {
        n = 4;
    }
    if (n == 0 || n > s.len) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    unsigned char second = n > 2 ? (unsigned char)s.ptr[1] : 0;
    bool overlong = (c == 0xe0 && second < 0xa0) || (c == 0xf0 && second < 0x90);
    bool outside = (c == 0xed && second > 0x9f) || (c == 0xf4 && second > 0x8f);
    return n > 2 && (overlong || outside) ? 0 : n;
}

/* Of a valid sequence of one to three bytes; longer ones, of which none is escaped, give 0xffff. */
static unsigned code_point(const char *at, size_t n)
{
    const unsigned char *u = (const unsigned char *)at;
    switch (n) {
    case 1:
        return u[0];
    case 2:
        return (u[0] & 0x1fU) << 6 | (u[1] & 0x3fU);
    case 3:
        return (u[0] & 0x0fU) << 12 | (u[1] & 0x3fU) << 6 | (u[2] & 0x3fU);
    default:
        return 0xffff;
    }
}

/* The bidirectional ones are those of Unicode's property Bidi_Control. */
static bool is_control(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void append_control(struct buf *b, unsigned c)
{
    static const char short_form[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (c < sizeof short_form && short_form[c] != 0) {
        buf_append_byte(b, '\\');
        buf_append_byte(b, short_form[c]);
    } else {
        buf_printf(b, "\\u%04x", c);
    }
}

/* How many bytes at the start of s are printable ASCII that JSON does not escape. */
static size_t plain_length(struct slice s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= ' ' && s.ptr[n] <= '~' && s.ptr[n] != '"' && s.ptr[n] != '\\') {
        n++;
    }
    return n;
}

static void append_escaped(struct buf *b, struct slice s, bool for_json)
{
    for (;;) {
        size_t plain = plain_length(s);
        buf_append(b, (struct slice){s.ptr, plain});
        s.ptr += plain;
        s.len -= plain;
        if (s.len == 0) {
            return;
        }
        size_t n = utf8_length(s);
        unsigned c = n > 0 ? code_point(s.ptr, n) : 0;
        if (n == 0) {
            buf_append(b, SLICE("\xef\xbf\xbd"));
            n = 1;
        } else if (is_control(c)) {
            append_control(b, c);
        } else {
            if (for_json && (c == '"' || c == '\\')) {
                buf_append_byte(b, '\\');
            }
            buf_append(b, (struct slice){s.ptr, n});
        }
        s.ptr += n;
        s.len -= n;
    }
}

size_t printable_unfinished(struct slice s)
{
    for (size_t n = 1; n <= 3 && n <= s.len; n++) {
        unsigned char c = (unsigned char)s.ptr[s.len - n];
        size_t wanted = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (c < 0x80 || c >= 0xc0) {
            return wanted > n ? n : 0;
        }
    }
    return 0;
}

void printable_append(struct buf *b, struct slice s)
{
    append_escaped(b, s, false);
}

void buf_append_json(struct buf *b, struct slice s)
{
    buf_append_byte(b, '"');
    append_escaped(b, s, true);
    buf_append_byte(b, '"');
}

static void write_line(FILE *to, struct slice line)
{
    struct buf shown;
    buf_init(&shown, line.len * PRINTABLE_GROWTH + 1);
    printable_append(&shown, line);
    (void)fprintf(to, "%s\n", shown.len > 0 ? shown.data : "");
    buf_fini(&shown);
}

void printable_line(FILE *to, const char *fmt, ...)
{
    char *line = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&line, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    write_line(to, (struct slice){line, (size_t)n});
    free(line);
}

void printable_lines(FILE *to, struct slice text)
{
    struct slice line;
    while (text.len > 0) {
        (void)slice_cut(text, '\n', &line, &text);
        write_line(to, line);
    }
}

int printable_end(const char *program, int code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return code;
    }
    printable_line(stderr, "%s: cannot write the whole answer to standard output: %s", program,
                   strerror(errno));
    return code != 0 ? code : 1;
}

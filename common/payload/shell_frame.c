#include "common/payload/shell_frame.h"

#include <stdio.h>
#include <string.h>

#define CELLS_MAX 10000
#define OPEN_TEXT 128
#define SIZE_TEXT 32

size_t shell_bytes_left(const struct shell_bytes *b)
{
    return sizeof b->data - b->len;
}

void shell_bytes_drop(struct shell_bytes *b, size_t n)
{
    ASSERT(n <= b->len);
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

bool shell_frame_put(struct shell_bytes *out, enum shell_type type, unsigned char session,
                     struct slice body)
{
    ASSERT(body.len <= SHELL_BODY_MAX);
    if (shell_bytes_left(out) < SHELL_HEAD_BYTES + body.len) {
        return false;
    }
    char *at = out->data + out->len;
    at[0] = (char)type;
    at[1] = (char)session;
    at[2] = (char)(body.len >> 8);
    at[3] = (char)(body.len & 0xff);
    if (body.len > 0) {
        memcpy(at + SHELL_HEAD_BYTES, body.ptr, body.len);
    }
    out->len += SHELL_HEAD_BYTES + body.len;
    return true;
}

static bool is_type(char c)
{
    static const char types[] = {SHELL_OPEN,    SHELL_DATA,   SHELL_INPUT_END,
                                 SHELL_RESIZE,  SHELL_CLOSE,  SHELL_TAKEN,
                                 SHELL_STARTED, SHELL_EXITED, SHELL_FAILED};
    return memchr(types, c, sizeof types) != NULL;
}

enum shell_parsed shell_frame_parse(const struct shell_bytes *in, struct shell_frame *out,
                                    size_t *used)
{
    if (in->len < SHELL_HEAD_BYTES) {
        return in->len > 0 && !is_type(in->data[0]) ? SHELL_INVALID : SHELL_INCOMPLETE;
    }
    size_t len = (size_t)(unsigned char)in->data[2] << 8 | (unsigned char)in->data[3];
    if (!is_type(in->data[0]) || len > SHELL_BODY_MAX) {
        return SHELL_INVALID;
    }
    if (in->len < SHELL_HEAD_BYTES + len) {
        return SHELL_INCOMPLETE;
    }
    *out = (struct shell_frame){.type = (enum shell_type)in->data[0],
                                .session = (unsigned char)in->data[1],
                                .body = {in->data + SHELL_HEAD_BYTES, len}};
    *used = SHELL_HEAD_BYTES + len;
    return SHELL_PARSED;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static bool read_cells(struct slice rows, struct slice columns, int64_t *out_rows,
                       int64_t *out_columns)
{
    return slice_to_range(rows, 0, CELLS_MAX, out_rows) &&
           slice_to_range(columns, 0, CELLS_MAX, out_columns);
}

static bool is_term(const char *text)
{
    static const char others[] = "+-._";
    for (const char *c = text; *c != '\0'; c++) {
        bool word =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!word && strchr(others, *c) == NULL) {
            return false;
        }
    }
    return text[0] != '\0';
}

static bool is_printable(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return text[0] != '\0';
}

struct slice shell_open_write(const struct shell_open *o, char *out)
{
    int n = snprintf(out, OPEN_TEXT, "%s %d %d %s %s", o->terminal ? "terminal" : "pipe",
                     (int)o->rows, (int)o->columns, is_term(o->term) ? o->term : "dumb",
                     is_printable(o->who) ? o->who : "-");
    ASSERT(n > 0 && n < OPEN_TEXT);
    return (struct slice){out, (size_t)n};
}

bool shell_open_read(struct slice body, struct shell_open *out)
{
    struct slice words[5];
    struct shell_open o = {.terminal = false};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        (void)slice_cut(body, ' ', &words[i], &body);
    }
    o.terminal = slice_eq_cstr(words[0], "terminal");
    if ((!o.terminal && !slice_eq_cstr(words[0], "pipe")) || body.len > 0 ||
        !read_cells(words[1], words[2], &o.rows, &o.columns) ||
        !slice_to_cstr(words[3], o.term, sizeof o.term) || !is_term(o.term) ||
        !slice_to_cstr(words[4], o.who, sizeof o.who) || !is_printable(o.who)) {
        return false;
    }
    *out = o;
    return true;
}

struct slice shell_size_write(int64_t rows, int64_t columns, char *out)
{
    int n = snprintf(out, SIZE_TEXT, "%d %d", (int)rows, (int)columns);
    ASSERT(n > 0 && n < SIZE_TEXT);
    return (struct slice){out, (size_t)n};
}

bool shell_size_read(struct slice body, int64_t *rows, int64_t *columns)
{
    struct slice first;
    (void)slice_cut(body, ' ', &first, &body);
    return read_cells(first, body, rows, columns);
}

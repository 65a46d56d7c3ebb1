#include "deploy/ctl/cli/screen.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/printable.h"

#define SCREEN_LIMIT_BYTES ((size_t)4 << 20)
#define LINE_LIMIT_BYTES ((size_t)64 << 10)
#define COLUMNS_MAX 10000
#define RESET "\033[0m"

static const char *const styles[] = {
    [STYLE_PLAIN] = "",        [STYLE_BOLD] = "\033[1m",  [STYLE_DIM] = "\033[2m",
    [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m",
};

static size_t columns_of_environment(void)
{
    int64_t columns = 0;
    const char *text = getenv("COLUMNS");
    return text != NULL && slice_to_range(slice_of(text), 1, COLUMNS_MAX, &columns)
               ? (size_t)columns
               : 0;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

void screen_init(struct screen *s)
{
    struct winsize size = {0};
    const char *term = getenv("TERM");
    *s = (struct screen){.is_terminal = isatty(STDOUT_FILENO) == 1,
                         .columns = columns_of_environment()};
    if (s->is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        s->columns = s->columns > 0 ? s->columns : size.ws_col;
        s->rows = size.ws_row;
    }
    s->color = s->is_terminal && !is_set("NO_COLOR") && term != NULL && strcmp(term, "dumb") != 0;
    buf_init(&s->out, SCREEN_LIMIT_BYTES);
    buf_init(&s->line, LINE_LIMIT_BYTES);
}

void screen_fini(struct screen *s)
{
    buf_fini(&s->out);
    buf_fini(&s->line);
}

void screen_add(struct screen *s, enum screen_style style, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    bool styled = s->color && style != STYLE_PLAIN;
    buf_append_cstr(&s->line, styled ? styles[style] : "");
    printable_append(&s->line, (struct slice){text, (size_t)n});
    buf_append_cstr(&s->line, styled ? RESET : "");
    free(text);
}

void screen_end_line(struct screen *s)
{
    s->lines++;
    screen_fit(&s->out, buf_slice(&s->line), s->columns);
    buf_append_byte(&s->out, '\n');
    buf_reset(&s->line);
}

/* --- width --- */

struct range {
    uint32_t first;
    uint32_t last;
};

/* Unicode's East Asian Width, W and F, and the pictographs that terminals show as wide; by blocks. */
static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x2705, 0x2705},
    {0x274c, 0x274c},   {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},
    {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xa960, 0xa97c},   {0xac00, 0xd7a3},
    {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
    {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};
/* What joins the character before it. */
static const struct range joining[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x064b, 0x065f},   {0x200b, 0x200d},
    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0x1f3fb, 0x1f3ff}, {0xe0100, 0xe01ef},
};

static bool is_in(uint32_t c, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c >= ranges[i].first && c <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

static size_t columns_of(uint32_t c)
{
    if (is_in(c, joining, COUNT_OF(joining))) {
        return 0;
    }
    return is_in(c, wide, COUNT_OF(wide)) ? 2 : 1;
}

/* Removes the next character, or a whole colour sequence, from the text; *columns: what it takes. The
 * text is valid UTF-8: it was made printable. */
static struct slice next_piece(struct slice *text, size_t *columns)
{
    const unsigned char *at = (const unsigned char *)text->ptr;
    size_t n = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t c = at[0] < 0x80 ? at[0] : at[0] & (0xffU >> (n + 1));
    if (at[0] == '\033') {
        const char *end = memchr(text->ptr, 'm', text->len);
        n = end != NULL ? (size_t)(end - text->ptr) + 1 : text->len;
        *columns = 0;
    } else {
        n = n < text->len ? n : text->len;
        for (size_t i = 1; i < n; i++) {
            c = c << 6 | (at[i] & 0x3fU);
        }
        *columns = columns_of(c);
    }
    struct slice piece = {text->ptr, n};
    *text = (struct slice){text->ptr + n, text->len - n};
    return piece;
}

size_t screen_width(struct slice text)
{
    size_t width = 0;
    while (text.len > 0) {
        size_t columns = 0;
        (void)next_piece(&text, &columns);
        width += columns;
    }
    return width;
}

void screen_fit(struct buf *out, struct slice text, size_t columns)
{
    size_t used = 0;
    bool colored = false;
    if (columns == 0 || screen_width(text) <= columns) {
        buf_append(out, text);
        return;
    }
    for (;;) {
        size_t takes = 0;
        struct slice piece = next_piece(&text, &takes);
        if (used + takes > columns - 1) { /* the last one is the ellipsis */
            break;
        }
        colored = colored || piece.ptr[0] == '\033';
        used += takes;
        buf_append(out, piece);
    }
    buf_append_cstr(out, "…");
    buf_append_cstr(out, colored ? RESET : "");
}

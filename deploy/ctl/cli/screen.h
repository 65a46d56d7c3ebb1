/*
 * Lines for a person: as wide as the terminal, with colour if it is one that has some.
 *
 * Lines longer than the screen are cut, with an ellipsis; wide characters count two columns,
 * combining ones none. What is added is made printable first (printable.h). One thread.
 */
#ifndef MAYFLY_DEPLOY_CTL_CLI_SCREEN_H
#define MAYFLY_DEPLOY_CTL_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"

enum screen_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WARN, STYLE_BAD };

struct screen {
    bool is_terminal;
    bool color;
    size_t columns; /* 0: no limit */
    size_t rows;    /* 0: no limit; more lines than that are left out, and counted */
    size_t lines;
    struct buf out;  /* whole lines */
    struct buf line; /* the present one */
};

/* Of standard output: the width is COLUMNS, else the terminal's, else none. No colour with NO_COLOR,
 * TERM=dumb, or where no terminal is. */
void screen_init(struct screen *s);
void screen_fini(struct screen *s);

PRINTF(3, 4) void screen_add(struct screen *s, enum screen_style style, const char *fmt, ...);
void screen_end_line(struct screen *s);

/* Columns that a text takes; escape sequences of colours take none. */
size_t screen_width(struct slice text);
/* Appends the text, cut to so many columns (0: whole). */
void screen_fit(struct buf *out, struct slice text, size_t columns);

#endif

#include "common/config/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void complaints_fini(struct complaints *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->items[i].path);
        free(c->items[i].text);
    }
    c->count = 0;
}

void complain(struct complaints *c, int line, const char *path, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    if (c->count == CONFIG_COMPLAINT_LIMIT) {
        c->left_out++;
        return;
    }
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    c->items[c->count++] = (struct complaint){
        .line = line, .path = slice_dup(slice_of(path)), .text = slice_dup(slice_of(text))};
}

/* "github.app" encloses "github.app.id", "classes" encloses "classes[0]". */
static bool encloses(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    return n == 0 || (strncmp(outer, inner, n) == 0 &&
                      (inner[n] == '\0' || inner[n] == '.' || inner[n] == '['));
}

bool complaints_about(const struct complaints *c, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < c->count; i++) {
        const char *about = c->items[i].path;
        bool item = strncmp(path, about, n) == 0 && about[n] == '[';
        if (item || encloses(about, path)) {
            return true;
        }
    }
    return false;
}

/* Stable (insertion sort): complaints about one line stay in the order they were made. */
static void sort_by_line(struct complaints *c)
{
    for (size_t i = 1; i < c->count; i++) {
        struct complaint moving = c->items[i];
        size_t at = i;
        for (; at > 0 && c->items[at - 1].line > moving.line; at--) {
            c->items[at] = c->items[at - 1];
        }
        c->items[at] = moving;
    }
}

void complaints_render(struct complaints *c, const char *origin, struct buf *out)
{
    sort_by_line(c);
    for (size_t i = 0; i < c->count; i++) {
        const struct complaint *x = &c->items[i];
        buf_printf(out, "%s%s:%d: %s%s%s", i > 0 ? "\n" : "", origin, x->line, x->path,
                   x->path[0] != '\0' ? ": " : "", x->text);
    }
    if (c->left_out > 0) {
        buf_printf(out, "\n%s: and %zu more complaints", origin, c->left_out);
    }
}

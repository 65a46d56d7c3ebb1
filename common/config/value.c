#include "common/config/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/quantity.h"

/* The setting's member, by its type. The offsets come from offsetof of that member, so the
 * alignment is right. */
static char **text_at(const struct setting *s, void *base)
{
    return (char **)(void *)((char *)base + s->offset);
}

static int64_t *whole_at(const struct setting *s, void *base)
{
    return (int64_t *)(void *)((char *)base + s->offset);
}

static double *number_at(const struct setting *s, void *base)
{
    return (double *)(void *)((char *)base + s->offset);
}

static bool *bool_at(const struct setting *s, void *base)
{
    return (bool *)(void *)((char *)base + s->offset);
}

static struct config_list *list_at(const struct setting *s, void *base)
{
    return (struct config_list *)(void *)((char *)base + s->offset);
}

/* For callers that only read through the accessors above. */
static void *drop_const(const void *base)
{
    union {
        const void *in;
        void *out;
    } u = {base};
    return u.out;
}

static bool is_choice(const char *choices, struct slice value)
{
    struct slice rest = slice_of(choices);
    struct slice choice;
    bool more = true;
    while (more) {
        more = slice_cut(rest, ' ', &choice, &rest);
        if (slice_eq(choice, value)) {
            return true;
        }
    }
    return false;
}

static bool has_control_character(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* The requirement that a text (a TEXT, or an item of a LIST) violates; NULL if none. */
static const char *text_trouble(const struct setting *s, struct slice value, struct buf *why)
{
    if (s->choices != NULL && !is_choice(s->choices, value)) {
        buf_append_cstr(why, "must be one of ");
        setting_range(s, why);
        return why->data;
    }
    if ((s->flags & SETTING_LINES) == 0 && has_control_character(value)) {
        buf_append_cstr(why, "must not contain line breaks or control characters: remove them");
        return why->data;
    }
    bool empty_is_fine = value.len == 0 && s->type == SETTING_TEXT && s->min == 0;
    if (s->form == NULL || empty_is_fine) {
        return NULL;
    }
    const char *trouble = s->form->trouble != NULL ? s->form->trouble(value) : NULL;
    if (trouble != NULL) {
        buf_append_cstr(why, trouble);
        return why->data;
    }
    if (s->form->fits != NULL && !s->form->fits(value)) {
        buf_printf(why, "must be %s", s->form->text);
        return why->data;
    }
    return NULL;
}

static const char *set_text_value(const struct setting *s, void *base, struct slice value,
                                  struct buf *why)
{
    const char *trouble = text_trouble(s, value, why);
    if (trouble != NULL) {
        return trouble;
    }
    if ((int64_t)value.len < s->min || (int64_t)value.len > s->max) {
        buf_append_cstr(why, "must have ");
        setting_range(s, why);
        return why->data;
    }
    setting_clear(s, base);
    *text_at(s, base) = slice_dup(value);
    return NULL;
}

static const char *add_item(const struct setting *s, void *base, struct slice value,
                            struct buf *why)
{
    struct config_list *list = list_at(s, base);
    const char *trouble = text_trouble(s, value, why);
    if (trouble != NULL) {
        return trouble;
    }
    if ((int64_t)list->count >= s->max) {
        buf_printf(why, "must have at most %lld items", (long long)s->max);
        return why->data;
    }
    config_list_add(list, value);
    return NULL;
}

static bool parse_number(struct slice value, double *out)
{
    char text[64];
    char *end = NULL;
    if (!slice_to_cstr(value, text, sizeof text) || text[0] == '\0' ||
        strspn(text, "0123456789.eE+-") != value.len) {
        return false;
    }
    double number = strtod(text, &end);
    if (*end != '\0' || !isfinite(number)) {
        return false;
    }
    *out = number;
    return true;
}

static const char *set_whole(const struct setting *s, void *base, struct slice value,
                             struct buf *why)
{
    int64_t number = 0;
    if (!slice_to_int64(value, &number) || number < s->min || number > s->max) {
        buf_append_cstr(why, "must be a whole number from ");
        setting_range(s, why);
        return why->data;
    }
    *whole_at(s, base) = number;
    return NULL;
}

static enum quantity_kind kind_of(const struct setting *s)
{
    return s->type == SETTING_SIZE ? QUANTITY_SIZE : QUANTITY_DURATION;
}

static const char *set_quantity(const struct setting *s, void *base, struct slice value,
                                struct buf *why)
{
    bool zero = s->fallback[0] == '0';
    const struct quantity q = {
        .kind = kind_of(s), .min = s->min, .max = s->max, .example = zero ? NULL : s->fallback};
    return quantity_read(&q, value, whole_at(s, base), why) ? NULL : why->data;
}

static const char *set_number_value(const struct setting *s, void *base, struct slice value,
                                    struct buf *why)
{
    double number = 0;
    if (!parse_number(value, &number) || number < (double)s->min || number > (double)s->max) {
        buf_append_cstr(why, "must be a number from ");
        setting_range(s, why);
        return why->data;
    }
    *number_at(s, base) = number;
    return NULL;
}

static const char *set_bool(const struct setting *s, void *base, struct slice value,
                            struct buf *why)
{
    bool yes = slice_eq_cstr(value, "true");
    if (!yes && !slice_eq_cstr(value, "false")) {
        buf_append_cstr(why, "must be true or false");
        return why->data;
    }
    *bool_at(s, base) = yes;
    return NULL;
}

const char *setting_read(const struct setting *s, void *base, struct slice value, struct buf *why)
{
    switch (s->type) {
    case SETTING_TEXT:
        return set_text_value(s, base, value, why);
    case SETTING_WHOLE:
        return set_whole(s, base, value, why);
    case SETTING_DURATION:
    case SETTING_SIZE:
        return set_quantity(s, base, value, why);
    case SETTING_NUMBER:
        return set_number_value(s, base, value, why);
    case SETTING_BOOL:
        return set_bool(s, base, value, why);
    case SETTING_LIST:
        return add_item(s, base, value, why);
    }
    return "has no type";
}

/* Wipes secrets before freeing them. */
static void free_text(const struct setting *s, char *text)
{
    if (text != NULL && (s->flags & SETTING_SECRET) != 0) {
        explicit_bzero(text, strlen(text));
    }
    free(text);
}

void setting_clear(const struct setting *s, void *base)
{
    if (s->type == SETTING_TEXT) {
        free_text(s, *text_at(s, base));
        *text_at(s, base) = NULL;
    } else if (s->type == SETTING_LIST) {
        struct config_list *list = list_at(s, base);
        for (size_t i = 0; i < list->count; i++) {
            free_text(s, list->items[i]);
        }
        free(list->items);
        *list = (struct config_list){0};
    }
}

void setting_set_default(const struct setting *s, void *base)
{
    struct buf why;
    setting_clear(s, base);
    if (s->type == SETTING_LIST) {
        return;
    }
    if (s->type == SETTING_TEXT) {
        *text_at(s, base) = slice_dup(slice_of(s->fallback));
        return;
    }
    buf_init(&why, 1024);
    const char *trouble = setting_read(s, base, slice_of(s->fallback), &why);
    ASSERT(trouble == NULL);
    buf_fini(&why);
}

void setting_copy(const struct setting *s, void *to, const void *from)
{
    void *source = drop_const(from);
    setting_clear(s, to);
    switch (s->type) {
    case SETTING_TEXT:
        *text_at(s, to) = slice_dup(slice_of(*text_at(s, source)));
        break;
    case SETTING_WHOLE:
    case SETTING_DURATION:
    case SETTING_SIZE:
        *whole_at(s, to) = *whole_at(s, source);
        break;
    case SETTING_NUMBER:
        *number_at(s, to) = *number_at(s, source);
        break;
    case SETTING_BOOL:
        *bool_at(s, to) = *bool_at(s, source);
        break;
    case SETTING_LIST: {
        const struct config_list *list = list_at(s, source);
        struct config_list *copy = list_at(s, to);
        copy->items = calloc(list->count > 0 ? list->count : 1, sizeof *copy->items);
        ASSERT(copy->items != NULL);
        for (; copy->count < list->count; copy->count++) {
            copy->items[copy->count] = slice_dup(slice_of(list->items[copy->count]));
        }
        break;
    }
    }
}

static bool lists_equal(const struct config_list *a, const struct config_list *b)
{
    for (size_t i = 0; i < a->count && a->count == b->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

bool setting_equal(const struct setting *s, const void *a, const void *b)
{
    void *x = drop_const(a);
    void *y = drop_const(b);
    switch (s->type) {
    case SETTING_TEXT:
        return strcmp(*text_at(s, x), *text_at(s, y)) == 0;
    case SETTING_WHOLE:
    case SETTING_DURATION:
    case SETTING_SIZE:
        return *whole_at(s, x) == *whole_at(s, y);
    case SETTING_NUMBER:
        return fabs(*number_at(s, x) - *number_at(s, y)) < 1e-9;
    case SETTING_BOOL:
        return *bool_at(s, x) == *bool_at(s, y);
    case SETTING_LIST:
        return lists_equal(list_at(s, x), list_at(s, y));
    }
    return false;
}

bool setting_is_empty(const struct setting *s, const void *base)
{
    void *b = drop_const(base);
    return (s->type == SETTING_TEXT && (*text_at(s, b))[0] == '\0') ||
           (s->type == SETTING_LIST && list_at(s, b)->count == 0);
}

static void append_choices(struct buf *out, const char *choices)
{
    struct slice rest = slice_of(choices);
    struct slice choice;
    bool more = true;
    for (bool first = true; more; first = false) {
        more = slice_cut(rest, ' ', &choice, &rest);
        buf_printf(out, "%s`%.*s`", first ? "" : ", ", SLICE_ARG(choice));
    }
}

void setting_range(const struct setting *s, struct buf *out)
{
    char min[QUANTITY_TEXT_SIZE];
    char max[QUANTITY_TEXT_SIZE];
    if (s->choices != NULL) {
        append_choices(out, s->choices);
    } else if (s->type == SETTING_BOOL) {
        buf_append_cstr(out, "`true`, `false`");
    } else if (s->type == SETTING_TEXT) {
        buf_printf(out, "%lld to %lld bytes", (long long)s->min, (long long)s->max);
    } else if (s->type == SETTING_DURATION || s->type == SETTING_SIZE) {
        buf_printf(out, "%s to %s", quantity_text(kind_of(s), s->min, min),
                   quantity_text(kind_of(s), s->max, max));
    } else if (s->type == SETTING_LIST) {
        buf_printf(out, "%lld to %lld items", (long long)s->min, (long long)s->max);
    } else {
        buf_printf(out, "%lld to %lld", (long long)s->min, (long long)s->max);
    }
}

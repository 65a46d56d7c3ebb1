#include "common/base/url_options.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/codec.h"
#include "common/base/quantity.h"

static const char identifier_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

bool url_next_parameter(struct slice *query, struct slice *name, struct slice *value)
{
    struct slice parameter = {NULL, 0};
    while (query->len > 0 && parameter.len == 0) {
        (void)slice_cut(*query, '&', &parameter, query);
    }
    (void)slice_cut(parameter, '=', name, value);
    return parameter.len > 0;
}

static int parse_duration(const char *store, const struct url_option *option, struct slice value,
                          struct err *e)
{
    char standard[QUANTITY_TEXT_SIZE];
    struct quantity q = {.kind = QUANTITY_DURATION,
                         .min = option->least,
                         .max = option->most,
                         .example =
                             quantity_text(QUANTITY_DURATION, *option->duration_ms, standard)};
    struct buf why;
    int rc = 0;
    buf_init(&why, 512);
    if (!quantity_read(&q, value, option->duration_ms, &why)) {
        rc = err_set(e, ERR_PERMANENT, 0, "the %s URL's %s %s", store, option->name, why.data);
    }
    buf_fini(&why);
    return rc;
}

int url_option_parse(const char *store, const struct url_option *option, struct slice value,
                     struct err *e)
{
    int64_t number = 0;
    if (option->number != NULL) {
        if (!slice_to_int64(value, &number) || number < option->least || number > option->most) {
            return err_set(e, ERR_PERMANENT, 0,
                           "the %s URL's %s must be a number from %lld to %lld", store,
                           option->name, (long long)option->least, (long long)option->most);
        }
        *option->number = number;
        return 0;
    }
    if (option->duration_ms != NULL) {
        return parse_duration(store, option, value, e);
    }
    if (!codec_unpercent(value, option->text, option->size)) {
        return err_set(e, ERR_PERMANENT, 0, "the %s URL's %s is too long or has a bad %%XX", store,
                       option->name);
    }
    size_t len = strlen(option->text);
    if (option->identifier && (len == 0 || strspn(option->text, identifier_letters) != len)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the %s URL's %s must have 1 to %zu letters, digits, '.', '_' or '-'", store,
                       option->name, option->size - 1);
    }
    return 0;
}

static int fail_unknown(const struct url_options *o, struct slice name, struct err *e)
{
    struct buf known;
    buf_init(&known, 512);
    for (size_t i = 0; i < o->count; i++) {
        buf_printf(&known, "%s%s", i > 0 ? ", " : "", o->known[i].name);
    }
    if (o->others != NULL) {
        buf_printf(&known, ", %s", o->others);
    }
    (void)err_set(e, ERR_PERMANENT, 0, "the %s URL has no option \"%.*s\": known are %s", o->store,
                  SLICE_ARG(name), known.data);
    buf_fini(&known);
    return -1;
}

static int parse_option(const struct url_options *o, struct slice name, struct slice value,
                        struct err *e)
{
    for (size_t i = 0; i < o->count; i++) {
        if (slice_eq_cstr(name, o->known[i].name)) {
            return url_option_parse(o->store, &o->known[i], value, e);
        }
    }
    int rc = o->other != NULL ? o->other(o->arg, name, value, e) : 1;
    return rc > 0 ? fail_unknown(o, name, e) : rc;
}

int url_options_read(struct slice query, const struct url_options *o, struct err *e)
{
    struct slice name;
    struct slice value;
    while (url_next_parameter(&query, &name, &value)) {
        if (parse_option(o, name, value, e) != 0) {
            return -1;
        }
    }
    return 0;
}

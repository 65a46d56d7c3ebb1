/*
 * The options of a store's URL, "name=value&…" behind its '?': one table says what there is.
 *
 * Numbers are decimal, durations have a unit (quantity.h), texts may hold %XX ('+' is itself).
 * Empty parameters are skipped; of an option that is given twice the last value stays. Pure
 * functions; failures are ERR_PERMANENT, naming the store and the option, never a value, which may
 * be a secret.
 */
#ifndef MAYFLY_BASE_URL_OPTIONS_H
#define MAYFLY_BASE_URL_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* Gets a number or a duration from least to most, or a text of less than size bytes: the one whose
 * member is not NULL. */
struct url_option {
    const char *name;
    int64_t *number;
    int64_t *duration_ms; /* holds the default */
    int64_t least;
    int64_t most;
    char *text;
    size_t size;
    bool word; /* one byte at least, of letters, digits, '.', '_' and '-' alone */
};

struct url_options {
    const char *store; /* "Redis": "the Redis URL's …" */
    const struct url_option *known;
    size_t count;
    /* Takes an option that is not in the table: 1 if it is none of its own either. NULL: none. */
    int (*other)(void *arg, struct slice name, struct slice value, struct err *e);
    void *arg;
    const char *others; /* how they are called, for messages: "queue.<lane>" */
};

MUST_CHECK int url_options_read(struct slice query, const struct url_options *o, struct err *e);

/* One value, as an option of that name; for parts of a URL that are none. */
MUST_CHECK int url_option_take(const char *store, const struct url_option *option,
                               struct slice value, struct err *e);

/* Cuts the next "name=value" off a query or a form; false when there is none left. Nothing is
 * decoded; without a '=' the value is empty. */
bool url_next_parameter(struct slice *query, struct slice *name, struct slice *value);

#endif

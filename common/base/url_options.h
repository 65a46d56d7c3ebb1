/*
 * The options of a store's URL, "name=value&…" after its '?', described by one table.
 *
 * Numbers are decimal, durations have a unit (quantity.h), texts may contain %XX ('+' is itself).
 * Empty parameters are skipped; of an option that is given twice the last value applies. Pure
 * functions; failures are ERR_PERMANENT and name the store and the option, never a value, which may
 * be a secret.
 */
#ifndef MAYFLY_BASE_URL_OPTIONS_H
#define MAYFLY_BASE_URL_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* A number or a duration from least to most, or a text of less than size bytes: whichever member is
 * not NULL receives the value. */
struct url_option {
    const char *name;
    int64_t *number;
    int64_t *duration_ms; /* holds the default */
    int64_t least;
    int64_t most;
    char *text;
    size_t size;
    bool identifier; /* not empty; only letters, digits, '.', '_' and '-' */
};

struct url_options {
    const char *store; /* "Redis": "the Redis URL's …" */
    const struct url_option *known;
    size_t count;
    /* Parses an option that is not in the table; returns 1 if it does not know it either. May be
     * NULL. */
    int (*other)(void *arg, struct slice name, struct slice value, struct err *e);
    void *arg;
    const char *others; /* the names that `other` knows, for messages: "queue.<lane>" */
};

MUST_CHECK int url_options_read(struct slice query, const struct url_options *o, struct err *e);

/* Parses one value as an option of that name; for parts of a URL that are not in the query. */
MUST_CHECK int url_option_parse(const char *store, const struct url_option *option,
                                struct slice value, struct err *e);

/* Removes the next "name=value" from a query or a form; false when there is none left. Nothing is
 * decoded; without a '=' the value is empty. */
bool url_next_parameter(struct slice *query, struct slice *name, struct slice *value);

#endif

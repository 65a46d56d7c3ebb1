/*
 * What the tests of common/config share: parsing a text and looking at the complaints about it.
 * Include after cmocka's own headers.
 */
#ifndef MAYFLY_TESTS_CONFIG_TESTING_H
#define MAYFLY_TESTS_CONFIG_TESTING_H

#include <string.h>

#include "common/config/config.h"

/* A text that is right for every program; tests change it by appending or by their own. */
#define GOOD_TOP                                                                                   \
    "queue: sqlite:///tmp/q.db\n"                                                                  \
    "ledger: sqlite:///tmp/l.db\n"
#define GOOD_GITHUB "github: {token: t-o-k-e-n, webhook_secrets: [a-long-secret]}\n"
#define GOOD_CLASSES                                                                               \
    "classes:\n"                                                                                   \
    "  - {name: small, labels: [self-hosted, linux], qemu: {image: /i}}\n"
#define GOOD GOOD_TOP GOOD_GITHUB GOOD_CLASSES

static inline struct config *parse_ok(const char *text, enum config_for who)
{
    struct config *c = NULL;
    struct err e;
    if (config_parse(slice_of(text), "m.yaml", who, &c, NULL, &e) != 0) {
        fail_msg("refused: %s", e.message);
    }
    return c;
}

/* Every complaint about a text that must be refused; owned by the caller (free). */
static inline char *complaints_of_slice(struct slice text, enum config_for who)
{
    struct config *c = NULL;
    struct buf all;
    struct err e;
    buf_init(&all, 1 << 20);
    if (config_parse(text, "m.yaml", who, &c, &all, &e) == 0) {
        config_free(c);
        fail_msg("accepted: %.*s", SLICE_ARG(text));
    }
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_null(c);
    /* The error is the first line of all. */
    assert_int_equal(strncmp(all.data, e.message, strlen(e.message)), 0);
    return buf_take(&all);
}

static inline char *complaints_of(const char *text, enum config_for who)
{
    return complaints_of_slice(slice_of(text), who);
}

static inline void assert_complaints(const char *text, enum config_for who, const char *expected)
{
    char *all = complaints_of(text, who);
    assert_string_equal(all, expected);
    free(all);
}

/* Good but for one line more, about which exactly this is said. */
static inline void assert_complaint_of_line(const char *line, const char *expected)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_printf(&text, "%s\n%s", line, GOOD);
    assert_complaints(text.data, CONFIG_FOR_CHECK, expected);
    buf_fini(&text);
}

#endif

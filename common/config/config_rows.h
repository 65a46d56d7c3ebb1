/*
 * How a table of settings is written: one macro for each type of row, and the ranges and forms that
 * rows share. For the files that hold such a table alone.
 */
#ifndef MAYFLY_CONFIG_ROWS_H
#define MAYFLY_CONFIG_ROWS_H

#include <stddef.h>

#include "common/config/config_forms.h"
#include "common/config/config_setting.h"

#define TEXT_MAX 4096
#define MS_MAX 86400000
#define RATE_MAX 100000

/* One row a setting; the rest of a row (flags, example, words) follows as designated members. */
#define TEXT(k, at, dflt, lo, hi, ...)                                                             \
    {                                                                                              \
        .key = (k), .type = SETTING_TEXT, .offset = (at), .fallback = (dflt), .min = (lo),         \
        .max = (hi), __VA_ARGS__                                                                   \
    }
#define WHOLE(k, at, dflt, lo, hi, ...)                                                            \
    {                                                                                              \
        .key = (k), .type = SETTING_WHOLE, .offset = (at), .fallback = (dflt), .min = (lo),        \
        .max = (hi), __VA_ARGS__                                                                   \
    }
#define NUMBER(k, at, dflt, lo, hi, ...)                                                           \
    {                                                                                              \
        .key = (k), .type = SETTING_NUMBER, .offset = (at), .fallback = (dflt), .min = (lo),       \
        .max = (hi), __VA_ARGS__                                                                   \
    }
#define BOOL(k, at, dflt, ...)                                                                     \
    {                                                                                              \
        .key = (k), .type = SETTING_BOOL, .offset = (at), .fallback = (dflt), __VA_ARGS__          \
    }
#define LIST(k, at, lo, hi, ...)                                                                   \
    {                                                                                              \
        .key = (k), .type = SETTING_LIST, .offset = (at), .fallback = "", .min = (lo),             \
        .max = (hi), __VA_ARGS__                                                                   \
    }

#endif

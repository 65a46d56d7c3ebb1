/*
 * Macros for tables of settings: one for each type of row, and the ranges and forms that rows
 * share. Only for files that contain such a table.
 */
#ifndef MAYFLY_CONFIG_ROWS_H
#define MAYFLY_CONFIG_ROWS_H

#include <stddef.h>

#include "common/config/forms.h"
#include "common/config/setting.h"

/* Bounds of durations and sizes. */
#define MILLISECONDS(n) ((int64_t)(n))
#define SECONDS(n) ((int64_t)(n)*1000)
#define MINUTES(n) ((int64_t)(n)*60000)
#define HOURS(n) ((int64_t)(n)*3600000)
#define DAYS(n) ((int64_t)(n)*86400000)
#define BYTES(n) ((int64_t)(n))
#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)
#define GIB(n) ((int64_t)(n) << 30)
#define TIB(n) ((int64_t)(n) << 40)

#define TEXT_MAX 4096
#define ADDRESS_MAX 60
#define RATE_MAX 100000

/* One row per setting; the rest of a row (flags, example, choices) follows as designated
 * members. */
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
#define DURATION(k, at, dflt, lo, hi, ...)                                                         \
    {                                                                                              \
        .key = (k), .type = SETTING_DURATION, .offset = (at), .fallback = (dflt), .min = (lo),     \
        .max = (hi), __VA_ARGS__                                                                   \
    }
#define SIZE(k, at, dflt, lo, hi, ...)                                                             \
    {                                                                                              \
        .key = (k), .type = SETTING_SIZE, .offset = (at), .fallback = (dflt), .min = (lo),         \
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

/*
 * Logs: one JSON object a line, on standard error.
 *
 *   {"ts":"2026-11-20T18:12:03.456Z","level":"info","program":"mayfly-worker","msg":"vm_launched",
 *    "job_id":123,"class":"small","duration_ms":412}
 *
 * `common/` returns errors and does not log; a program logs once, where it handles the error. Lines
 * are written whole, also by concurrent threads, and have at most 8 KiB (fields that do not fit are
 * dropped, and "truncated":true is added). A daemon's lines go through a bounded ring and a thread of
 * its own (log_ring.h), so that a stuck reader of its standard error stops nothing else. The same event with the same error class at warn or
 * error is written at most 10 times a second; the next line has the number of those left out
 * ("suppressed":N). Never log a secret. Each event has a row in common/program/log_events*.c. Call
 * log_open before threads start; the rest is safe from any thread.
 */
#ifndef MAYFLY_BASE_LOG_H
#define MAYFLY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_INFO_LIMITED, LOG_WARN, LOG_ERROR };

enum log_type { LOG_END_OF_FIELDS = 0, LOG_TYPE_STR, LOG_TYPE_INT, LOG_TYPE_BOOL, LOG_TYPE_ERR };

struct log_field {
    enum log_type type;
    const char *key;
    struct slice str;
    int64_t num;
    const struct err *err;
};

/* program: a static string. fd: 2 in the programs. */
void log_open(const char *program, int fd);
/* Lines go to the function, one whole line with its newline a call, instead of the descriptor; NULL:
 * to the descriptor again. Only for programs with one thread. */
typedef void log_writer_fn(void *ctx, struct slice line);
void log_set_writer(log_writer_fn *fn, void *ctx);
/* From here on lines go through the ring. Not in a program that forks without an exec. */
MUST_CHECK int log_start(struct err *e);
/* Waits at most timeout_ms until they are written; false if the reader did not take them all. Before
 * the process ends: lines that come later may be lost. */
bool log_stop(int64_t timeout_ms);
void log_set_level(enum log_level level);
/* "debug" … "error"; false for any other text. */
bool log_level_parse(const char *text, enum log_level *out);

/* Fields: LOG_STR("class", name), LOG_INT("job_id", id), LOG_BOOL(…), LOG_SLICE(…), and
 * LOG_ERR(&e), which writes error, error_class and error_code. */
/* The formatter mistakes a function whose name is in capitals for a macro. */
/* clang-format off */
static inline struct log_field LOG_STR(const char *key, const char *value)
{
    return (struct log_field){LOG_TYPE_STR, key, slice_of(value), 0, 0};
}

static inline struct log_field LOG_SLICE(const char *key, struct slice value)
{
    return (struct log_field){LOG_TYPE_STR, key, value, 0, 0};
}

static inline struct log_field LOG_INT(const char *key, int64_t value)
{
    return (struct log_field){LOG_TYPE_INT, key, {0, 0}, value, 0};
}

static inline struct log_field LOG_BOOL(const char *key, bool value)
{
    return (struct log_field){LOG_TYPE_BOOL, key, {0, 0}, value, 0};
}

static inline struct log_field LOG_ERR(const struct err *e)
{
    return (struct log_field){LOG_TYPE_ERR, "error", {0, 0}, 0, e};
}
/* clang-format on */

/* log_info("vm_launched", LOG_INT("job_id", id), LOG_STR("class", name)); the event is a static
 * string. */
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__, (struct log_field){0})
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__, (struct log_field){0})
/* At level info, and limited as warnings are. */
#define log_info_limited(...) log_write(LOG_INFO_LIMITED, __VA_ARGS__, (struct log_field){0})
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__, (struct log_field){0})
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__, (struct log_field){0})

/* The variable arguments are struct log_field by value, the last of type LOG_END_OF_FIELDS. */
void log_write(enum log_level level, const char *event, ...);

#endif

/*
 * Errors: what went wrong, and what to do now.
 *
 * A fallible function returns 0 or -1 and, on -1, fills the caller's `struct err`. The class says
 * how to react (retry, wait, give up); `code` is the peer's number (HTTP status, errno, SQLite
 * result; 0 if there is none); the message says what was attempted, what was returned and what to
 * do. A struct err is a plain value without heap: copy it, keep it on the stack, pass it across
 * threads by value. Messages never contain a secret. Not thread-safe; each struct belongs to its
 * owner.
 */
#ifndef MAYFLY_BASE_ERR_H
#define MAYFLY_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"

enum err_class {
    ERR_NONE = 0,
    ERR_RETRY,     /* transient or unknown: try again with back-off, within a budget */
    ERR_THROTTLED, /* the peer throttles: wait `retry_after_ms`, spend no attempt */
    ERR_CAPACITY,  /* a quota or a cap is reached: wait for capacity, spend no attempt */
    ERR_PERMANENT, /* the same request can never succeed: dead-letter it */
    ERR_AUTH,      /* refused as a whole until an operator acts: credentials or permissions, or a
                      store that is missing, damaged or not ours; no job's or message's fault */
    ERR_NOT_FOUND, /* the named object does not exist, or is not visible to the caller */
    ERR_CONFLICT,  /* the named object exists already, or was changed concurrently */
};

/* Who refused, or could not be reached. The subject of an error follows from it (fleet/verdict.h). */
enum err_from {
    ERR_FROM_US = 0, /* this program: a check before anything was asked */
    ERR_FROM_LEDGER,
    ERR_FROM_QUEUE,
    ERR_FROM_PROXY,
    ERR_FROM_KMS, /* which signs as the App */
    ERR_FROM_APP, /* GitHub, to the App itself: access tokens, installations */
    ERR_FROM_GITHUB,
    ERR_FROM_PROVIDER,
    ERR_FROM_HOST, /* a VM provider that runs on this host */
};

struct err {
    enum err_class class;
    enum err_from from;
    bool of_this_host; /* another host may fare better: a name that this one cannot resolve */
    bool of_one_app;   /* another of GitHub's Apps may fare better: its key, its server */
    int code;
    int64_t retry_after_ms; /* 0: the peer gave none */
    char message[640];      /* truncated, always terminated */
};

/* The three macros below always evaluate to -1, for `return err_set(e, …)`. They are macros so that
 * compilers and analyzers see the -1, and know that outputs are not read after it. */

/* Fills *e: err_set(e, class, code, format, …). */
#define err_set(...) err_failed(err_fill(__VA_ARGS__))

/* As err_set with strerror(errnum) appended and errnum as the code: err_errno(e, class, errnum,
 * …). */
#define err_errno(...) err_failed(err_fill_errno(__VA_ARGS__))

/* Puts "<text>: " before the message of *e; all else stays: err_wrap(e, format,
 * …). */
#define err_wrap(...) err_failed(err_fill_wrap(__VA_ARGS__))

PRINTF(4, 5) int err_fill(struct err *e, enum err_class class, int code, const char *fmt, ...);
PRINTF(4, 5)
int err_fill_errno(struct err *e, enum err_class class, int errnum, const char *fmt, ...);
PRINTF(2, 3) int err_fill_wrap(struct err *e, const char *fmt, ...);

static inline int err_failed(int filled)
{
    (void)filled;
    return -1;
}

/* Adds who said it, unless a module below knew better. Returns -1. */
static inline int err_said_by(struct err *e, enum err_from from)
{
    e->from = e->from == ERR_FROM_US ? from : e->from;
    return -1;
}

/* The class in lower case, for logs and records; a static string. */
const char *err_class_name(enum err_class class);

#endif

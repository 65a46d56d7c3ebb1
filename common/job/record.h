/*
 * The encoding of messages: a JSON object of at most 4 KiB with a format version.
 *
 * A table maps the members of a record to the members of a struct. Zero numbers and empty texts are
 * omitted. Decoding accepts hostile input (a queue may be shared) and ignores unknown members. A
 * newer format fails with the code RECORD_NEWER_FORMAT, since the message is valid and only this
 * program is too old; of a newer format only the version member and the queue's size limit are
 * assumed. Pure functions, any thread.
 *
 * Writers choose the format, so that a release can be rolled out and rolled back while messages are
 * queued: every release reads the formats 1 to record_newest_format(), and writes the one that all
 * programs of the deployment can read (common/ledger/programs.h).
 */
#ifndef MAYFLY_JOB_RECORD_H
#define MAYFLY_JOB_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define RECORD_MAX_BYTES 4096
#define RECORD_OLDEST_FORMAT 1 /* which every release reads */
#define RECORD_NEWER_FORMAT 1  /* struct err's code; its class is then ERR_CONFLICT */

enum record_kind {
    RECORD_NUMBER, /* int64_t, from 0 on */
    RECORD_TEXT,   /* an array of char, terminated */
    RECORD_WORD,   /* an int, one of `words`; required */
};

struct record_field {
    const char *key; /* NULL: the end of the table */
    size_t offset;
    size_t size;
    enum record_kind kind;
    bool optional;            /* omitted if the record would exceed its limit */
    const char *const *words; /* RECORD_WORD: by value, NULL at the end */
};

/* A member's offset and size. */
#define RECORD_AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)

/* The newest format that this build reads and writes. */
int64_t record_newest_format(void);

/* Appends one JSON object without line breaks. 1 <= format <= record_newest_format(). */
void record_encode(const struct record_field *fields, const void *value, int64_t format,
                   struct buf *out);
/* Sets the fields of *value that the record holds; the caller has zeroed *value and must not use it
 * on failure. A malformed record is ERR_PERMANENT with the reason; `what` names its kind. */
MUST_CHECK int record_decode(const char *what, const struct record_field *fields,
                             struct slice record, void *value, struct err *e);

#endif

/*
 * The form of what crosses the queue: a JSON object of at most 4 KiB with a format version.
 *
 * A table names the members of a record and where they stand in a struct. Numbers of 0 and empty
 * texts are left out. Decoding is for hostile input too (a queue may be shared): it ignores members
 * that it does not know, and refuses a newer format with the code RECORD_NEWER_FORMAT, since the
 * message is good and only this program is too old for it: of a newer format nothing is taken for
 * granted but that it is a JSON object with its version, within the queue's own limit. Pure
 * functions, any thread.
 *
 * Writers choose the format, so that a release can be rolled out and back while messages are
 * waiting: every release reads the formats from 1 to record_newest_format(), and writes the one
 * that all programs of the deployment can read (common/ledger/ledger_format.h).
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
#define RECORD_NEWER_FORMAT 1 /* struct err's code; its class is then ERR_CONFLICT */

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
    bool people_only;         /* left out when the record would grow over its limit */
    const char *const *words; /* RECORD_WORD: by value, NULL at the end */
};

/* The place of a member, and how many bytes it has. */
#define RECORD_AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)

/* The newest format that this build reads and writes. */
int64_t record_newest_format(void);

/* Appends one JSON object without line breaks. 1 <= format <= record_newest_format(). */
void record_encode(const struct record_field *fields, const void *value, int64_t format,
                   struct buf *out);
/* Fills in what the record holds of the fields of *value, which the caller has zeroed and must not
 * use on failure. ERR_PERMANENT with the reason when it is no such record; `what` names its kind.
 */
MUST_CHECK int record_decode(const char *what, const struct record_field *fields,
                             struct slice record, void *value, struct err *e);

#endif

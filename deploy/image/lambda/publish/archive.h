/*
 * The archive that Lambda builds an image from, and its Dockerfile.
 *
 * Only what build-zip writes is read: entries that are stored or deflated, no ZIP64, no encryption.
 * ERR_PERMANENT: it is no such archive. Pure functions on bytes; results are owned by the caller.
 */
#ifndef MAYFLY_PUBLISH_ARCHIVE_H
#define MAYFLY_PUBLISH_ARCHIVE_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define ARCHIVE_DOCKERFILE_MAX ((size_t)1 << 20)

/* *out (initialised): the text of the entry `Dockerfile`. */
MUST_CHECK int archive_read_dockerfile(struct slice zip, struct buf *out, struct err *e);
/* *out (initialised): the same archive with another Dockerfile; all else is copied as it is. */
MUST_CHECK int archive_replace_dockerfile(struct slice zip, struct slice dockerfile,
                                          struct buf *out, struct err *e);

/* *out (initialised): the same archive with that runner in its Dockerfile. */
MUST_CHECK int archive_put_runner(struct slice zip, const char *version, const char *sha256,
                                  struct buf *out, struct err *e);

#define ARCHIVE_HASH_SIZE 65
/* SHA-256 in hex. */
void archive_hash(struct slice zip, char out_hex[ARCHIVE_HASH_SIZE]);
/* The same of an archive's contents but for the runner: equal of two that differ in nothing else. */
MUST_CHECK int archive_hash_contents(struct slice zip, char out_hex[ARCHIVE_HASH_SIZE],
                                     struct err *e);

/* The value of the line `ARG name=value` or `ARG name="value"`, the first of them; empty if there is none. */
struct slice archive_arg(struct slice dockerfile, const char *name);
/* Appends the Dockerfile with another value on each such line. */
void archive_set_arg(struct slice dockerfile, const char *name, const char *value, struct buf *out);

#endif

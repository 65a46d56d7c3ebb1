/*
 * AWS Signature Version 4, in headers or in a URL's query.
 *
 * A signature is a function of the request as it is sent, the keys, region and service, and the
 * time; nothing is looked up. For all services except S3, whose paths are encoded once less. The
 * rules: "Create a signed AWS API request" in the IAM user guide. The path as it is sent is encoded
 * once more (so an ARN's %3A becomes %253A), and dot segments and doubled slashes are removed; the
 * query need be neither sorted nor encoded canonically.
 *
 * Threading: pure functions; a sigv4_cache may be shared, it has its own lock. Failures:
 * ERR_PERMANENT for an ambiguous request, or one with parts over their limits. No message contains
 * a secret, a query or a header's value.
 */
#ifndef MAYFLY_AWS_SIGV4_H
#define MAYFLY_AWS_SIGV4_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define SIGV4_HEADERS_MAX 32
#define SIGV4_PARAMETERS_MAX 256

/* The signing key of a day, region, service and secret; saves four HMACs on each request. */
struct sigv4_cache {
    pthread_mutex_t lock;
    bool filled;
    unsigned char made_of[32]; /* a digest of the four */
    unsigned char key[32];     /* a secret */
};
void sigv4_cache_init(struct sigv4_cache *c);
void sigv4_cache_fini(struct sigv4_cache *c);

struct sigv4_signer {
    const char *access_key;
    const char *secret_key;
    const char *session_token; /* NULL or "": none */
    const char *region;
    const char *service;
    struct sigv4_cache *cache; /* NULL: none */
};

struct sigv4_request {
    const char *method;
    struct slice path;          /* percent-encoded as it is sent; empty: "/" */
    struct slice query;         /* without '?' */
    const char *const *headers; /* "Name: value" lines, Host among them; all are signed */
    size_t header_count;
    struct slice body;
};

/* Header lines to send with those of the request. */
struct sigv4_lines {
    char date[32];            /* "X-Amz-Date: 20150830T123600Z" */
    struct buf token;         /* "X-Amz-Security-Token: …"; empty without one; a secret */
    struct buf authorization; /* "Authorization: AWS4-HMAC-SHA256 …" */
};
void sigv4_lines_fini(struct sigv4_lines *l);

/* *out is owned by the caller on success (sigv4_lines_fini). */
MUST_CHECK int sigv4_sign(const struct sigv4_signer *s, const struct sigv4_request *r,
                          int64_t wall_ms, struct sigv4_lines *out, struct err *e);

/* Appends the query of a presigned URL, in canonical form: that of the request, the parameters of
 * signing, and last the signature. The request has one header, its Host; expires_s, 1 to 604800. It
 * contains the session token. */
MUST_CHECK int sigv4_presign(const struct sigv4_signer *s, const struct sigv4_request *r,
                             int expires_s, int64_t wall_ms, struct buf *out, struct err *e);

/* Appends the canonical request that is signed, for tests and for debugging signatures; it contains
 * the session token. */
MUST_CHECK int sigv4_canonical(const struct sigv4_signer *s, const struct sigv4_request *r,
                               int64_t wall_ms, struct buf *out, struct err *e);

#endif

/*
 * Shared by the files of mayfly_aws and their tests; no other file includes it.
 *
 * settings.c holds the configuration's section, place.c finds region and endpoint, open.c opens a
 * client, send.c makes a call with it, sigv4.c signs it and errors.c classifies the response.
 * credentials.c holds the keys, sources.c tries the sources in order, and role.c, sts.c, process.c
 * and metadata.c are sources.
 */
#ifndef MAYFLY_AWS_INTERNAL_H
#define MAYFLY_AWS_INTERNAL_H

#include <pthread.h>

#include "common/aws/aws.h"
#include "common/aws/credentials.h"
#include "common/aws/sigv4.h"
#include "common/base/metrics.h"

/* --- settings.c --- */

/* The values of aws_set_defaults. Strings are never NULL and valid until it is called again, which
 * has no effect while they are pinned: call with 1 before the first use, -1 after the last. */
void aws_defaults_pin(int by);
const struct aws_defaults *aws_defaults_now(void);
/* An environment variable that is set and not empty; else NULL. */
const char *aws_env(const char *name);
/* Whether it is "true" or "1". */
bool aws_env_true(const char *name);

/* --- place.c --- */

/* The region and endpoint of a service. */
struct aws_place {
    char *region;
    char *endpoint; /* without a trailing slash */
    char *ca_file;  /* of AWS_CA_BUNDLE, or of the profile; "": none */
};
void aws_place_fini(struct aws_place *p);
MUST_CHECK int aws_place_find(const struct aws_client_options *o, struct aws_place *out,
                              struct err *e);
/* Appends the service's own host, "sqs.eu-west-1.amazonaws.com". */
void aws_host(const char *service, const char *region, bool fips, bool dual_stack, struct buf *out);

/* --- open.c --- */

struct aws_client {
    struct http_client *http;
    struct aws_place place;
    char *service;
    struct slice host;                   /* in place.endpoint, as in the Host header */
    struct slice base;                   /* in place.endpoint: the path after the host */
    struct aws_credentials *credentials; /* NULL: `keys` */
    const struct aws_keys *keys;         /* borrowed; NULL: calls are not signed */
    const struct aws_error_rule *rules;
    int64_t timeout_ms;
    struct sigv4_cache cache;
};

/* As aws_client_open, with these keys (borrowed until close; NULL: unsigned) instead of the
 * process's: for calls that obtain credentials. */
MUST_CHECK int aws_client_open_with(const struct aws_client_options *o, const struct aws_keys *keys,
                                    struct aws_client **out, struct err *e);

/* --- credentials.c --- */

/* How long keys with this lifetime are used before they are renewed: until five minutes or a
 * quarter of their lifetime before they expire, and randomly up to a quarter of that earlier. */
int64_t aws_renew_in_ms(int64_t life_ms);

/* --- send.c --- */

/* For tests. */
void aws_forget_skew(void);

#endif

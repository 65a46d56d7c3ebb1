/*
 * What the files of mayfly_aws share; nobody else includes it (its tests do).
 *
 * settings.c holds what the configuration says, place.c finds region and endpoint,
 * open.c opens a client, send.c makes a call with it, sigv4.c signs it and errors.c
 * judges the answer. credentials.c keeps the keys, sources.c asks for them in order, and
 * role.c, sts.c, process.c and metadata.c find some.
 */
#ifndef MAYFLY_AWS_INTERNAL_H
#define MAYFLY_AWS_INTERNAL_H

#include <pthread.h>

#include "common/aws/aws.h"
#include "common/aws/credentials.h"
#include "common/aws/sigv4.h"
#include "common/base/metrics.h"

/* --- settings.c --- */

/* What aws_set_defaults was given; strings are never NULL and valid until it is called again, which
 * is without effect while somebody pins them: 1 before the first look, -1 after the last. */
void aws_defaults_pin(int by);
const struct aws_defaults *aws_defaults_now(void);
/* An environment variable that is set and not empty; else NULL. */
const char *aws_env(const char *name);
/* Whether it says true or 1. */
bool aws_env_true(const char *name);

/* --- place.c --- */

/* Where a service is. */
struct aws_place {
    char *region;
    char *endpoint; /* without a slash at its end */
};
void aws_place_fini(struct aws_place *p);
MUST_CHECK int aws_place_find(const struct aws_client_options *o, struct aws_place *out,
                              struct err *e);
/* Appends the service's own host, "sqs.eu-west-1.amazonaws.com". */
void aws_host(const char *service, const char *region, bool fips, bool dual_stack, struct buf *out);

/* --- open.c --- */

#define AWS_OPERATIONS_MAX 32
#define AWS_OUTCOMES (ERR_CONFLICT + 2) /* the classes, and no answer */

struct aws_operation_metrics {
    const char *operation;
    struct metric *outcomes[AWS_OUTCOMES];
    struct metric *seconds;
};

struct aws_client {
    struct http_client *http;
    struct aws_place place;
    char *service;
    struct slice host;                   /* in place.endpoint, as the Host header says it */
    struct slice base;                   /* in place.endpoint: the path behind the host */
    struct aws_credentials *credentials; /* NULL: `keys` */
    const struct aws_keys *keys;         /* borrowed; NULL: calls are not signed */
    const struct aws_error_rule *rules;
    int64_t timeout_ms;
    struct sigv4_cache cache;
    pthread_mutex_t lock; /* over what follows */
    struct aws_operation_metrics metrics[AWS_OPERATIONS_MAX];
    size_t metric_count;
};

/* As aws_client_open, with these keys (borrowed until close; NULL: unsigned) and not the process's:
 * for the calls by which credentials are found. */
MUST_CHECK int aws_client_open_with(const struct aws_client_options *o, const struct aws_keys *keys,
                                    struct aws_client **out, struct err *e);

/* class: ERR_NONE for success; no_answer: nothing came back. */
void aws_count_call(struct aws_client *c, const char *operation, enum err_class class,
                    bool no_answer, int64_t elapsed_us);

/* --- credentials.c --- */

/* How long keys that live for so long are used before they are renewed: until five minutes before
 * their end, or a quarter of their life, and up to a quarter of that earlier, by chance. */
int64_t aws_renew_in_ms(int64_t life_ms);

/* --- send.c --- */

/* For tests. */
void aws_forget_skew(void);

#endif

/*
 * Calling AWS: one client per service, which finds region, endpoint and credentials, signs each
 * request (SigV4, sigv4.h) and judges each answer by one table (errors.c).
 *
 * Not here: what the operations mean, and repeating them; whether that is safe only the caller
 * knows. A call is sent once; it is sent again by itself only where AWS refused it for its clock
 * (the skew is learnt from each answer's Date) or for credentials that are renewed by now, since a
 * refused request did nothing.
 *
 * Threading: any thread; a client keeps a pool of connections (common/http/client.h). Credentials
 * are shared by all clients of the process and renewed by one thread (credentials.h).
 * Failures: the service's refusals by class (ERR_THROTTLED and ERR_CAPACITY with retry_after_ms
 * where told, ERR_AUTH, ERR_NOT_FOUND, ERR_CONFLICT, ERR_PERMANENT, ERR_RETRY for all unknown
 * ones), no answer ERR_RETRY, no credentials ERR_AUTH naming every source that was tried and why it
 * has none (ERR_RETRY when one is there and does not answer now). Every message holds the
 * operation, the error's name, the HTTP status, the request's id and what to do; none holds a body
 * that was sent, a query, or a secret.
 */
#ifndef MAYFLY_AWS_AWS_H
#define MAYFLY_AWS_AWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/http/client.h"

/* --- what holds for the whole process --- */
/* The configuration's section `aws`; "" and false where it says nothing. Copied. Without effect
 * while a client is open; without it, everything is as the environment says. */
struct aws_defaults {
    const char *region;
    const char *profile;
    const char
        *endpoint;     /* of every service; AWS_ENDPOINT_URL_<SERVICE> and AWS_ENDPOINT_URL else */
    const char *proxy; /* "" : the environment's */
    bool fips;
    bool dual_stack;
};
void aws_set_defaults(const struct aws_defaults *d);

/* The wall clock as AWS sees it: ours, and what the answers to signed calls taught of its error, to
 * some 2 seconds. What AWS stamps is as old as this says; what other Mayfly programs stamp is not
 * compared with it. */
int64_t aws_wall_ms(void);

/* --- a service's client --- */
/* What a service calls its errors, apart from the names that all services share; NULL-named last.
 */
struct aws_error_rule {
    const char *name; /* "ServiceQuotaExceededException" */
    enum err_class class;
    const char *mend; /* what to do, for the message */
};

struct aws_client_options {
    const char *service;  /* "sqs", "dynamodb", "lambda", "ssm", "secretsmanager", "kms", "sts":
                             the host's first label and the signature's service */
    const char *region;   /* NULL or "": defaults, AWS_REGION, AWS_DEFAULT_REGION, the profile's,
                             the container's or instance's metadata */
    const char *endpoint; /* NULL or "": see aws_defaults, else the service's own host */
    int64_t timeout_ms;   /* of a whole call, unless the call says otherwise; 0: 10000 */
    size_t max_idle;      /* connections kept; 0: 16 */
    const struct aws_error_rule *rules; /* asked before the common table; borrowed; NULL: none */
};

struct aws_client;

/* Looks up region and endpoint (ERR_PERMANENT if there is none, with the places that were looked
 * at); credentials are looked up by the first call. */
MUST_CHECK int aws_client_open(const struct aws_client_options *o, struct aws_client **out,
                               struct err *e);
void aws_client_close(struct aws_client *c); /* NULL is fine; no call may be under way */
const char *aws_client_region(const struct aws_client *c);   /* valid until close */
const char *aws_client_endpoint(const struct aws_client *c); /* without a slash at its end */

/* --- a call --- */
struct aws_call {
    const char *operation;    /* "RunMicrovm", static: for messages, metrics, and X-Amz-Target */
    const char *target;       /* JSON protocols: "AmazonSQS", "DynamoDB_20120810"; sent as
                                 X-Amz-Target: <target>.<operation>. NULL: REST */
    const char *method;       /* NULL: POST */
    const char *content_type; /* NULL: application/json; JSON protocols mean
                                 application/x-amz-json-1.0 or -1.1 */
    const char *header;       /* one more line, "Name: value", which is signed too; NULL: none */
    struct slice path;  /* percent-encoded as it is to be sent, from its first slash; empty: "/" */
    struct slice query; /* encoded, without '?'; need not be sorted */
    struct slice body;
    int64_t timeout_ms; /* 0: the client's */
};

/* A refusal in its own words, for services whose refusals hold more than a class. */
struct aws_refusal {
    char name[80]; /* "TransactionCanceledException"; "" if the answer was none of the service's */
    int status;    /* 0: no answer */
    struct buf body; /* owned by the caller: aws_refusal_fini */
};
void aws_refusal_fini(struct aws_refusal *r);

/* Success is a 2xx, and *out is the caller's (http_response_fini). refusal: may be NULL; else it is
 * initialised by the call, and filled on failure. e->code is the HTTP status, HTTP_NOT_SENT if
 * nothing left this host, 0 if it is not known whether the call was carried out. */
MUST_CHECK int aws_send(struct aws_client *c, const struct aws_call *call,
                        struct http_response *out, struct aws_refusal *refusal, struct err *e);

/* Whether the failed call surely changed nothing: it never left this host, or the service refused
 * it in so many words (and not with an error of its own). */
bool aws_changed_nothing(const struct err *e);

#endif

/*
 * Calls to AWS: one client per service, which finds region, endpoint and credentials, signs each
 * request (SigV4, sigv4.h) and classifies each response by one table (errors.c).
 *
 * Not included: what the operations mean, and retries, because only the caller knows whether these
 * are safe. A call is sent once; it is repeated automatically only if AWS refused it because of the
 * clock (the skew is measured from each response's Date) or of credentials that have been renewed
 * since, because a refused request changed nothing.
 *
 * Threading: any thread; a client keeps a pool of connections (common/http/client.h). Credentials
 * are shared by all clients of the process and renewed by one thread (credentials.h). Failures: the
 * service's errors by class (ERR_THROTTLED and ERR_CAPACITY with retry_after_ms if given, ERR_AUTH,
 * ERR_NOT_FOUND, ERR_CONFLICT, ERR_PERMANENT, ERR_RETRY for all unknown ones); no response is
 * ERR_RETRY; no credentials is ERR_AUTH, naming every source that was tried and why it has none
 * (ERR_RETRY if one exists but does not respond). Every message has the operation, the error's
 * name, the HTTP status, the request's id and what to do; none contains a request's body or query,
 * or a secret.
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

/* --- for the whole process --- */
/* The configuration's section `aws`; "" and false where it is not set. Copied. No effect while a
 * client is open. Without this call the environment decides everything. */
struct aws_defaults {
    const char *region;
    const char *profile;
    const char *endpoint; /* of every service; "": AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL */
    const char *proxy;    /* "": from the environment */
    bool fips;
    bool dual_stack;
};
void aws_set_defaults(const struct aws_defaults *d);

/* The wall clock of AWS: the local one, corrected by the skew measured from responses to signed
 * calls, to about 2 seconds. Compare only AWS's timestamps with it, not those of other Mayfly
 * programs. */
int64_t aws_wall_ms(void);

/* --- a service's client --- */
/* A service's own error names, besides those that all services share; the last has name NULL. */
struct aws_error_rule {
    const char *name; /* "ServiceQuotaExceededException" */
    enum err_class class;
    const char *hint; /* what to do, for the message */
};

struct aws_client_options {
    const char *service; /* "sqs", "dynamodb", "lambda", "ssm", "secretsmanager", "kms", "sts":
                             the host's first label and the signature's service */
    const char *region;
    const char *endpoint; /* NULL or "": see aws_defaults, else the service's own host */
    const char
        *role_arn;      /* that the process's credentials assume for its calls; NULL or "": none */
    int64_t timeout_ms; /* of a whole call, unless the call sets its own; 0: 10000 */
    size_t max_idle;    /* pooled connections; 0: 16 */
    const struct aws_error_rule *rules; /* used before the common table; borrowed; NULL: none */
};

struct aws_client;

/* Looks up region and endpoint (ERR_PERMANENT if there is none, naming the places searched);
 * credentials are looked up by the first call. */
MUST_CHECK int aws_client_open(const struct aws_client_options *o, struct aws_client **out,
                               struct err *e);
void aws_client_close(struct aws_client *c); /* NULL is allowed; no call may be in progress */
const char *aws_client_region(const struct aws_client *c);   /* valid until close */
const char *aws_client_endpoint(const struct aws_client *c); /* without a trailing slash */

/* --- a call --- */
struct aws_call {
    const char *operation;    /* "RunMicrovm", static: for messages, metrics, and X-Amz-Target */
    const char *target;       /* JSON protocols: "AmazonSQS", "DynamoDB_20120810"; sent as
                                 X-Amz-Target: <target>.<operation>. NULL: REST */
    const char *method;       /* NULL: POST */
    const char *content_type; /* NULL: application/json; JSON protocols mean
                                 application/x-amz-json-1.0 or -1.1 */
    const char *header;       /* one more header line, "Name: value", signed too; NULL: none */
    struct slice path;  /* percent-encoded as it is to be sent, from its first slash; empty: "/" */
    struct slice query; /* encoded, without '?'; need not be sorted */
    struct slice body;
    int64_t timeout_ms; /* 0: the client's */
};

/* A refusal in detail, for services whose refusals contain more than a class. */
struct aws_refusal {
    char name[80];   /* "TransactionCanceledException"; "" if the response was not the service's */
    int status;      /* 0: no response */
    struct buf body; /* owned by the caller: aws_refusal_fini */
};
void aws_refusal_fini(struct aws_refusal *r);

/* Success is a 2xx; the caller then owns *out (http_response_fini). refusal: may be NULL; otherwise
 * the call initialises it, and fills it on failure. e->code is the HTTP status, HTTP_NOT_SENT if
 * nothing left this host, or 0 if it is unknown whether the call was carried out. */
MUST_CHECK int aws_send(struct aws_client *c, const struct aws_call *call,
                        struct http_response *out, struct aws_refusal *refusal, struct err *e);

/* Whether the failed call certainly changed nothing: it never left this host, or the service
 * explicitly refused it (and did not report an internal error). */
bool aws_changed_nothing(const struct err *e);

#endif

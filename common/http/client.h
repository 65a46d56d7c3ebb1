/*
 * An HTTP client over libcurl: blocking calls with deadlines, bounded responses, reused
 * connections.
 *
 * One client serves all threads of a program; each call borrows a pooled handle, so connections
 * stay open between calls. When a reused one turns out closed before a byte of the response came,
 * libcurl sends the request once more, even a POST. A call without a response fails with ERR_RETRY
 * (timeout, refused, reset, TLS), and with the code HTTP_NOT_SENT when no byte of the request left
 * this host; a URL that is not HTTP fails with ERR_PERMANENT. An HTTP status is never an error
 * here, the caller decides. Redirects are followed on the same host alone (scheme, name, port; or from its
 * port 80 to 443), at most 5 (a POST stays a POST except after 303); one to elsewhere is ERR_RETRY. Bodies over the limit, and headers
 * over 64 KiB, are ERR_PERMANENT. No message contains a query.
 */
#ifndef MAYFLY_HTTP_CLIENT_H
#define MAYFLY_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define HTTP_NOT_SENT (-1) /* err.code */
#define HTTP_STOPPED (-3)

struct http_client;

struct http_client_options {
    const char *user_agent;
    const char *proxy;         /* "": from the environment */
    const char *proxy_setting; /* where `proxy` was set, for messages; a literal, NULL unknown */
    const char *ca_file; /* of CA certificates, PEM; NULL or "": SSL_CERT_FILE, else this host's */
    const char *ca_setting;  /* where ca_file was set, for messages; a literal */
    const char *unix_socket; /* NULL; or the path of one that every call goes to */
    int64_t connect_timeout_ms;
    int64_t timeout_ms; /* of a whole call, unless the request says otherwise */
    size_t max_idle;    /* pooled handles kept; 0: 16 */
    bool no_proxy;      /* ignores the environment; excludes `proxy` */
    bool no_redirects;  /* a redirect is returned like any other response */
};

/* Called about once a second while a call waits, and the thread counts as alive meanwhile. False ends the
 * call as ERR_RETRY with the code HTTP_STOPPED. */
typedef bool http_wait_fn(void *arg);

struct http_request {
    const char *method; /* "GET", … */
    const char *url;
    const char *const *headers; /* "Name: value" lines; borrowed */
    size_t header_count;
    struct slice body;           /* sent when not empty, or when the method is POST, PUT or PATCH */
    int64_t timeout_ms;          /* 0: the client's */
    size_t response_limit_bytes; /* 0: 8 MiB */
    http_wait_fn *wait;          /* of a long poll; NULL: none */
    void *wait_arg;
};

struct http_response {
    int status;
    struct buf body;
    struct buf headers; /* the raw header block of the last response */
    int64_t elapsed_us;
    int sends; /* how often the request was sent; more than once: see above, or redirects */
};

MUST_CHECK int http_client_new(const struct http_client_options *o, struct http_client **out,
                               struct err *e);
void http_client_free(struct http_client *c);

/* *out is initialised by the call and owned by the caller on success (http_response_fini). */
MUST_CHECK int http_send(struct http_client *c, const struct http_request *r,
                         struct http_response *out, struct err *e);
void http_response_fini(struct http_response *r);

/* The value of the first header of that name (any case), trimmed; empty if there is none. Valid
 * until http_response_fini. */
struct slice http_header(const struct http_response *r, const char *name);

#endif

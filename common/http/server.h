/*
 * A small HTTP/1.1 server for pages of a program's own: the admin port, the console.
 *
 * One event loop on libevent's bufferevents, one request per connection. Not on evhttp, whose 2.1 can
 * neither limit its connections nor end a slow one. Here everything is bounded: at most `connections`
 * are open, of which the oldest that is no stream gives way to one more; a head has 2 seconds to come,
 * a response `reply_seconds` to be made and read; the responses that peers have not read yet have
 * `pending_bytes` in all, beyond which the next one is 503. It listens without TLS: on loopback, on a
 * private network, or on a Unix socket, which is for its owner and group.
 *
 * A stream is a response without an end, into which http_server_push writes events: `streams` at most.
 * One that has not read the events before gets no more of them, so that it holds one event's bytes, and
 * is closed once it has read nothing for `stall_ms`, or 2 seconds more of small events, which the kernel
 * holds.
 *
 * The callbacks run on the thread of http_server_run and must not block; so must all functions but
 * http_server_stop and http_server_wake_fd, or before it runs.
 */
#ifndef MAYFLY_HTTP_SERVER_H
#define MAYFLY_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/http/request.h"

/* Limits that on_limit is called for. */
#define HTTP_LIMIT_CONNECTIONS "connections"     /* the oldest gave way */
#define HTTP_LIMIT_HEAD "head"                   /* too large, or too slow */
#define HTTP_LIMIT_RESPONSE_TIME "response_time" /* not made or read in time */
#define HTTP_LIMIT_UNREAD "unread"               /* pending_bytes */
#define HTTP_LIMIT_STALLED "stalled"             /* stall_ms */

struct http_server;
struct http_exchange; /* a connection with its one request */

struct http_server_options {
    const char *what;   /* listens: "admin address", for messages */
    const char *listen; /* address:port, port 0 lets the kernel choose; or unix:/PATH */
    const char *hint;   /* what to do if it cannot listen there */
    size_t connections;
    size_t streams;
    int64_t stall_ms;
    size_t pending_bytes;
    int reply_seconds;
    bool host_is_needed;
    const char *headers; /* of every response, each with its CR LF; "" none */
    /* A whole request. It is answered at once by http_exchange_reply or _stream, or later, by its id;
     * until then the peer waits. The slices are valid for the call. */
    void (*on_request)(void *arg, struct http_exchange *x, const struct http_request *r);
    /* After 1 or more was written to the wake fd. May be NULL. */
    void (*on_wake)(void *arg);
    /* A limit of the above was reached. May be NULL. */
    void (*on_limit)(void *arg, const char *limit);
    void *arg;
};

/* Listens. ERR_PERMANENT: it cannot, on that address. */
MUST_CHECK int http_server_open(const struct http_server_options *o, struct http_server **out,
                                struct err *e);
/* The port, 0 for a Unix socket. */
int http_server_port(const struct http_server *s);
/* Serves until http_server_stop. */
void http_server_run(struct http_server *s);
/* An eventfd: any thread may write to it. */
int http_server_wake_fd(const struct http_server *s);
/* From any thread. */
void http_server_stop(struct http_server *s);
/* When http_server_run does not run. NULL is fine. */
void http_server_close(struct http_server *s);

struct http_page {
    int status;
    const char *type;    /* of the content */
    const char *headers; /* of its own, each with its CR LF; NULL none */
    struct slice body;   /* copied; not sent to HEAD */
};

/* Never given twice, and not 0. */
uint64_t http_exchange_id(const struct http_exchange *x);
/* NULL: it is gone. */
struct http_exchange *http_server_find(struct http_server *s, uint64_t id);
void http_exchange_reply(struct http_exchange *x, const struct http_page *p);
/* Begins a stream with that first part. False: there are `streams` already, reply something else. */
MUST_CHECK bool http_exchange_stream(struct http_exchange *x, const struct http_page *p);

/* To every stream. */
void http_server_push(struct http_server *s, struct slice event);
size_t http_server_streams(const struct http_server *s);

#endif

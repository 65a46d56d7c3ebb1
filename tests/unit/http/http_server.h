/*
 * A small HTTP server inside a test: it listens on 127.0.0.1 with a port of the kernel's choice and
 * asks a function of the test for each answer.
 *
 * Plain sockets, a thread per connection, keep-alive. The handler runs on connection threads, one
 * at a time unless it releases the turn (http_server_release). Every request is recorded, so that a
 * test asserts on what was sent, not on what it hopes. Not for anything but tests: it trusts its
 * peer to send well-formed requests.
 */
#ifndef MAYFLY_TESTS_HTTP_SERVER_H
#define MAYFLY_TESTS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"

struct http_server;

struct served_request {
    char method[16];
    char target[1024];  /* path and query */
    struct buf headers; /* raw lines */
    struct buf body;
    int connection; /* counts from 1: tells whether connections are used again */
};

struct served_answer {
    int status;
    struct buf headers; /* raw "Name: value\r\n" lines */
    struct buf body;
    bool silent;  /* no answer at all until the server is stopped */
    bool trickle; /* a byte every few milliseconds, of a body that does not end */
    bool hang_up; /* close without an answer */
};

typedef void served_fn(void *arg, const struct served_request *q, struct served_answer *a);

struct http_server *http_server_start(served_fn *handler, void *arg);
void http_server_stop(struct http_server *s);
/* "http://127.0.0.1:PORT"; valid until the stop. */
const char *http_server_url(const struct http_server *s);
/* For a handler that waits for something: other connections are served meanwhile. */
void http_server_release(struct http_server *s);
void http_server_regain(struct http_server *s);

/* How many requests came so far whose "METHOD target" begins with the prefix. */
size_t http_server_count(struct http_server *s, const char *prefix);
/* The n-th request so far, from 0. Valid until the stop. */
const struct served_request *http_server_request(struct http_server *s, size_t n);

/* The value of a header of the request; "" without one. Static buffer per thread. */
const char *served_header(const struct served_request *q, const char *name);

#endif

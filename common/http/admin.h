/*
 * The admin port of a program: GET /metrics (Prometheus text), /healthz (it can go on), /readyz (it
 * accepts work).
 *
 * One thread with an http_server (server.h): 32 connections, of which the oldest gives way to one more;
 * a request has 2 seconds to come and its page 10 to be made and read, so that a stuck scraper holds
 * nothing. It listens without TLS: bind it to loopback, to a private network, or to a Unix socket, which
 * is for its owner and group. Callbacks run on the admin thread and must not block, except `ready`, which
 * has a thread of its own: it may ask a store, and no other page waits for that store. Starting fails
 * with ERR_PERMANENT when it cannot listen on the address.
 */
#ifndef MAYFLY_HTTP_ADMIN_H
#define MAYFLY_HTTP_ADMIN_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

struct admin;

struct admin_options {
    const char *listen; /* address:port; port 0 lets the kernel choose; "" : no admin port */
    /* True when healthy; otherwise appends the reason to `why`. NULL: always healthy. */
    bool (*healthy)(void *arg, struct buf *why);
    /* The same for ready. */
    bool (*ready)(void *arg, struct buf *why);
    /* Called before /metrics is rendered, to refresh gauges. May be NULL. */
    void (*refresh)(void *arg);
    void *arg;
};

/* *out is NULL, with success, when listen is "". */
MUST_CHECK int admin_start(const struct admin_options *o, struct admin **out, struct err *e);
/* The port it listens on, 0 for a NULL admin. */
int admin_port(const struct admin *a);
void admin_stop(struct admin *a); /* NULL is fine */

#endif

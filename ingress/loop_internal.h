/*
 * A loop from inside: what loop.c, which runs it, and request.c, which handles one request, share.
 * Only the loop's own thread touches any of it, but for `mailbox` and `drain_ms`.
 */
#ifndef MAYFLY_INGRESS_LOOP_INTERNAL_H
#define MAYFLY_INGRESS_LOOP_INTERNAL_H

#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <pthread.h>
#include <sys/queue.h>

#include "common/base/buf.h"
#include "ingress/answer.h"
#include "ingress/conn.h"
#include "ingress/loop.h"

/* A verified delivery that waits for its commit. It lives until the intake gives it back, even if
 * its connection ends, or its answer is given because the time is over. */
struct pending {
    struct delivery delivery;       /* first: the mailbox holds these */
    TAILQ_ENTRY(pending) link;      /* in a list of the loop's, oldest first, until answered */
    struct evhttp_request *request; /* NULL once answered */
    struct conn *conn;              /* NULL once it ended */
};

TAILQ_HEAD(pending_list, pending);

struct loop {
    struct loop_shared shared;
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *bound; /* owned by http, as the listener; NULL once closed */
    struct evconnlistener *listener;
    struct event *mail_event;
    struct event *tick_event;
    struct event *turn_event; /* activated for the end of this turn of the loop */
    struct evbuffer *reply;   /* empty between answers */
    struct buf text;
    struct conn_set conns;
    struct loop_bounds bounds;
    struct pending_list in_line; /* without a place with the intake yet */
    size_t line_length;
    struct pending_list waiting; /* with the intake */
    struct delivery *outgoing;   /* got their places in this turn */
    struct delivery **outgoing_last;
    size_t with_intake; /* deliveries that the intake has not given back */
    bool accepting;
    int64_t accept_ms;      /* monotonic: not before that, after an accept that failed */
    int64_t accept_told_ms; /* when such a failure was logged last; 0: never */
    bool draining;
    int64_t drain_until_ms;
    int64_t drain_ms; /* atomic: 0, or how long the drain asked for may last */
    struct mailbox mailbox;
    pthread_t thread;
};

/* evhttp's callback for a request read to its end. */
void request_handle(struct evhttp_request *req, void *arg);

/* Gives an answer; the request is evhttp's again. c: NULL if its connection is gone. */
void request_answer(struct loop *l, struct evhttp_request *req, struct conn *c,
                    const struct answer *a);

/* Gives the places that are free to those in line, and drops those whose connection has ended. */
void request_serve_line(struct loop *l);

/* Hands what got a place in this turn to the intake. */
void request_submit(struct loop *l);

/* What came back from the intake. */
void request_finish(struct loop *l, struct pending *p);

/* Answers those that have waited too long, in line or for their commit; the latter stay with the
 * intake. */
void request_expire(struct loop *l, int64_t now_us);

#endif

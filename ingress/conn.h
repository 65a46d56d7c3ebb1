/*
 * Connections and their deadlines, which evhttp lacks.
 *
 * evhttp has an idle timer only, so a byte a second holds a connection forever, and it does not
 * count connections. Here every connection of a loop has a state, and every state that waits for
 * the peer has a deadline counted from its beginning, whatever arrives meanwhile:
 *
 *             first byte             whole request            answer given
 *     IDLE ---------------> READING ---------------> PROCESSING ------------> WRITING
 *      ^    idle timeout      request timeout        (the intake's)          request timeout
 *      `---------------------------- answer sent -------------------------------'
 *     any --> CLOSED (one way: conn_on_close)
 *
 * A plain connection's bytes are read and written here (conn_io.c); a TLS connection's by libevent.
 * Everything belongs to the loop's thread. conn_new creates a connection inside evhttp's
 * bufferevent callback; it ends with evhttp's connection, and nothing else frees it.
 */
#ifndef MAYFLY_INGRESS_CONN_H
#define MAYFLY_INGRESS_CONN_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/attr.h"

struct bufferevent;
struct event;
struct event_base;
struct evbuffer;
struct evhttp_connection;
struct evhttp_request;

enum conn_state { CONN_IDLE, CONN_READING, CONN_PROCESSING, CONN_WRITING, CONN_CLOSED };
#define CONN_STATES 5

struct conn_set;

struct conn {
    TAILQ_ENTRY(conn) link;        /* in its state's list, oldest first */
    TAILQ_ENTRY(conn) unsent_link; /* in the list of those with output to send */
    struct conn *hash_next;
    struct conn_set *set;
    struct bufferevent *bev;         /* owned by evhttp */
    struct evhttp_connection *evcon; /* evhttp's side; NULL until adopted */
    struct event *readable;          /* plain connections only, as the next two */
    struct event *writable;
    struct conn **watcher; /* set to NULL when it ends; may be NULL */
    int64_t since_ms;      /* when the state began */
    int64_t served;        /* requests answered */
    size_t held;           /* bytes of the request that is read or processed */
    int fd;                /* -1 until adopted */
    enum conn_state state;
    bool plain;
    bool has_nul;     /* a NUL byte came since the last answer: no valid request contains one */
    bool unsent;      /* in the list of those with output to send */
    bool read_paused; /* not read, since evhttp accepts no data now */
};

TAILQ_HEAD(conn_list, conn);

struct conn_limits {
    int64_t request_timeout_ms;
    int64_t idle_timeout_ms;
    size_t input_limit_bytes; /* of a connection's input buffer */
    size_t held_limit_bytes;  /* of the requests of all connections together */
};

struct conn_set {
    struct conn_list in_state[CONN_STATES]; /* the adopted ones */
    struct conn_list newborn;               /* created, and not yet known to evhttp */
    struct conn_list unsent;                /* with output for conn_flush */
    struct conn **buckets;                  /* all adopted ones, by evhttp's connection */
    size_t bucket_count;
    size_t count;
    size_t held;
    struct event_base *base;
    struct event *turn; /* activated when there is work at the end of the loop's turn */
    struct conn_limits limits;
};

/* Borrows both. At the end of each turn in which `turn` was activated, the loop calls conn_adopt
 * and conn_flush. */
void conn_set_init(struct conn_set *set, struct event_base *base, struct event *turn,
                   const struct conn_limits *limits);
/* Every connection must have ended. */
void conn_set_fini(struct conn_set *set);

/* The bufferevent of a connection that evhttp is about to create; takes ssl, NULL for plain.
 * conn_adopt must follow in the same turn of the loop. NULL when out of memory. */
struct bufferevent *conn_new(struct conn_set *set, SSL *ssl);

/* Links the new connections to evhttp's. */
void conn_adopt(struct conn_set *set);

/* The connection of a request; NULL if it has ended. */
struct conn *conn_of(const struct conn_set *set, struct evhttp_request *req);

/* Sends evhttp's output of this turn of the loop. */
void conn_flush(struct conn_set *set);

/* The one place where a state changes. */
void conn_set_state(struct conn *c, enum conn_state next);

/* Closes it now; `why` is counted. */
void conn_close(struct conn *c, const char *why);

/* Closes those past their state's deadline. */
void conn_expire(struct conn_set *set, int64_t now_ms);

/* While draining: closes connections that wait for a request. One that has not yet sent its first
 * is kept until it is `grace_ms` old, since its request may be on the way. */
void conn_close_idle(struct conn_set *set, int64_t now_ms, int64_t grace_ms);

/* At the connection limit: closes the connection that has been idle longest, or else the one whose
 * request has been coming for longest, if for at least a second. Returns whether there was one. */
bool conn_evict(struct conn_set *set, int64_t now_ms);

/* At the limit of memory: closes connections whose requests are not complete, those that have been
 * coming for longest first, until there is room. */
void conn_shed(struct conn_set *set);

/* Closes all. */
void conn_close_all(struct conn_set *set);

/* --- conn_io.c, for conn.c only --- */

/* Takes the descriptor of a plain connection from its bufferevent, which then only holds the bytes;
 * evhttp still closes it. False when out of memory. */
MUST_CHECK bool conn_io_open(struct conn *c);
void conn_io_close(struct conn *c);

/* Reads again, if reading was paused. */
void conn_io_resume(struct conn *c);

#endif

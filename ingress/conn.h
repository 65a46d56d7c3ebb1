/*
 * Connections and their deadlines: what evhttp lacks.
 *
 * evhttp knows an idle timer only, so a byte a second holds a connection for ever, and nothing in
 * it counts connections. Here every connection of a loop has a state, and every state that waits
 * for the peer has a deadline counted from its beginning, whatever trickles in meanwhile:
 *
 *              first byte            whole request          answer given
 *     IDLE ───────────────> READING ───────────────> ANSWERING ──────────> WRITING
 *      ^  idle timeout       request timeout          (the intake's)        request timeout
 *      └───────────────────────────── answer sent ─────────────────────────────┘
 *     any ──> CLOSED (one way: conn_on_close)
 *
 * A plain connection's bytes are read and written here (conn_io.c); a TLS connection's by libevent.
 * All of it belongs to the loop's thread. A connection is made by conn_new inside evhttp's
 * bufferevent callback and ends with evhttp's connection; nobody else frees it.
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

enum conn_state { CONN_IDLE, CONN_READING, CONN_ANSWERING, CONN_WRITING, CONN_CLOSED };
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
    struct conn **watcher; /* set to NULL when it ends; NULL for nobody */
    int64_t since_ms;      /* when the state began */
    int64_t served;        /* requests answered */
    int fd;                /* -1 until adopted */
    enum conn_state state;
    bool plain;
    bool has_nul; /* a NUL byte came since the last answer: no request of ours holds one */
    bool unsent;  /* in the list of those with output to send */
    bool resting; /* not read from, since evhttp takes nothing now */
};

TAILQ_HEAD(conn_list, conn);

struct conn_limits {
    int64_t request_timeout_ms;
    int64_t idle_timeout_ms;
    size_t input_limit_bytes; /* of a connection's input buffer */
};

struct conn_set {
    struct conn_list in_state[CONN_STATES]; /* the lists of those that are adopted */
    struct conn_list newborn;               /* made, and not yet known to evhttp */
    struct conn_list unsent;                /* with output that conn_flush is to send */
    struct conn **buckets;                  /* all adopted ones, by evhttp's connection */
    size_t bucket_count;
    size_t count;
    struct event_base *base;
    struct event *turn; /* activated when there is something to do at the end of the loop's turn */
    struct conn_limits limits;
};

/* Borrows both. At each end of a turn that `turn` asks for, the loop calls conn_adopt and
 * conn_flush.
 */
void conn_set_init(struct conn_set *set, struct event_base *base, struct event *turn,
                   const struct conn_limits *limits);
/* Every connection must have ended. */
void conn_set_fini(struct conn_set *set);

/* The bufferevent of a connection that evhttp is about to make; ssl is taken, NULL for plain.
 * conn_adopt must follow in the same turn of the loop. NULL when out of memory. */
struct bufferevent *conn_new(struct conn_set *set, SSL *ssl);

/* Ties the newborn connections to what evhttp has made around them. */
void conn_adopt(struct conn_set *set);

/* The connection that a request came by; NULL if there is none any more. */
struct conn *conn_of(const struct conn_set *set, struct evhttp_request *req);

/* Sends what evhttp has put out in this turn of the loop. */
void conn_flush(struct conn_set *set);

/* The one place where a state changes. */
void conn_set_state(struct conn *c, enum conn_state next);

/* Ends it now; `why` is counted. */
void conn_close(struct conn *c, const char *why);

/* Ends those whose state has lasted too long. */
void conn_expire(struct conn_set *set, int64_t now_ms);

/* While draining: ends connections that wait for a request. One that has not yet sent its first is
 * let be until it is `grace_ms` old, since its request may be on the way. */
void conn_close_idle(struct conn_set *set, int64_t now_ms, int64_t grace_ms);

/* Makes room at the connection limit: ends the one that has been idle longest, if it was for a
 * second at least. Returns whether there was one. */
bool conn_evict(struct conn_set *set, int64_t now_ms);

/* Ends all that are left. */
void conn_close_all(struct conn_set *set);

/* --- conn_io.c, for conn.c alone ----------------------------------------------------------------
 */

/* Takes the descriptor of a plain connection from its bufferevent, which from now on only holds the
 * bytes; evhttp still closes it. False when out of memory. */
MUST_CHECK bool conn_io_open(struct conn *c);
void conn_io_close(struct conn *c);

/* Reads again, if it rested. */
void conn_io_resume(struct conn *c);

#endif

/*
 * Connections: their states and deadlines, the memory that they hold, and who gives way.
 *
 * Every state that waits for the peer has a deadline counted from its beginning, whatever arrives
 * meanwhile:
 *
 *            first byte        the head is good        whole request           answer given
 *     IDLE ------------> HEAD ------------------> BODY -------------> PROCESSING ---------> WRITING
 *      ^   idle timeout     head timeout     request timeout (from     (the intake's)     request timeout
 *      |                                     the first byte)                                  |
 *      `----------------------------------- answer sent ---------------------------------------'
 *     HEAD, BODY --> WRITING: refused.  WRITING --> LINGERING: the last answer is sent, and what the
 *     peer still sends is dropped, since closing at once could take the answer from it.
 *     any --> CLOSED (one way: conn_close), freed at the end of the loop's turn (conn_reap)
 *
 * A request that arrives in one piece is read into the set's own space and costs its connection no
 * memory; what is incomplete is kept in the connection's buffer. The bytes so kept count for a peer
 * and for all together (ingress/peer/shares.h): for the connection's own, or, once the head has named
 * it, for a proxy's client. Everything belongs to the loop's thread, but the shares.
 */
#ifndef MAYFLY_INGRESS_CONN_H
#define MAYFLY_INGRESS_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/http/request.h"
#include "ingress/peer/shares.h"

enum conn_state {
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_PROCESSING,
    CONN_WRITING,
    CONN_LINGERING,
    CONN_CLOSED,
};
#define CONN_STATES 7

struct conn_set;

/* A buffer of exactly the capacity that is accounted for. */
struct conn_bytes {
    char *data;
    size_t len;
    size_t cap;
};

struct conn {
    TAILQ_ENTRY(conn) link; /* in its state's list, oldest first */
    struct conn_set *set;
    struct event readable;
    struct event writable;
    SSL *ssl;              /* NULL: plain */
    struct conn **watcher; /* set to NULL when it ends; may be NULL */
    struct ip_address peer;
    struct share *share;   /* of the peer, for as long as the connection; NULL: a proxy's */
    struct share *client;  /* whom a proxy names, for one request; else NULL */
    struct share *account; /* one of the two: what `in` holds counts for it */
    struct http_request request;
    struct conn_bytes in; /* of a request that is incomplete, or behind one that is processed */
    struct buf out;       /* of an answer that the peer has not taken yet */
    int64_t since_ms;     /* when the state began */
    int64_t began_ms;     /* when the first byte of the request came */
    int64_t served;       /* requests answered */
    size_t dropped;       /* bytes, while lingering */
    int fd;
    enum conn_state state;
    bool read_paused; /* no interest in input, which may be there */
    bool is_proxy;    /* a trusted one's */
    bool ends;        /* with the answer that is being written */
    bool is_head;     /* its request's method is HEAD: answered without a body */
};

TAILQ_HEAD(conn_list, conn);

struct conn_limits {
    int64_t head_timeout_ms;
    int64_t request_timeout_ms;
    int64_t idle_timeout_ms;
    size_t connections;
    size_t held_bytes; /* of all shares */
    struct http_limits http;
};

/* What a loop does with the requests of its connections. */
struct conn_handler {
    void (*read)(struct conn *c);     /* there is input */
    void (*answered)(struct conn *c); /* the peer has taken the whole answer */
};

struct conn_set {
    struct conn_list in_state[CONN_STATES]; /* but CONN_IDLE of proxies */
    struct conn_list idle_proxies;
    size_t count;      /* of those not closed */
    size_t count_peak; /* since memory was last given back */
    size_t proxies;    /* of those, of trusted proxies */
    size_t held;
    size_t held_peak; /* since memory was last given back */
    char *space;      /* CONN_SPACE_BYTES, for what is read in one piece */
    struct event_base *base;
    struct event *turn; /* activated when there is work at the end of the loop's turn */
    struct conn_limits limits;
    const struct conn_handler *handler;
    struct shares *shares; /* borrowed */
    void *owner;           /* the loop */
};

/* Most of all deliveries fit; a larger one is kept in its connection's buffer. */
#define CONN_SPACE_BYTES ((size_t)64 * 1024)

/* Borrows all but the limits. At the end of each turn in which `turn` was activated, the loop calls
 * conn_reap. */
void conn_set_init(struct conn_set *set, struct event_base *base, struct event *turn,
                   const struct conn_limits *limits, struct shares *shares,
                   const struct conn_handler *handler, void *owner);
/* Every connection must have ended. */
void conn_set_fini(struct conn_set *set);

/* Takes an accepted, non-blocking socket, and ssl (NULL: plain). A peer that has its share of
 * connections loses one that does nothing, or else this one. */
void conn_new(struct conn_set *set, int fd, SSL *ssl, const struct ip_address *peer, bool is_proxy);

/* The one place where a state changes. */
void conn_set_state(struct conn *c, enum conn_state next);

/* Closes it now, and counts `why` (NULL: the peer has ended it). c stays readable until conn_reap,
 * in state CLOSED. */
void conn_close(struct conn *c, const char *why);

/* Frees the closed ones. */
void conn_reap(struct conn_set *set);

/* Closes those past their state's deadline. */
void conn_expire(struct conn_set *set, int64_t now_ms);

/* While draining: closes connections that wait for a request. One that has not yet sent its first
 * is kept until it is `grace_ms` old, since its request may be on the way. */
void conn_close_idle(struct conn_set *set, int64_t now_ms, int64_t grace_ms);

/* At the limit of connections: closes the one that is most likely of no use: that whose answer is
 * sent, or else the oldest head, the oldest body, the one that has been idle longest. Those of
 * trusted proxies that are idle come last, and only while proxies have more than half of the places.
 * A request that has just begun stays. Returns whether there was one. */
bool conn_evict(struct conn_set *set, int64_t now_ms);

/* Closes all. */
void conn_close_all(struct conn_set *set);

/* --- the memory of what is incomplete --- */

/* What c keeps counts for this client of its proxy, until conn_leave_client. False: the client has its
 * share of requests or memory. */
MUST_CHECK bool conn_join_client(struct conn *c, const struct ip_address *client);
/* Nothing if there is none. False: what c keeps has no place; close it. */
MUST_CHECK bool conn_leave_client(struct conn *c);

/* Makes room for more behind the content of c->in, at the cost of other connections' requests that
 * have been incomplete for long. False: the set's memory is in use. */
MUST_CHECK bool conn_make_room(struct conn *c);

/* Makes these bytes the content of c->in; they may be a part of it. False as above. */
MUST_CHECK bool conn_keep(struct conn *c, struct slice rest);

/* Gives unused memory back to the system, after much was in use. At the end of a turn, since closed
 * connections must be freed. */
void conn_trim(struct conn_set *set);

/* --- conn_io.c: bytes --- */

/* Reads into `into`; 0 when there is nothing now, or when the peer has ended and c is closed. */
size_t conn_recv(struct conn *c, char *into, size_t size);

/* Sends, or keeps what the peer does not take yet; then handler->answered is called later. True if
 * all of it is sent. c may be closed by it. */
bool conn_send(struct conn *c, struct slice bytes);

/* Whether its TLS session is not established yet. */
bool conn_in_handshake(const struct conn *c);

/* Sends what says that no more will come. */
void conn_end_output(struct conn *c);

/* Interest in input. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* --- for conn.c --- */

void conn_io_open(struct conn *c);
void conn_io_close(struct conn *c);

#endif

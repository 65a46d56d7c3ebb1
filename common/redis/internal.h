/*
 * Shared by the files of the Redis store: the parsed URL, one connection, replies.
 *
 * For common/redis/ alone. A redis_conn has one user at a time and no lock. Its socket does not
 * block; every wait is a poll with a deadline in monotonic ms. hiredis connects and parses. Writing
 * and reading are done here, so that a deadline covers a whole call, TLS works with every version
 * of hiredis, and a closed connection raises no SIGPIPE.
 */
#ifndef MAYFLY_REDIS_INTERNAL_H
#define MAYFLY_REDIS_INTERNAL_H

#include <limits.h>

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>

#include "common/redis/store.h"

/* --- the URL --- */
struct redis_url {
    bool tls;
    char socket[108]; /* "": use host and port */
    char host[256];
    int port;
    char user[128];
    char password[512];
    int db;
    char prefix[65];
    int64_t timeout_ms;
    size_t connections;
    int wait_replicas;
    bool wait_aof;
    char ca[PATH_MAX];
    char cert[PATH_MAX];
    char key[PATH_MAX];
};
MUST_CHECK int redis_url_parse(const char *url, struct redis_url *out, struct err *e);

/* --- TLS --- */
MUST_CHECK int redis_tls_context(const struct redis_url *u, SSL_CTX **out, struct err *e);
/* A session on the socket before the handshake; its writes raise no SIGPIPE. host: the name that
 * the certificate must have. */
SSL *redis_tls_new(SSL_CTX *context, int fd, const char *host);
/* OpenSSL's description of the last failure in this thread. */
void redis_tls_reason(char *out, size_t size);

/* --- one connection --- */
struct redis_place { /* where to connect: the URL's address, or a cluster's redirection */
    const struct redis_url *url;
    SSL_CTX *tls; /* NULL without */
    const char *host;
    int port;
};
struct redis_conn;
/* Connects, and sends AUTH and SELECT as the URL requires. */
MUST_CHECK int redis_conn_open(const struct redis_place *p, int64_t deadline_mono,
                               struct redis_conn **out, struct err *e);
void redis_conn_close(struct redis_conn *c); /* NULL is fine */

/* After a failure of any of these the connection must be closed. */
MUST_CHECK int redis_conn_send(struct redis_conn *c, struct slice wire, int64_t deadline_mono,
                               struct err *e);
/* Waits for one reply. */
MUST_CHECK int redis_conn_read(struct redis_conn *c, int64_t deadline_mono,
                               struct redis_reply **out, struct err *e);
/* The next reply that has arrived completely; *out NULL if there is none. */
MUST_CHECK int redis_conn_next(struct redis_conn *c, struct redis_reply **out, struct err *e);
/* Reads what the socket has, without waiting. *some: whether it had anything. */
MUST_CHECK int redis_conn_fill(struct redis_conn *c, bool *some, struct err *e);
/* Whether an idle connection is unusable: the server closed it, or it has unread data. */
bool redis_conn_stale(struct redis_conn *c);
int redis_conn_fd(const struct redis_conn *c);

/* Appends a whole command of n arguments, then those of `more` (may be NULL). */
void redis_wire(struct buf *wire, const struct slice *args, size_t n,
                const struct redis_args *more);

/* --- replies --- */
bool redis_reply_is_error(const struct redis_reply *r, const char *code);

/* --- the store, for the other files --- */
struct redis_pool;
struct redis_pool *redis_store_pool(struct redis_store *s);
const struct redis_url *redis_store_url(const struct redis_store *s);
/* The checks at open: reachable, new enough, supports what the URL requests. */
MUST_CHECK int redis_store_greet(struct redis_store *s, struct err *e);

#endif

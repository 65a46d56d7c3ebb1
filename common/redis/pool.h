/*
 * The connections of a Redis store: lending them, making them, and resting after failures.
 *
 * For store.c and subscribe.c alone. At most `connections` exist; a call waits for one
 * until its deadline. After a connect failed, nobody tries again until a pause with jitter is over:
 * a server that comes back is not stormed, and callers hear at once that it is away.
 * Threading: any thread.
 */
#ifndef MAYFLY_REDIS_POOL_H
#define MAYFLY_REDIS_POOL_H

#include "common/redis/internal.h"

struct redis_pool;

/* url: borrowed for the pool's life. tls: owned; NULL without. */
struct redis_pool *redis_pool_new(const struct redis_url *url, SSL_CTX *tls);
void redis_pool_free(struct redis_pool *p); /* every connection was given back */

/* Lends a connection. */
MUST_CHECK int redis_pool_take(struct redis_pool *p, int64_t deadline_mono, struct redis_conn **out,
                               struct err *e);
/* Gives it back; a broken one is closed. */
void redis_pool_give(struct redis_pool *p, struct redis_conn *c, bool broken);

/* Follows "MOVED <slot> <host>:<port>": connections go there from now on. False if it is no such
 * text. */
bool redis_pool_move(struct redis_pool *p, struct slice moved);
/* Back to the URL's address and with new connections: another server may have taken over. */
void redis_pool_renew(struct redis_pool *p);

/* A connection of its own for a subscription, to the place of the moment. */
MUST_CHECK int redis_pool_connect(struct redis_pool *p, int64_t deadline_mono,
                                  struct redis_conn **out, struct err *e);

#endif

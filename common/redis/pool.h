/*
 * The connection pool of a Redis store, with back-off after failed connects.
 *
 * For store.c and subscribe.c alone. At most `connections` exist; a call waits for one until its
 * deadline. After a failed connect no call connects until a back-off with jitter has passed: a
 * server that restarts is not flooded, and callers fail at once meanwhile. Threading: any thread.
 */
#ifndef MAYFLY_REDIS_POOL_H
#define MAYFLY_REDIS_POOL_H

#include "common/redis/internal.h"

struct redis_pool;

/* url: borrowed for the pool's life. tls: owned; NULL without. */
struct redis_pool *redis_pool_new(const struct redis_url *url, SSL_CTX *tls);
void redis_pool_free(struct redis_pool *p); /* every connection must have been returned */

/* Borrows a connection. */
MUST_CHECK int redis_pool_take(struct redis_pool *p, int64_t deadline_mono, struct redis_conn **out,
                               struct err *e);
/* Returns it; a broken one is closed. */
void redis_pool_give(struct redis_pool *p, struct redis_conn *c, bool broken);

/* Follows "MOVED <slot> <host>:<port>": new connections go there. False if the text is malformed.
 * */
bool redis_pool_move(struct redis_pool *p, struct slice moved);
/* Returns to the URL's address with new connections, since another server may have taken over. */
void redis_pool_renew(struct redis_pool *p);

/* A connection outside the pool, for a subscription, to the present address. */
MUST_CHECK int redis_pool_connect(struct redis_pool *p, int64_t deadline_mono,
                                  struct redis_conn **out, struct err *e);

#endif

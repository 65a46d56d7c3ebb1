/*
 * The listening side of the ingress: the port, its loops, their drain.
 *
 * One listener per loop shares the port (SO_REUSEPORT); the kernel distributes connections over
 * them. TCP_NODELAY is set on the listening sockets and inherited, since without it every TLS
 * connection waits for the peer's delayed acknowledgement. For the main thread.
 */
#ifndef MAYFLY_INGRESS_SERVER_H
#define MAYFLY_INGRESS_SERVER_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/config/config.h"
#include "common/program/program.h"
#include "ingress/dedupe.h"
#include "ingress/intake.h"
#include "ingress/peer/peers.h"

struct server;

/* Borrows all of it. */
struct server_options {
    struct config_live *live;
    struct intake *intake;
    struct dedupe *dedupe;
    struct peers *peers;
    size_t connections; /* server_connections */
};

/* Raises the limit of descriptors. ingress.max_connections, or as many as that limit allows. */
size_t server_connections(const struct config_ingress *c);

MUST_CHECK int server_start(const struct server_options *o, struct server **out, struct err *e);

/* What it listens on. */
const struct program_listener *server_listener(const struct server *s);

/* Reads the certificate again, if there is one; logs the result. */
void server_reload(struct server *s);

/* Stops accepting, answers the requests in progress within timeout_ms, stops the loops and frees.
 * NULL is fine. */
void server_stop(struct server *s, int64_t timeout_ms);

#endif

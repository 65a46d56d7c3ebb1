/*
 * One event loop: a listener, its connections, and the deliveries that came by them.
 *
 * Each loop runs on a thread of its own and shares nothing with the others but the intake, the
 * dedupe memory and the live configuration; its listener shares the port (SO_REUSEPORT). Nothing
 * blocks in it. What it verified goes to the intake once per turn of the loop, all together, so
 * that a busy loop makes large batches.
 *
 * Fairness: a connection's next request is not read before its last one is answered, so each has at
 * most one delivery with the intake. When all of the loop's places there are taken, deliveries
 * stand in line, first come, first served: a connection that floods stands behind all others again
 * after each of its own. Who waits too long is answered 503.
 *
 * Draining: accept what the kernel holds, close the listener and the idle connections, answer what
 * is under way with `Connection: close`, end when no connection is left or the time is over.
 */
#ifndef MAYFLY_INGRESS_LOOP_H
#define MAYFLY_INGRESS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/config/config.h"
#include "ingress/dedupe.h"
#include "ingress/intake.h"
#include "ingress/tls.h"

struct loop;

/* What all loops share; borrowed, and longer-lived than they. */
struct loop_shared {
    struct config_live *live;
    const struct config *config; /* for what cannot be reloaded */
    struct intake *intake;
    struct dedupe *dedupe;
    struct tls *tls; /* NULL: plain */
};

/* A loop's part of what is bounded; each at least 1. */
struct loop_bounds {
    size_t connections;
    size_t in_flight;
};

/* Starts a loop on a listening socket, which it takes. */
MUST_CHECK int loop_start(const struct loop_shared *shared, int listen_fd,
                          const struct loop_bounds *bounds, struct loop **out, struct err *e);

/* Begins the drain, which may last so long. Any thread; once. */
void loop_drain(struct loop *l, int64_t timeout_ms);

/* Waits for its end and frees it. loop_drain must have been called. NULL is fine. */
void loop_join(struct loop *l);

#endif

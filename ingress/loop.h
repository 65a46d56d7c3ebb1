/*
 * One event loop: a listener, its connections, and their deliveries.
 *
 * Each loop runs on a thread of its own and shares nothing with the others but the intake, the
 * dedupe cache and the live configuration; its listener shares the port (SO_REUSEPORT). Nothing
 * blocks in it. Verified deliveries go to the intake once per turn of the loop, all together, so
 * that a busy loop makes large batches.
 *
 * Fairness: a connection's next request is not read before its last one is answered, so each has at
 * most one delivery in the intake. When all of the loop's places there are in use, deliveries wait
 * in the admission queue, first come, first served: a connection that floods waits behind all
 * others again after each of its own. A delivery that waits too long is answered 503.
 *
 * Draining: accept what the kernel holds, close the listener and the idle connections, answer the
 * requests in progress with `Connection: close`, end when no connection is left or at the timeout.
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
#include "ingress/peer/peers.h"
#include "ingress/tls.h"

struct loop;

/* Shared by all loops; borrowed, and must outlive them. */
struct loop_shared {
    struct config_live *live;
    const struct config *config; /* for settings that cannot be reloaded */
    struct intake *intake;
    struct dedupe *dedupe;
    struct peers *peers;
    struct tls *tls; /* NULL: plain */
};

/* A loop's share of the bounds; each at least 1. */
struct loop_bounds {
    size_t connections;
    size_t in_flight;
};

/* Starts a loop on a listening socket, which it owns from then on. */
MUST_CHECK int loop_start(const struct loop_shared *shared, int listen_fd,
                          const struct loop_bounds *bounds, struct loop **out, struct err *e);

/* Begins the drain, which lasts at most timeout_ms. Any thread; once. */
void loop_drain(struct loop *l, int64_t timeout_ms);

/* Waits for the thread's end and frees the loop. loop_drain must have been called. NULL is fine. */
void loop_join(struct loop *l);

#endif

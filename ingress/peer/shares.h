/*
 * What each peer holds: its connections, and the bytes of its bodies that are not verified yet; and
 * those bytes of all peers together.
 *
 * A peer is an IPv4 address or the /64 of an IPv6 address, since one customer of any network has a
 * whole /64. Its account exists while it has a connection, so there are never more than connections.
 * Whose peer is a trusted proxy joins as the client that the proxy names, for one request at a
 * time; the proxy's connection itself belongs to nobody.
 *
 * All functions are safe from any thread. Bytes are counted without a lock. Every join is followed by
 * one leave, and every reserved byte by its release before that.
 */
#ifndef MAYFLY_INGRESS_PEER_SHARES_H
#define MAYFLY_INGRESS_PEER_SHARES_H

#include <stddef.h>
#include <stdint.h>

#include "common/net/address.h"

struct shares;
struct share; /* one peer's account */

struct shares_limits {
    size_t peer_connections; /* of one peer */
    size_t peer_bytes;       /* of one peer */
    size_t bytes;            /* of all together */
    size_t connections;      /* expected at most, of all: sizes the table */
};

struct shares *shares_new(const struct shares_limits *limits);
/* All must have left. NULL is fine. */
void shares_free(struct shares *s);

/* Counts a connection of the peer. NULL if it has its share of them already: close one that does
 * nothing (shares_find), or refuse this one. */
struct share *shares_join(struct shares *s, const struct ip_address *peer);
void shares_leave(struct share *share);

/* The account of the peer while it has one, else NULL. Only to be compared with those of
 * connections: another thread may end it. */
const struct share *shares_find(struct shares *s, const struct ip_address *peer);

enum shares_verdict {
    SHARES_GRANTED,
    SHARES_PEER_FULL, /* peer_bytes */
    SHARES_FULL,      /* bytes */
};
/* Reserves room for n more bytes of an unverified body. share: NULL for none, then only the sum of
 * all is limited. */
MUST_CHECK enum shares_verdict shares_reserve(struct shares *s, struct share *share, size_t n);
void shares_release(struct shares *s, struct share *share, size_t n);

/* Reserved by all together now. */
size_t shares_bytes(const struct shares *s);
/* Peers with an account now. */
size_t shares_count(struct shares *s);

#endif

/*
 * What the ingress knows of its peers, from the configuration: which are trusted proxies, whose
 * deliveries are accepted, and what each may hold. One for the process; functions are safe from any
 * thread unless they say otherwise.
 *
 *   connection:  a proxy's (peers_is_proxy) is counted for nobody; any other joins as its peer
 *   head:        peers_client says whose request it is; peers_admit whether it is accepted; that of a
 *                proxy's client joins for the time of the request
 */
#ifndef MAYFLY_INGRESS_PEER_PEERS_H
#define MAYFLY_INGRESS_PEER_PEERS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/config/config.h"
#include "ingress/peer/forwarded.h"
#include "ingress/peer/shares.h"

struct peers;

/* connections: how many there can be at once, which may be fewer than configured. Starts a thread if
 * GitHub's ranges are needed. */
MUST_CHECK int peers_open(const struct config *c, size_t connections, struct peers **out,
                          struct err *e);
/* All shares must have been left. NULL is fine. */
void peers_close(struct peers *p);

struct shares *peers_shares(struct peers *p);

bool peers_is_proxy(const struct peers *p, const struct ip_address *peer);
/* forwarded_client with the trusted proxies. */
enum forwarded_client peers_client(const struct peers *p, const struct ip_address *peer,
                                   const struct forwarded_lines *forwarded,
                                   const struct forwarded_lines *x_forwarded_for,
                                   struct ip_address *client);

enum peers_verdict {
    PEERS_ADMITTED,
    PEERS_REFUSED, /* 403: not in ingress.allow_from */
    PEERS_UNKNOWN, /* 503: GitHub's ranges are not known yet, and nothing else in the list has it */
};
enum peers_verdict peers_admit(struct peers *p, const struct ip_address *client);

/* False, with the reason, while GitHub's ranges are needed and not known: nothing is accepted. */
bool peers_ready(struct peers *p, struct buf *why);

/* Sets the gauges, before /metrics is rendered. */
void peers_refresh(struct peers *p);

/* What ingress.max_peer_… and ingress.max_unverified_memory are with so many connections: 0 is a
 * quarter, at least PEERS_CONNECTIONS_LEAST and one whole request. */
#define PEERS_CONNECTIONS_LEAST 64
void peers_limits(const struct config_ingress *c, size_t connections, struct shares_limits *out);

#endif

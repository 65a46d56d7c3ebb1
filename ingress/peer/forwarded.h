/*
 * Whose request it is: the peer's, or that of the client which trusted proxies name.
 *
 * A proxy adds the address that it got a request from at the right end of a header, `Forwarded` (RFC
 * 7239) or `X-Forwarded-For`; what stands further left anyone may have written. So the headers are
 * read from the right: addresses of trusted proxies are skipped, the first other one is the client.
 * What is no address there (`unknown`, an obfuscated name, garbage) ends the walk at the last
 * proxy.
 *
 * Most proxies write one of the two headers and pass the other on as the client sent it. So if both
 * are there, both must name the same client; if they differ, one is a forgery, and nobody is named.
 *
 * Several lines of one header count as one, joined in order (RFC 9110, 5.3): add each as it is
 * read. Pure functions; slices are borrowed.
 */
#ifndef MAYFLY_INGRESS_PEER_FORWARDED_H
#define MAYFLY_INGRESS_PEER_FORWARDED_H

#include "common/net/address.h"

/* Of a header with more lines the last ones are kept: those are the proxies'. */
#define FORWARDED_LINES_MAX 8

struct forwarded_lines {
    struct slice lines[FORWARDED_LINES_MAX]; /* in the order in which they came */
    size_t count;
};

/* Adds one line's value. */
void forwarded_lines_add(struct forwarded_lines *l, struct slice value);

enum forwarded_client {
    FORWARDED_PEER,   /* the peer is no trusted proxy: it is the client itself */
    FORWARDED_NAMED,  /* the client that the proxies name */
    FORWARDED_NOBODY, /* the proxies name none: *client is the last of them */
};

/* Always sets *client; IPv4 addresses inside of IPv6 ones become IPv4 addresses. */
enum forwarded_client forwarded_client(const struct ip_prefixes *trusted,
                                       const struct ip_address *peer,
                                       const struct forwarded_lines *forwarded,
                                       const struct forwarded_lines *x_forwarded_for,
                                       struct ip_address *client);

#endif

/*
 * IP addresses and their prefixes (CIDR), as plain values.
 *
 * One form for what the kernel, a setting or a peer's header gives. Nothing is looked up, and a text
 * that is not understood completely is refused. An IPv4 address inside of an IPv6 one (mapped,
 * NAT64) stays what it is unless the caller says otherwise: who judges where a connection may go
 * refuses such a form, who judges where one comes from means the address inside. Pure functions,
 * any thread.
 */
#ifndef MAYFLY_NET_ADDRESS_H
#define MAYFLY_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

/* An IPv4 address uses the first 4 bytes; the others are 0. */
struct ip_address {
    bool v6;
    uint8_t bytes[16];
};

#define IP_ADDRESS_TEXT 46
/* out holds IP_ADDRESS_TEXT bytes. */
void ip_address_text(const struct ip_address *a, char *out);
MUST_CHECK bool ip_address_parse(struct slice text, struct ip_address *out);
/* False for any other family than AF_INET and AF_INET6. */
MUST_CHECK bool ip_address_of(const struct sockaddr *sa, socklen_t len, struct ip_address *out,
                              uint16_t *port);
bool ip_address_eq(const struct ip_address *a, const struct ip_address *b);
/* 32 or 128. */
unsigned ip_address_bits(const struct ip_address *a);
/* Whether the first `bits` are those of `base`, which has as many bytes as they need. */
bool ip_address_begins(const struct ip_address *a, const uint8_t *base, unsigned bits);

/* The IPv4 address inside of a mapped one (RFC 4291, ::ffff:0:0/96), else itself: a socket that
 * listens on [::] gives its IPv4 peers so. */
struct ip_address ip_address_unmapped(const struct ip_address *a);
/* With all bits but the first `bits` cleared. */
struct ip_address ip_address_masked(const struct ip_address *a, unsigned bits);

/* Addresses with a common beginning. */
struct ip_prefix {
    struct ip_address base;
    uint8_t bits;
};

/* "10.1.0.0/16", "10.1.2.3", "fd00::/8". NULL, or what is wrong, a static string that follows the
 * text: "is no IP address (names are not looked up)". */
MUST_CHECK const char *ip_prefix_parse(struct slice text, struct ip_prefix *out);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_address *a);

/* A set of them: borrowed. */
struct ip_prefixes {
    const struct ip_prefix *list;
    size_t count;
};
bool ip_prefixes_contain(const struct ip_prefixes *set, const struct ip_address *a);

#endif

/*
 * What a VM may reach: the rules for one destination, as pure functions.
 *
 * The gateway (worker/gateway) applies them to every frame of a VM and to every connection and
 * datagram that leaves for it; `--check-config` applies them to the hosts that runners need. What
 * depends on this host at this moment (its addresses, its resolver) is an input: struct
 * net_facts. By default only addresses of the public internet are let through, an unknown form of an
 * address is refused. The registries are RFC 6890 and RFC 8190 ("Special-Purpose Address
 * Registries").
 */
#ifndef MAYFLY_VM_QEMU_NET_POLICY_H
#define MAYFLY_VM_QEMU_NET_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"
#include "common/net/address.h"

/* One entry of the allow list: addresses with a common beginning, and one port or all. */
struct net_allow {
    struct ip_prefix to;
    uint16_t port; /* 0: every port */
};

/* "10.1.0.0/16", "10.1.2.3", "10.1.2.3:443", "10.1.0.0/16:443", "fd00::/8", "[fd00::/8]:443".
 * NULL, or what is wrong, a static string. */
MUST_CHECK const char *net_allow_parse(struct slice text, struct net_allow *out);
bool net_allow_matches(const struct net_allow *allow, const struct ip_address *a, uint16_t port);

enum net_mode {
    NET_MODE_INTERNET, /* the public internet, its names, and what is allowed */
    NET_MODE_PROXY,    /* the class's proxy, and what is allowed */
    NET_MODE_NONE,     /* what is allowed */
};
/* "internet", "proxy", "none"; false for any other text. */
MUST_CHECK bool net_mode_parse(struct slice text, enum net_mode *out);

/* Why something is refused. Each is a value of the metric's label `kind`. */
enum net_kind {
    NET_LET_THROUGH,
    NET_LOOPBACK,
    NET_HOST_ADDRESS,
    NET_LINK_LOCAL, /* a cloud's metadata among them */
    NET_MULTICAST,  /* and broadcast, and what is reserved anyway */
    NET_CLOSED,     /* not on the list of a network that is closed */
    NET_NEIGHBOUR,  /* in a network that this host is connected to */
    NET_PRIVATE,
    NET_RESERVED,
    NET_PACKET,      /* a form of packet that is not carried */
    NET_CONNECTIONS, /* more connections at once than one VM may have */
};
#define NET_KINDS (NET_CONNECTIONS + 1)
const char *net_kind_name(enum net_kind kind);
/* False for any other text. */
MUST_CHECK bool net_kind_parse(struct slice text, enum net_kind *out);

struct net_policy {
    enum net_mode mode;
    const struct net_allow *allow;
    size_t allow_count;
};

/* What this host knows about one address now. */
struct net_facts {
    bool is_own;       /* one of this host's addresses */
    bool is_connected; /* in a network of one of its interfaces */
    bool is_resolver;
    bool is_proxy; /* address and port of the class's proxy */
};

/* The address that is meant: that inside of one of NAT64 (RFC 6052, 64:ff9b::/96), else itself. */
struct ip_address net_address_meant(const struct ip_address *a);

/* The verdict on one destination. `a` is what net_address_meant returned, and the facts are about
 * it. An entry of the allow list that is wider than one address opens neither loopback nor the
 * host's own addresses nor link-local ones. */
enum net_kind net_policy_judge(const struct net_policy *p, const struct ip_address *a,
                               uint16_t port, const struct net_facts *facts);

#endif

/*
 * The frames of a VM: what one Ethernet frame is, before anything else looks at it.
 *
 * A guest whose job is root writes any bytes. Only whole, plain packets are carried: ARP; IPv4
 * without options and fragments and IPv6 without extension headers, with TCP, UDP or an echo
 * request; the neighbour discovery of IPv6; DHCP. Pure functions, for the gateway, their tests and
 * a fuzz target.
 *
 * The network that a VM sees is QEMU's user network, which the images expect: the VM is
 * 10.0.2.15, its router 10.0.2.2 (fec0::2) and its resolver 10.0.2.3 (fec0::3). The router's
 * addresses stand for the host's loopback.
 */
#ifndef MAYFLY_VM_QEMU_NET_FRAME_H
#define MAYFLY_VM_QEMU_NET_FRAME_H

#include "common/vm/qemu/net_policy.h"

#define NET_ROUTER "10.0.2.2"
#define NET_FRAME_MIN 14
#define NET_FRAME_MAX 1518

enum net_frame_class {
    NET_FRAME_PASS,   /* needs no verdict: it stays inside the gateway */
    NET_FRAME_JUDGE,  /* its destination decides */
    NET_FRAME_DROP,   /* noise of every guest (multicast, other protocols): no refusal to report */
    NET_FRAME_REFUSE, /* a form that is not carried (NET_PACKET), or loopback by its own address */
};

struct net_flow {
    struct ip_address to; /* the host's loopback instead of the router's address */
    uint16_t port;        /* 0: an echo request */
    const char *protocol; /* "tcp", "udp", "icmp", "ip"; static */
    enum net_kind kind;   /* with NET_FRAME_REFUSE */
    bool opens;           /* it may begin a connection: worth a response when it is refused */
};

/* `names`: the resolver's address is served. */
enum net_frame_class net_frame_classify(const uint8_t *frame, size_t len, bool names,
                                        struct net_flow *out);

#define NET_REFUSAL_MAX 128
/* The frame that says to the sender of a refused TCP or UDP packet that it is prohibited (RFC 1812
 * 5.2.7.1, RFC 4443 3.1), so that a job fails at once instead of after its time-out. `frame` was
 * classified JUDGE or REFUSE. Returns its length; 0 if there is none for such a frame. */
size_t net_frame_refusal(const uint8_t *frame, size_t len, uint8_t out[NET_REFUSAL_MAX]);

#endif

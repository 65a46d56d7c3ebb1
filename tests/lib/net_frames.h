/*
 * Ethernet frames as a guest sends them, for tests of the gateway. Checksums are right, so that a
 * network stack takes them.
 */
#ifndef MAYFLY_TEST_NET_FRAMES_H
#define MAYFLY_TEST_NET_FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct net_frame {
    uint8_t bytes[1600];
    size_t len;
};

/* Addresses as text; from NULL: 10.0.2.15, or fec0::15. */
struct net_frame frame_tcp_syn(const char *from, const char *to, uint16_t from_port,
                               uint16_t to_port);
struct net_frame frame_udp(const char *from, const char *to, uint16_t from_port, uint16_t to_port,
                           const char *data);
struct net_frame frame_echo(const char *to);
struct net_frame frame_arp(const char *whose);

/* Of a frame from the gateway: 'S' SYN and ACK, 'R' RST, 'U' UDP, 'X' unreachable, 'A' ARP,
 * '?' another. */
char frame_kind(const uint8_t *frame, size_t len);

#endif

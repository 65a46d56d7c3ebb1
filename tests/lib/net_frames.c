#include "tests/lib/net_frames.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/attr.h"

#define ETHER 14

static void put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t sum(uint32_t so_far, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        so_far += (uint32_t)data[i] << ((i & 1) == 0 ? 8 : 0);
    }
    return so_far;
}

static size_t fold(uint32_t total)
{
    while (total >> 16 != 0) {
        total = (total & 0xffff) + (total >> 16);
    }
    return ~total & 0xffff;
}

/* The headers up to the payload's place, which has `len` bytes. Returns that place. */
static uint8_t *begin(struct net_frame *f, const char *from, const char *to, uint8_t protocol,
                      size_t len)
{
    static const uint8_t macs[] = {0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56};
    bool v6 = strchr(to, ':') != NULL;
    uint8_t *ip = f->bytes + ETHER;
    memset(f, 0, sizeof *f);
    memcpy(f->bytes, macs, sizeof macs);
    put16(f->bytes + 12, v6 ? 0x86dd : 0x0800);
    f->len = ETHER + (v6 ? 40U : 20U) + len;
    if (v6) {
        ip[0] = 0x60;
        put16(ip + 4, len);
        ip[6] = protocol;
        ip[7] = 64;
        ASSERT(inet_pton(AF_INET6, from != NULL ? from : "fec0::15", ip + 8) == 1);
        ASSERT(inet_pton(AF_INET6, to, ip + 24) == 1);
        return ip + 40;
    }
    ip[0] = 0x45;
    put16(ip + 2, 20 + len);
    ip[8] = 64;
    ip[9] = protocol;
    ASSERT(inet_pton(AF_INET, from != NULL ? from : "10.0.2.15", ip + 12) == 1);
    ASSERT(inet_pton(AF_INET, to, ip + 16) == 1);
    put16(ip + 10, fold(sum(0, ip, 20)));
    return ip + 20;
}

/* Puts the checksum of TCP and UDP at this place of the payload. */
static void finish(struct net_frame *f, uint8_t *payload, size_t len, size_t at, uint8_t protocol)
{
    const uint8_t *ip = f->bytes + ETHER;
    bool v6 = ip[0] >> 4 == 6;
    uint32_t total = sum((uint32_t)(protocol + len), ip + (v6 ? 8 : 12), v6 ? 32 : 8);
    put16(payload + at, fold(sum(total, payload, len)));
}

struct net_frame frame_tcp_syn(const char *from, const char *to, uint16_t from_port,
                               uint16_t to_port)
{
    struct net_frame f;
    uint8_t *tcp = begin(&f, from, to, 6, 20);
    put16(tcp, from_port);
    put16(tcp + 2, to_port);
    put16(tcp + 6, 1000);
    tcp[12] = 5 << 4;
    tcp[13] = 2;
    put16(tcp + 14, 32768);
    finish(&f, tcp, 20, 16, 6);
    return f;
}

struct net_frame frame_udp(const char *from, const char *to, uint16_t from_port, uint16_t to_port,
                           const char *data)
{
    struct net_frame f;
    size_t len = 8 + strlen(data);
    uint8_t *udp = begin(&f, from, to, 17, len);
    put16(udp, from_port);
    put16(udp + 2, to_port);
    put16(udp + 4, len);
    memcpy(udp + 8, data, strlen(data));
    finish(&f, udp, len, 6, 17);
    return f;
}

struct net_frame frame_echo(const char *to)
{
    struct net_frame f;
    uint8_t *icmp = begin(&f, NULL, to, 1, 16);
    icmp[0] = 8;
    put16(icmp + 2, fold(sum(0, icmp, 16)));
    return f;
}

struct net_frame frame_arp(const char *whose)
{
    static const uint8_t head[] = {0,    1, 8,    0,    6,    4,  0, 1, 0x52,
                                   0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15};
    struct net_frame f;
    uint8_t *arp = f.bytes + ETHER;
    (void)begin(&f, NULL, whose, 0, 8);
    memset(f.bytes, 0xff, 6);
    put16(f.bytes + 12, 0x0806);
    memset(arp, 0, 28);
    memcpy(arp, head, sizeof head);
    ASSERT(inet_pton(AF_INET, whose, arp + 24) == 1);
    f.len = ETHER + 28;
    return f;
}

char frame_kind(const uint8_t *frame, size_t len)
{
    bool v6 = len > ETHER && frame[12] == 0x86;
    size_t head = ETHER + (v6 ? 40U : 20U);
    if (len >= ETHER + 28 && frame[12] == 0x08 && frame[13] == 0x06) {
        return 'A';
    }
    if (len < head + 8) {
        return '?';
    }
    const uint8_t *payload = frame + head;
    uint8_t protocol = frame[ETHER + (v6 ? 6 : 9)];
    if (protocol == 6 && len >= head + 20) {
        return (payload[13] & 0x04) != 0 ? 'R' : (payload[13] & 0x12) == 0x12 ? 'S' : '?';
    }
    if (protocol == 17) {
        return 'U';
    }
    return (protocol == 1 && payload[0] == 3) || (protocol == 58 && payload[0] == 1) ? 'X' : '?';
}
